//! The `lasthop` command: reads the command line, hands over, and turns what came of it into an
//! exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use lasthop::cli::{self, Cli, Command};
use lasthop::command;
use tracer_core::verdict::words::safe;

/// It could not be done.
const FAILED: u8 = 1;
/// The command line was wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    log_to_stderr(cli.verbose);
    match run(cli.command) {
        Ok(status) => ExitCode::from(status),
        // Whoever read stdout has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Trace(args) => command::trace::run(args),
        Command::Drops(args) => command::drops::run(&args),
        Command::Explain(args) => command::explain::run(&args),
        Command::Doctor(args) => command::doctor::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lasthop", &mut script);
            print(&script)
        }
        Command::Man { of } => {
            let mut cli = Cli::command();
            // Fills in the names that subcommands' pages need.
            cli.build();
            let command = of.and_then(|name| cli.find_subcommand(name).cloned()).unwrap_or(cli);
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            print(&page)
        }
    }
}

fn print(text: &[u8]) -> anyhow::Result<u8> {
    let mut out = command::output::stdout();
    out.write_all(text)?;
    out.flush()?;
    Ok(0)
}

/// Answers a command line that is not to be run: a refusal, or help and version where asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.exit_code() == 0 || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        // Nobody is left to tell when this cannot be written.
        let _ = error.print();
    } else {
        complain(&cli::usage_line(error));
    }
    ExitCode::from(if error.exit_code() == 0 { 0 } else { USAGE })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = match cause.downcast_ref::<io::Error>() {
            Some(e) => Some(e.kind()),
            // Its `source()` skips the stream's own error.
            None => {
                cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind)
            }
        };
        kind == Some(io::ErrorKind::BrokenPipe)
    })
}

/// One line to stderr; what stderr says when it is gone is of no interest.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "lasthop: {}", safe(&line.replace('\n', " ")));
}

/// Warnings always; with `-v` what was done, with `-vv` how.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "lasthop=info,warn",
        _ => "lasthop=debug,tracer_ebpf=debug,warn",
    };
    let environment = env_logger::Env::default().filter_or("LASTHOP_LOG", level);
    env_logger::Builder::from_env(environment)
        .format(|out, record| {
            let text = record.args().to_string();
            writeln!(
                out,
                "lasthop: {}: {}",
                record.level().as_str().to_lowercase(),
                text.escape_debug()
            )
        })
        .init();
}
