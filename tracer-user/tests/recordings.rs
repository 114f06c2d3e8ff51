//! Golden recordings: `explain` on each file of `tests/recordings`, its text and its NDJSON held
//! against what was reviewed. `INSTA_UPDATE=always cargo test -p tracer-user --test recordings`
//! writes them anew, to be read in review.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers included")]

use std::path::PathBuf;

use lasthop::command::explain::explain as run;
use lasthop::render::text::Text;
use lasthop::report::{Form, Report, Shows};

const TEXT: (Form, Shows) = (Form::Text(Text::new(false)), Shows::Everything);
const JSON: (Form, Shows) = (Form::Json, Shows::Conclusions);

fn explain(name: &str, (form, shows): (Form, Shows)) -> (String, u8) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/recordings")
        .join(name)
        .with_extension("ndjson");
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let report = Report::new(Box::new(&mut out), form, shows);
    let status = run(file, report, &mut err).unwrap();
    assert_eq!(String::from_utf8(err).unwrap(), "");
    (String::from_utf8(out).unwrap(), status)
}

/// Checks the file's exit status, the outcomes of its flows, and both renderings.
fn check(name: &str, exit: u8, outcomes: &[&str]) {
    let (text, status) = explain(name, TEXT);
    assert_eq!(status, exit, "{text}");
    insta::assert_snapshot!(format!("{name}.text"), text);
    let (json, _) = explain(name, JSON);
    let found: Vec<String> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|v| v["type"] == "verdict")
        .map(|v| v["outcome"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, outcomes, "{text}");
    insta::assert_snapshot!(format!("{name}.json"), json);
}

macro_rules! recordings {
    ($($test:ident: $name:literal exits $exit:literal $outcomes:expr;)*) => {$(
        #[test]
        fn $test() {
            check($name, $exit, &$outcomes);
        }
    )*};
}

recordings! {
    udp_closed_port: "udp-closed-port" exits 10 ["dropped"];
    udp_healthy: "udp-healthy" exits 0 ["delivered"];
    tcp_syns_nft_drop: "tcp-syns-nft-drop" exits 10 ["dropped"];
    bridge_flood_delivered: "bridge-flood-delivered" exits 0 ["delivered"];
    bridge_wrong_mac: "bridge-wrong-mac" exits 10 ["misaddressed"];
    tcp_dnat: "tcp-dnat" exits 0 ["delivered"];
    in_flight: "in-flight" exits 0 ["in-flight"];
    tap_not_read: "tap-not-read" exits 10 ["vanished"];
    ping_healthy: "ping-healthy" exits 0 ["delivered"];
    tcp_recovered: "tcp-recovered" exits 10 ["dropped"];
    udp_rcvbuf_full: "udp-rcvbuf-full" exits 10 ["dropped"];
    old_kernel_ttl: "old-kernel-ttl" exits 10 ["dropped"];
    forwarded: "forwarded" exits 0 ["forwarded"];
    undnat_notrack: "undnat-notrack" exits 11 ["reply-not-translated"];
    undnat_asymmetric: "undnat-asymmetric" exits 11 ["reply-not-translated"];
    conntrack_clash: "conntrack-clash" exits 10 ["dropped", "delivered"];
    path_mtu_black_hole: "path-mtu-black-hole" exits 10 ["dropped"];
    ovs_ct_invalid: "ovs-ct-invalid" exits 10 ["dropped-by-ovs"];
    hostile_names: "hostile-names" exits 10 ["dropped"];
}

#[test]
fn no_control_character_of_a_name_reaches_the_terminal() {
    let (text, _) = explain("hostile-names", TEXT);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}
