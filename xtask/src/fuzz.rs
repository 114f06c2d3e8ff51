//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, built and run.

mod build;
mod run;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::test::Count;
use crate::{Told, step};
use run::{End, Limits};

/// How long each target runs in `cargo xtask test`.
const SHORT: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub struct Args {
    /// Which target; all of them when none is named, as many at a time as there are processors.
    target: Option<String>,
    /// Only this input, once: how to see again what a target failed on.
    #[arg(requires = "target")]
    input: Option<PathBuf>,
    /// How long each target runs.
    #[arg(long = "for", value_name = "DURATION", default_value = "1m", value_parser = crate::vm::duration)]
    time: Duration,
}

pub fn run(args: &Args) -> Result<()> {
    let all = build::targets()?;
    let wanted = match &args.target {
        Some(name) => {
            ensure!(all.contains(name), "there is no target {name:?}, but {}", all.join(", "));
            vec![name.clone()]
        }
        None => all,
    };
    let built = build::build()?;
    if let (Some(target), Some(input)) = (&args.target, &args.input) {
        return run::once(&built, target, input);
    }
    let limits = Limits {
        time: args.time,
        at_once: std::thread::available_parallelism().map_or(1, usize::from),
        keeps: true,
    };
    let ends = run::all(&built, &wanted, limits)?;
    println!("{}", run::table(&ends));
    if ends.iter().any(End::is_failed) { Err(Told.into()) } else { Ok(()) }
}

/// All targets at once, for a short time each: every one is a test.
pub(crate) fn part() -> Result<Count> {
    let built = build::build().context("building the fuzz targets")?;
    let targets = build::targets()?;
    let limits = Limits { time: SHORT, at_once: targets.len(), keeps: false };
    step::note(&format!("fuzzing {} targets for {} s", targets.len(), SHORT.as_secs()));
    let ends = run::all(&built, &targets, limits)?;
    let mut count = Count::default();
    for end in &ends {
        count += if end.is_failed() { Count::failure(end.name()) } else { Count::PASSED };
    }
    Ok(count)
}
