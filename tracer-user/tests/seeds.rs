//! The fuzz targets' seeds, run through the same checks as the targets run.

#[path = "../../fuzz/src/actions.rs"]
mod actions;
#[path = "../../fuzz/src/conntrack.rs"]
mod conntrack;
#[path = "../../fuzz/src/filter.rs"]
mod filter;
#[path = "../../fuzz/src/flow_key.rs"]
mod flow_key;
#[path = "../../fuzz/src/iproute.rs"]
mod iproute;
#[path = "../../fuzz/src/iptables.rs"]
mod iptables;
#[path = "../../fuzz/src/json_rpc.rs"]
mod json_rpc;
#[path = "../../fuzz/src/links.rs"]
mod links;
#[path = "../../fuzz/src/nft.rs"]
mod nft;
#[path = "../../fuzz/src/ofproto_trace.rs"]
mod ofproto_trace;
#[path = "../../fuzz/src/recording.rs"]
mod recording;

fn each(folder: &str, check: fn(&[u8])) {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        check(&std::fs::read(path).expect("a readable seed"));
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", dir.display());
}

/// For a target that takes text.
macro_rules! text {
    ($target:ident) => {
        |bytes| $target::check(std::str::from_utf8(bytes).expect("text"))
    };
}

#[test]
fn actions_seeds() {
    each("fuzz/seeds/actions", actions::check);
}

#[test]
fn conntrack_seeds() {
    each("fuzz/seeds/conntrack", conntrack::check);
}

#[test]
fn filter_seeds() {
    each("fuzz/seeds/filter", text!(filter));
}

#[test]
fn flow_key_seeds() {
    each("fuzz/seeds/packet", flow_key::check);
}

#[test]
fn iproute_seeds() {
    each("fuzz/seeds/iproute", text!(iproute));
}

#[test]
fn iptables_seeds() {
    each("fuzz/seeds/iptables", text!(iptables));
}

#[test]
fn json_rpc_seeds() {
    each("fuzz/seeds/json_rpc", json_rpc::check);
}

#[test]
fn links_seeds() {
    each("fuzz/seeds/links", links::check);
}

#[test]
fn nft_seeds() {
    each("fuzz/seeds/nft", nft::check);
}

#[test]
fn ofproto_trace_seeds() {
    each("tracer-core/src/ovs/fixtures", text!(ofproto_trace));
}

#[test]
fn recording_seeds() {
    each("fuzz/seeds/recording", recording::check);
    each("tracer-user/tests/recordings", recording::check);
}

/// The seeds with bytes changed, cut and repeated: what a fuzzer begins with, on every test run.
#[test]
fn actions_near_the_seeds() {
    use proptest::prelude::*;
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/actions");
    let seeds: Vec<Vec<u8>> = std::fs::read_dir(dir)
        .expect("seeds")
        .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a seed"))
        .collect();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let near = (prop::sample::select(seeds), edits, any::<prop::sample::Index>(), any::<bool>());
    proptest!(ProptestConfig::with_cases(4000), |((mut bytes, edits, cut, whole) in near)| {
        for (at, byte) in edits.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        actions::check(&bytes);
    });
}
