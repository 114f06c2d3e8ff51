use super::*;

fn read(args: &[&str]) -> Result<Cli, clap::Error> {
    parse(std::iter::once("lasthop").chain(args.iter().copied()).map(OsString::from))
}

fn trace(args: &[&str]) -> TraceArgs {
    let all: Vec<&str> = std::iter::once("trace").chain(args.iter().copied()).collect();
    match read(&all).unwrap().command {
        Command::Trace(args) => args,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(args: &[&str], said: &str) {
    let error = read(args).unwrap_err();
    let line = usage_line(&error);
    assert_eq!(error.exit_code(), 2, "{line}");
    assert!(line.contains(said), "{line}");
    assert!(!line.contains('\n') && !line.starts_with("error"), "{line}");
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_filter_may_be_one_word_or_many() {
    let quoted = trace(&["tcp 10.0.0.1:4242 -> 10.96.0.1:443"]);
    let words = trace(&["tcp", "10.0.0.1:4242", "->", "10.96.0.1:443"]);
    assert_eq!(quoted.live.filter, words.live.filter);
    assert_eq!(words.live.filter_text, "tcp 10.0.0.1:4242 -> 10.96.0.1:443");
    assert_eq!(trace(&["->10.0.0.1", "--json"]).live.filter_text, "->10.0.0.1");
    assert_eq!(trace(&[]).live.filter, Filter::default());
    assert_eq!(trace(&["udp", "-v", "and", "port", "53"]).live.filter_text, "udp and port 53");
}

#[test]
fn a_command_keeps_its_own_options() {
    let args = trace(&["udp", "--for", "2m", "--", "sh", "-c", "->", "--json"]);
    assert_eq!(args.live.command, ["sh", "-c", "->", "--json"]);
    assert_eq!(args.live.stop_after, Some(Duration::from_mins(2)));
    assert!(!args.output.json);
    assert!(trace(&["--", "true"]).live.filter_text.is_empty());
}

#[test]
fn options_of_all_commands_may_stand_anywhere() {
    for args in [&["-vv", "--json", "doctor"], &["doctor", "--json", "-vv"]] {
        match read(args).unwrap().command {
            Command::Doctor(args) => assert!(args.output.json && args.output.verbose == 2),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn ports_are_chosen_by_glob() {
    let args = trace(&["--port", "veth*", "--port", "eth[01]"]);
    assert!(args.wants_port("veth-c") && args.wants_port("eth1"));
    assert!(!args.wants_port("eth2") && !args.wants_port("lo"));
    assert!(trace(&[]).wants_port("lo"));
}

#[test]
fn a_ring_is_a_power_of_two() {
    let ring = |size| trace(&["--ring", size]).ring;
    assert_eq!(trace(&[]).ring, 4 << 20);
    assert_eq!(ring("16M"), 16 << 20);
    assert_eq!(ring("16MiB"), 16 << 20);
    assert_eq!(ring("16mb"), 16 << 20);
    assert_eq!(ring("100K"), 128 << 10);
    assert_eq!(ring("65536"), 64 << 10);
    assert_eq!(ring("1G"), 1 << 30);
    refused(&["trace", "--ring", "2G"], "from 64K to 1G");
    refused(&["trace", "--ring", "0"], "from 64K to 1G");
    refused(&["trace", "--ring", "much"], "write it like 512K");
    refused(&["trace", "--ring", ""], "");
}

#[test]
fn what_is_refused_says_why_in_one_line() {
    refused(&["trace", "tcp", "prot", "53"], "filter: column 5: `prot` cannot stand here");
    refused(&["drops", "foo"], "filter: column 1");
    refused(&["trace", "--jsn"], "found; a similar argument exists: '--json' (see");
    refused(&["trace", "--port", "eth[0"], "'eth[0' for '--port <GLOB>'");
    refused(&["trace", "--port", "{a"], "no glob");
    refused(&["trace", "--port", ""], "value");
    refused(&["trace", "--for", "10"], "write it like 10s");
    refused(&["trace", "--for", "0s"], "longer than nothing");
    refused(&["trace", "--for", "99999999999999y"], "--for");
    refused(&["trace", "--for", "2y"], "a year");
    refused(&["trace", "--packets", "0"], "from 1");
    refused(&["trace", "--packets", "-1"], "-1");
    refused(&["drops", "--top", "x"], "--top");
    refused(&["explain"], "not provided: <FILE|-> (see");
    refused(&["explain", "a", "b"], "'b'");
    refused(&["frobnicate"], "unrecognized subcommand");
    refused(&["doctor", "--exit-code"], "--exit-code");
}

#[test]
fn no_command_is_a_refusal_and_help_is_none() {
    assert_eq!(read(&[]).unwrap_err().exit_code(), 2);
    assert_eq!(read(&["--help"]).unwrap_err().exit_code(), 0);
    assert_eq!(read(&["trace", "--help"]).unwrap_err().exit_code(), 0);
    assert_eq!(read(&["--version"]).unwrap_err().exit_code(), 0);
}
