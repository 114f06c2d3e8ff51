//! The command line: every option of every command, and what is wrong with one that is refused.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use globset::{Glob, GlobMatcher};
use tracer_common::flow::Filter;

use crate::filter;

/// Says at which hop a packet died, or lost its translation, and why.
#[derive(Debug, Parser)]
#[command(name = "lasthop", version, max_term_width = 100, after_help = STATUS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// NDJSON on stdout, one object a line; all else goes to stderr
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,
    /// More on stderr; twice shows the kernel programs' own log
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 101)]
    pub verbose: u8,
}

/// What clap's own help cannot tell of a filter.
const GRAMMAR: &str = "\
FILTER is any of tcp udp icmp icmp6 sctp arp, [src|dst] host A, [src|dst] net A/L, [src|dst] port N,
joined by `and`; or an arrow, 'tcp 10.0.0.1:4242 -> 10.96.0.1:443', where any part may be left out
or *, IPv6 goes in brackets, and the replies are followed too. Quote it: the shell takes > for itself.";

/// What clap's own help cannot tell of `--exit-code`.
const STATUS: &str = "\
Exit status: 0 done, 1 could not do it, 2 usage. With --exit-code: 0 every packet was delivered or
left the node, 10 a packet died, 11 a reply lost its un-DNAT (or un-SNAT), 12 nothing matched,
13 the record is incomplete and no loss was found.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Follow every packet that matches, hop by hop, and say what became of each flow
    #[command(after_help = format!("{GRAMMAR}\n\n{STATUS}"))]
    Trace(TraceArgs),
    /// Count all drops on the node, by reason, place and device
    #[command(after_help = GRAMMAR)]
    Drops(DropsArgs),
    /// Give the verdicts of a recording made by `trace --json`
    #[command(after_help = STATUS)]
    Explain(ExplainArgs),
    /// Say what this node supports, what is missing and what that costs
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or that of one command
    Man {
        /// Which command
        #[arg(value_parser = ["trace", "drops", "explain", "doctor"])]
        of: Option<String>,
    },
}

/// `lasthop trace`.
#[derive(Clone, Debug, Default, Args)]
pub struct TraceArgs {
    /// What FILTER says.
    #[arg(skip)]
    pub filter: Filter,
    /// The filter as it was typed.
    #[arg(skip)]
    pub filter_text: String,
    /// Write NDJSON.
    #[arg(skip)]
    pub json: bool,
    /// How often `-v` was given.
    #[arg(skip)]
    pub verbose: u8,
    #[arg(value_name = "FILTER", help = FILTER_HELP)]
    words: Vec<String>,
    /// Attach tc hooks only on devices whose name matches (repeatable; default: every device)
    #[arg(long = "port", value_name = "GLOB", value_parser = glob)]
    ports: Vec<GlobMatcher>,
    /// Which network namespaces' devices get tc hooks (repeatable; default: the current one and
    /// every named one)
    #[arg(long, value_name = "NAME|PATH|all")]
    pub netns: Vec<String>,
    /// Stop after that long (10s, 2m)
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub stop_after: Option<Duration>,
    /// Stop after N packets have reached an outcome
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub packets: Option<NonZeroU64>,
    /// The exit status tells the outcome
    #[arg(long)]
    pub exit_code: bool,
    /// A command to run once all probes are attached; the trace ends shortly after it exits
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

impl TraceArgs {
    /// Whether a device of this name gets tc hooks.
    pub fn wants_port(&self, name: &str) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|glob| glob.is_match(name))
    }

    /// Whether devices that others would get hooks are left out.
    pub fn is_partial(&self) -> bool {
        !self.ports.is_empty() || !self.netns.is_empty()
    }
}

/// `lasthop drops`.
#[derive(Clone, Debug, Default, Args)]
pub struct DropsArgs {
    /// What FILTER says.
    #[arg(skip)]
    pub filter: Filter,
    /// The filter as it was typed.
    #[arg(skip)]
    pub filter_text: String,
    /// Write NDJSON.
    #[arg(skip)]
    pub json: bool,
    /// How often `-v` was given.
    #[arg(skip)]
    pub verbose: u8,
    #[arg(value_name = "FILTER", help = FILTER_HELP)]
    words: Vec<String>,
    /// Which network namespaces' devices get tc hooks (repeatable; default: the current one and
    /// every named one)
    #[arg(long, value_name = "NAME|PATH|all")]
    pub netns: Vec<String>,
    /// Stop after that long (10s, 2m)
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub stop_after: Option<Duration>,
    /// Print the rows that often, with the rate of that time (default: every second on a terminal,
    /// else only at the end)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub interval: Option<Duration>,
    /// Print that many rows (default: 20 in a table, all with --json)
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub top: Option<NonZeroU64>,
    /// Tell drops apart by more than reason, place, device and namespace (repeatable)
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    pub by: Vec<By>,
    /// With --by: keep that many different values apart; what is beyond is counted without
    #[arg(long, value_name = "N", value_parser = at_least_one, default_value = "16384")]
    pub keep: Option<NonZeroU64>,
    /// Show everyday drops too (a consumed RST, frames for others on a promiscuous device,
    /// multicast that nobody joined) instead of their sum
    #[arg(long)]
    pub all: bool,
    /// A command to run once all probes are attached; the count ends shortly after it exits
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// What else drops are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// TCP, UDP, ICMP, …
    Protocol,
    /// The port they were going to
    Port,
    /// Source and destination
    Address,
    /// Protocol, both addresses and both ports
    Tuple,
    /// The kernel's call chain
    Stack,
    /// The Open vSwitch port that the device is
    OvsPort,
}

