//! One scenario, tried: both twins, and each twin's expectation against the other's record.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::expect::Expectation;
use crate::kernel_drops::{Drops, Witness};
use crate::lasthop::{self, RUN_LIMIT};
use crate::machine;
use crate::process::{Finished, run};
use crate::recording::Recording;
use crate::report;
use crate::scenario::Scenario;
use crate::standing::{Obstacle, Standing, Twin};

/// What one twin's run left.
struct Record {
    done: Finished,
    path: PathBuf,
    /// What the kernel itself said it dropped; `None` without tracefs.
    drops: Option<Drops>,
    /// Why the topology's own witness says that this is not the twin it should be.
    doubt: Option<String>,
}

/// Why a scenario cannot run here; `None` when it can.
pub fn obstacle(scenario: &Scenario) -> Option<String> {
    let base = ["ip", "setpriv"].map(str::to_owned);
    let missing: Vec<String> = base
        .into_iter()
        .chain(scenario.needs.iter().cloned())
        .filter(|name| machine::command(name).is_none())
        .collect();
    if !missing.is_empty() {
        return Some(format!("this machine has no {}", missing.join(", ")));
    }
    let absent = scenario.modules.iter().find(|name| !machine::has_module(name))?;
    let kernels = scenario.kernels.join(", ");
    Some(format!("this kernel has no module {absent}; a guest has: {kernels}"))
}

/// Brings the topology up, sends the traffic without a tracer, and returns what the kernel says.
pub fn observe(scenario: &Scenario, twin: Twin) -> Result<String> {
    let dir = lasthop::scratch("observe")?;
    let standing = Standing::up(scenario, &dir, twin)?;
    let witness = Witness::start().context("this machine has no tracefs")?;
    let done = run(&mut standing.traffic()?, RUN_LIMIT)?;
    let drops = witness.finish()?;
    let said = standing.witness(twin).unwrap_or_else(|e| format!("{e:#}\n"));
    Ok(format!("{}{}{said}dropped: {drops}", done.text(), done.stderr))
}

/// Tries a scenario; each twin is one result.
pub fn try_scenario(scenario: &Scenario) -> Vec<(String, report::Result, Duration)> {
    let twins =
        [(Twin::Faulty, scenario.faulty.as_ref()), (Twin::Healthy, Some(&scenario.healthy))];
    let mut results = Vec::new();
    for (twin, expectation) in twins {
        let Some(expectation) = expectation else {
            continue;
        };
        let began = std::time::Instant::now();
        // The other twin's expectation must not hold for this one's record: a scenario that passes
        // with and without its fault proves nothing.
        let other = match twin {
            Twin::Faulty => Some(&scenario.healthy),
            Twin::Healthy => scenario.faulty.as_ref(),
        };
        let result = match try_twin(scenario, twin, expectation, other) {
            Ok(failures) if failures.is_empty() => report::Result::Passed,
            Ok(failures) => report::Result::Failed(failures),
            Err(e) if e.is::<Obstacle>() => report::Result::Skipped(e.to_string()),
            Err(e) => report::Result::Failed(vec![format!("{e:#}")]),
        };
        results.push((format!("{} {}", scenario.name, twin.name()), result, began.elapsed()));
    }
    results
}

/// Copies what a twin's run left, its recording and its logs, to a folder of its own in `folder`.
pub fn keep_record(result: &str, folder: &Path) -> Result<()> {
    let name = result.replace(['/', ' '], "-");
    let to = folder.join(&name);
    std::fs::create_dir_all(&to)?;
    for entry in std::fs::read_dir(lasthop::scratch(&name)?)? {
        let file = entry?.path();
        let kept = file.extension().is_some_and(|kind| kind == "log" || kind == "ndjson");
        if let (true, Some(name)) = (kept, file.file_name()) {
            std::fs::copy(&file, to.join(name))?;
        }
    }
    Ok(())
}

fn try_twin(
    scenario: &Scenario,
    twin: Twin,
    expectation: &Expectation,
    other: Option<&Expectation>,
) -> Result<Vec<String>> {
    let dir = lasthop::scratch(&format!("{}-{}", scenario.name.replace('/', "-"), twin.name()))?;
    let record = trace(scenario, twin, &dir)?;
    let mut failures = judge(&record, expectation, scenario);
    failures.extend(record.doubt.clone());
    if let Ok(recording) = Recording::parse(&record.done.stdout) {
        failures.extend(explained(&record, &recording, &dir)?);
        if other.is_some_and(|o| fails(&record, o).is_empty()) {
            failures.push("the other twin's expectation holds here too: it proves nothing".into());
        }
    }
    if !failures.is_empty() {
        failures.push(format!("recording: {}", record.path.display()));
        if let Some(drops) = &record.drops {
            failures.push(format!("the kernel itself dropped, on the whole machine: {drops}"));
        }
        failures.push(format!("standard error: {}", record.done.stderr));
    }
    Ok(failures)
}

