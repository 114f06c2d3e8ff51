//! The fuzz targets' seeds, run through the same checks as the targets run.

#[path = "../../fuzz/src/actions.rs"]
mod actions;
#[path = "../../fuzz/src/filter.rs"]
mod filter;
#[path = "../../fuzz/src/recording.rs"]
mod recording;

fn each(target: &str, check: fn(&[u8])) {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        check(&std::fs::read(path).expect("a readable seed"));
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", dir.display());
}

#[test]
fn filter_seeds() {
    each("filter", |bytes| {
        filter::check(std::str::from_utf8(bytes).expect("text"));
    });
}

#[test]
fn recording_seeds() {
    each("recording", recording::check);
}

#[test]
fn actions_seeds() {
    each("actions", actions::check);
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