/// `lasthop explain`.
#[derive(Clone, Debug, Default, Args)]
pub struct ExplainArgs {
    /// Write NDJSON.
    #[arg(skip)]
    pub json: bool,
    /// How often `-v` was given.
    #[arg(skip)]
    pub verbose: u8,
    /// The recording; `-` reads stdin
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// The exit status tells the outcome
    #[arg(long)]
    pub exit_code: bool,
}

/// `lasthop doctor`.
#[derive(Clone, Debug, Default, Args)]
pub struct DoctorArgs {
    /// Write NDJSON.
    #[arg(skip)]
    pub json: bool,
    /// How often `-v` was given.
    #[arg(skip)]
    pub verbose: u8,
}

const FILTER_HELP: &str =
    "Which packets, in quotes: 'udp and port 53', 'tcp 10.0.0.1 -> 10.96.0.1:443'";

/// Reads a command line, program name first.
///
/// # Errors
/// What clap says of it: help and version asked for, too, are an `Err` whose
/// [`clap::Error::exit_code`] is 0. [`usage_line`] makes one line of all others.
pub fn parse<I>(args: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = OsString>,
{
    let mut cli = Cli::try_parse_from(shield_arrows(args))?;
    let (json, verbose) = (cli.json, cli.verbose);
    match &mut cli.command {
        Command::Trace(args) => {
            (args.json, args.verbose) = (json, verbose);
            (args.filter, args.filter_text) = read_filter(&args.words)?;
        }
        Command::Drops(args) => {
            (args.json, args.verbose) = (json, verbose);
            (args.filter, args.filter_text) = read_filter(&args.words)?;
        }
        Command::Explain(args) => (args.json, args.verbose) = (json, verbose),
        Command::Doctor(args) => (args.json, args.verbose) = (json, verbose),
        Command::Completions { .. } | Command::Man { .. } => {}
    }
    Ok(cli)
}

/// A filter's word may begin with `->`, which clap would take for options. It gets a blank before
/// it, which no option has and which [`read_filter`] takes away again.
fn shield_arrows(args: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut command_follows = false;
    args.into_iter().map(move |arg| {
        command_follows |= arg == "--";
        match arg.to_str() {
            Some(text) if !command_follows && text.starts_with("->") => format!(" {text}").into(),
            _ => arg,
        }
    })
}

fn read_filter(words: &[String]) -> Result<(Filter, String), clap::Error> {
    let unshielded = |word: &String| match word.strip_prefix(' ') {
        Some(arrow) if arrow.starts_with("->") => arrow.to_owned(),
        _ => word.clone(),
    };
    let text = words.iter().map(unshielded).collect::<Vec<_>>().join(" ");
    match filter::parse(&text) {
        Ok(filter) => Ok((filter, text)),
        Err(error) => {
            Err(Cli::command().error(ErrorKind::ValueValidation, format!("filter: {error}")))
        }
    }
}

/// A refusal as one line, without the program's name.
pub fn usage_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut line = String::new();
    for part in text.lines().map(str::trim).take_while(|part| !part.starts_with("Usage:")) {
        let (glue, part) = match part.strip_prefix("tip: ") {
            // That `-- --typo` would be a value helps nobody who mistyped an option.
            Some(tip) if tip.starts_with("to pass") => continue,
            Some(tip) => ("; ", tip),
            None if part.is_empty() || part.starts_with("For more information") => continue,
            None if line.is_empty() => ("", part.strip_prefix("error: ").unwrap_or(part)),
            None => (" ", part),
        };
        line.push_str(glue);
        line.push_str(part);
    }
    line + " (see lasthop --help)"
}

fn at_least_one(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "must be a whole number from 1".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    /// tokio's timers end at about 2.2 years.
    const LONGEST: Duration = Duration::from_hours(365 * 24);
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
        Ok(duration) if duration > LONGEST => Err("must not be longer than a year".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it like 10s, 500ms or 2m")),
    }
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    if text.is_empty() {
        return Err("an empty pattern matches no device".to_owned());
    }
    match Glob::new(text) {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => Err(format!("no glob: {}", error.kind())),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(quoted.filter, words.filter);
        assert_eq!(words.filter_text, "tcp 10.0.0.1:4242 -> 10.96.0.1:443");
        assert_eq!(trace(&["->10.0.0.1", "--json"]).filter_text, "->10.0.0.1");
        assert_eq!(trace(&[]).filter, Filter::default());
        assert_eq!(trace(&["udp", "-v", "and", "port", "53"]).filter_text, "udp and port 53");
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let args = trace(&["udp", "--for", "2m", "--", "sh", "-c", "->", "--json"]);
        assert_eq!(args.command, ["sh", "-c", "->", "--json"]);
        assert_eq!(args.stop_after, Some(Duration::from_mins(2)));
        assert!(!args.json);
        assert!(trace(&["--", "true"]).filter_text.is_empty());
    }

    #[test]
    fn options_of_all_commands_may_stand_anywhere() {
        for args in [&["-vv", "--json", "doctor"], &["doctor", "--json", "-vv"]] {
            match read(args).unwrap().command {
                Command::Doctor(args) => assert!(args.json && args.verbose == 2),
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
}
