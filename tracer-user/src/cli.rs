//! The command line: every option of every command, and what is wrong with one that is refused.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
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

/// How a command prints; the options stand on [`Cli`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    /// Write NDJSON.
    pub json: bool,
    /// How often `-v` was given.
    pub verbose: u8,
}

/// What `lasthop trace` and `lasthop drops` have in common.
#[derive(Clone, Debug, Default, Args)]
pub struct LiveArgs {
    /// What FILTER says.
    #[arg(skip)]
    pub filter: Filter,
    /// The filter as it was typed.
    #[arg(skip)]
    pub filter_text: String,
    #[arg(value_name = "FILTER", help = FILTER_HELP)]
    words: Vec<String>,
    /// Which network namespaces' devices are watched (repeatable; default of a trace: the current one
    /// and every named one; of drops: all)
    #[arg(long, value_name = "NAME|PATH|all")]
    pub netns: Vec<String>,
    /// Stop after that long (10s, 2m)
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub stop_after: Option<Duration>,
    /// A command to run once all probes are attached; lasthop stops shortly after it exits
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `lasthop trace`.
#[derive(Clone, Debug, Default, Args)]
pub struct TraceArgs {
    /// What it has in common with the other commands that watch the node.
    #[command(flatten)]
    pub live: LiveArgs,
    /// How it prints.
    #[arg(skip)]
    pub output: Output,
    /// Only record hops at devices whose name matches (repeatable; default: every device)
    #[arg(long = "port", value_name = "GLOB", value_parser = glob)]
    ports: Vec<GlobMatcher>,
    /// Stop after N packets have reached an outcome
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one)]
    pub packets: Option<NonZeroU64>,
    /// The exit status tells the outcome
    #[arg(long)]
    pub exit_code: bool,
    /// Size of the ring buffer between the kernel and the collector (16M; default 4M). A larger one
    /// loses fewer events when they come in bursts; it is mapped twice
    #[arg(long, value_name = "SIZE", value_parser = ring_size, default_value = "4M", hide_default_value = true)]
    pub ring: u32,
}

impl TraceArgs {
    /// Whether devices are chosen by name.
    pub fn chooses_ports(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Whether a device of this name is to be seen.
    pub fn wants_port(&self, name: &str) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|glob| glob.is_match(name))
    }

    /// Whether devices are left out that are seen otherwise.
    pub fn is_partial(&self) -> bool {
        !self.ports.is_empty() || !self.live.netns.is_empty()
    }
}

/// `lasthop drops`.
#[derive(Clone, Debug, Default, Args)]
pub struct DropsArgs {
    /// What it has in common with the other commands that watch the node.
    #[command(flatten)]
    pub live: LiveArgs,
    /// How it prints.
    #[arg(skip)]
    pub output: Output,
    /// Print the rows that often, with the rate of that time (default: every second on a terminal,
    /// else only at the end)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub interval: Option<Duration>,
    /// Print that many rows (default: 20 in a table, all with --json)
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one)]
    pub top: Option<NonZeroU64>,
    /// Tell drops apart by more than reason, place, device and namespace (repeatable)
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    pub by: Vec<By>,
    /// With --by: keep that many different values apart; what is beyond is counted without
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one, default_value = "16384")]
    pub keep: Option<NonZeroU64>,
    /// Show everyday drops too (a consumed RST, frames for others on a promiscuous device,
    /// multicast that nobody joined) instead of their sum
    #[arg(long)]
    pub all: bool,
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
    /// How it prints.
    #[arg(skip)]
    pub output: Output,
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
    /// How it prints.
    #[arg(skip)]
    pub output: Output,
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
    let output = Output { json: cli.json, verbose: cli.verbose };
    match &mut cli.command {
        Command::Trace(args) => {
            args.output = output;
            args.live.read_filter()?;
        }
        Command::Drops(args) => {
            args.output = output;
            args.live.read_filter()?;
        }
        Command::Explain(args) => args.output = output,
        Command::Doctor(args) => args.output = output,
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

impl LiveArgs {
    fn read_filter(&mut self) -> Result<(), clap::Error> {
        let unshielded = |word: &String| match word.strip_prefix(' ') {
            Some(arrow) if arrow.starts_with("->") => arrow.to_owned(),
            _ => word.clone(),
        };
        self.filter_text = self.words.iter().map(unshielded).collect::<Vec<_>>().join(" ");
        self.filter = filter::parse(&self.filter_text).map_err(|error| {
            Cli::command().error(ErrorKind::ValueValidation, format!("filter: {error}"))
        })?;
        Ok(())
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

/// Bytes of a ring buffer, which the kernel wants as a power of two of at least a page
/// (kernel/bpf/ringbuf.c, `ringbuf_map_alloc`): rounded up.
fn ring_size(text: &str) -> Result<u32, String> {
    const SIZES: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 30);
    // Sizes of memory are counted in powers of two, whether somebody writes the `i` or not.
    let binary = text.trim_end_matches(['b', 'B']).trim_end_matches('i');
    let binary = if binary.ends_with(|c: char| c.is_ascii_digit()) {
        binary.to_owned()
    } else {
        format!("{binary}i")
    };
    match binary.parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if SIZES.contains(&bytes) => {
            u32::try_from(bytes.next_power_of_two()).map_err(|e| e.to_string())
        }
        Ok(_) => Err("must be from 64K to 1G".to_owned()),
        Err(_) => Err("no size; write it like 512K, 16M or 1G".to_owned()),
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
mod tests;