fn trace(scenario: &Scenario, twin: Twin, dir: &Path) -> Result<Record> {
    let standing = Standing::up(scenario, dir, twin)?;
    let witness = Witness::start();
    let done = run(&mut standing.trace(&["--json"])?, RUN_LIMIT)?;
    let drops = witness.map(Witness::finish).transpose()?;
    let path = dir.join("recording.ndjson");
    std::fs::write(&path, &done.stdout)?;
    let doubt = standing.witness(twin).err().map(|e| format!("{e:#}"));
    Ok(Record { done, path, drops, doubt })
}

/// Everything that is wrong with one run.
fn judge(record: &Record, expectation: &Expectation, scenario: &Scenario) -> Vec<String> {
    let mut expectation = expectation.clone();
    let mut failures = Vec::new();
    match known(&expectation.reason) {
        Ok(reasons) => expectation.reason = reasons,
        Err(e) => failures.push(e),
    }
    // Of several names, that which the kernel gave: the verdict may not fall back to a vaguer one.
    if let (Some(drops), false) = (&record.drops, expectation.reason.is_empty()) {
        match expectation.reason.iter().find(|reason| drops.has(reason)) {
            Some(seen) => expectation.reason = vec![seen.clone()],
            None => failures.push(format!(
                "the fault did not happen: the kernel dropped nothing with {:?}",
                expectation.reason
            )),
        }
    }
    if !matches!(lasthop::ready_line(&record.done.stderr), Some((1.., 1..))) {
        failures.push("no ready line, or one without probes or devices".into());
    }
    failures.extend(fails(record, &expectation));
    if let Ok(recording) = Recording::parse(&record.done.stdout) {
        if recording.meta().is_some_and(|meta| meta["filter"] != scenario.filter.as_str()) {
            failures.push("meta.filter is not the filter that was given".into());
        }
        if recording.lost() > 0 {
            failures.push(format!("{} events were lost", recording.lost()));
        }
    }
    failures
}

/// Where the record falls short of an expectation.
fn fails(record: &Record, expectation: &Expectation) -> Vec<String> {
    let mut failures = Vec::new();
    if record.done.code() != Some(expectation.exit) {
        failures
            .push(format!("exit status: wanted {}, got {}", expectation.exit, record.done.status));
    }
    match Recording::parse(&record.done.stdout) {
        Ok(recording) => failures.extend(expectation.failures(&recording)),
        Err(problems) => failures.extend(problems),
    }
    failures
}

/// Those of the reasons that this kernel has: none on a kernel that has no reasons at all.
fn known(reasons: &[String]) -> std::result::Result<Vec<String>, String> {
    let Some(all) = machine::drop_reasons() else {
        return Ok(Vec::new());
    };
    let known: Vec<String> = reasons.iter().filter(|r| all.contains_key(*r)).cloned().collect();
    if known.is_empty() && !reasons.is_empty() {
        return Err(format!("this kernel has no drop reason called {}", reasons.join(" or ")));
    }
    Ok(known)
}

/// `explain`, without privileges, must come to the same verdicts and the same exit status.
fn explained(record: &Record, recording: &Recording, dir: &Path) -> Result<Vec<String>> {
    let file = record.path.to_string_lossy().into_owned();
    let args = ["explain", &file, "--json", "--exit-code"];
    let done = run(&mut lasthop::unprivileged(dir, &args)?, RUN_LIMIT)?;
    let mut failures = Vec::new();
    if done.code() != record.done.code() {
        failures.push(format!("explain ended with {}, the trace otherwise", done.status));
    }
    let again = match Recording::parse_lines(&done.stdout) {
        Ok(again) => again,
        Err(problems) => {
            failures.extend(problems.iter().map(|p| format!("explain: {p}")));
            failures.push(format!("explain's standard error: {}", done.stderr));
            return Ok(failures);
        }
    };
    if sorted(recording.verdicts()) != sorted(again.verdicts()) {
        failures.push(format!("explain comes to other verdicts: {:?}", again.verdicts()));
    }
    let plain = run(&mut lasthop::unprivileged(dir, &args[..2])?, RUN_LIMIT)?;
    if plain.code() != Some(0) || plain.stdout.is_empty() {
        failures.push(format!("explain in words ended with {}: {}", plain.status, plain.stderr));
    }
    Ok(failures)
}

fn sorted(mut verdicts: Vec<&Value>) -> Vec<&Value> {
    verdicts.sort_by_key(|verdict| verdict["flow"].as_u64());
    verdicts
}
