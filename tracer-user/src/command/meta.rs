//! What is told at the start: the head of a recording, and the line that scripts wait for.

use std::io::Write as _;

use tracer_core::record::Meta;

/// The head of a recording that began `elapsed` nanoseconds ago, and is all attached by now, at `monotonic` by
/// `CLOCK_MONOTONIC`.
pub fn meta(
    elapsed: u64,
    monotonic: u64,
    filter: &str,
    probes: Vec<String>,
    blind: Vec<String>,
) -> Meta {
    let uname = nix::sys::utsname::uname().ok();
    let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
    let began = jiff::Timestamp::now()
        - jiff::SignedDuration::from_nanos(i64::try_from(elapsed).unwrap_or(0));
    Meta {
        version: 1,
        tool: concat!("lasthop ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel: uname.as_ref().map_or_else(String::new, |u| text(u.release())),
        hostname: uname.as_ref().map_or_else(String::new, |u| text(u.nodename())),
        start: began.to_string(),
        start_monotonic_ns: monotonic.to_string(),
        ready: Some(elapsed),
        filter: filter.to_owned(),
        probes,
        ring: None,
        blind,
        unseen: Vec::new(),
    }
}

/// The line that scripts wait for, on stderr whatever is logged: all probes are attached.
pub fn tell_ready(probes: usize, devices: usize) {
    let line = format!("lasthop: ready: {probes} probes on {devices} devices\n");
    // At once: who waits for it must not see half of it.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
