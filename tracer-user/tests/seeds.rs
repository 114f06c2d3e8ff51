//! The fuzz targets' seeds, run through the same checks as the targets run.

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
