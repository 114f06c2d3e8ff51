//! What the hooks in Open vSwitch cost: in a guest that counts instructions, so that the figures
//! repeat whatever else this machine does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::aims::Aim;
use super::report::median;
use crate::vm::{End, Machine, Name};
use crate::{packages, test};

const LIMIT: Duration = Duration::from_mins(30);
/// The kernel that the peer's figures in TOOLCHAIN.md are of.
const KERNEL: Name = Name::V6_1;

/// One row: instructions a packet.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// What was measured.
    pub name: String,
    pub instructions: f64,
    /// Of the untraced row's.
    pub ratio: f64,
}

/// Runs the rows in one guest.
pub(super) fn run(binary: &Path, rounds: u8) -> Result<Vec<Row>> {
    packages::ensure_idle(packages::OPEN_VSWITCH)?;
    let peer = test::fast_harness("peer")?;
    let script = crate::root().join("tests/bench/ovs-cost.sh");
    let command: [OsString; 4] =
        [script.into(), binary.into(), peer.into(), rounds.to_string().into()];
    let machine =
        Machine { kernel: KERNEL, timeout: LIMIT, cpus: 1, memory: "2G".to_owned(), icount: true };
    let (mut said, mut errors) = (Vec::new(), Vec::new());
    let end = machine.run(&command, &mut said, &mut errors)?;
    let said = String::from_utf8_lossy(&said);
    if end != End::Exited(0) {
        bail!("the guest ended with {end:?}: {}{said}", String::from_utf8_lossy(&errors));
    }
    rows(&said)
}

/// From lines `ROW packets=N ns=T`, several of each row.
fn rows(said: &str) -> Result<Vec<Row>> {
    let mut order = Vec::new();
    let mut rounds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for line in said.lines() {
        let mut words = line.split_whitespace();
        let row = words.next().context("an empty line")?;
        let mut number = |key: &str| -> Result<f64> {
            let word = words.next().and_then(|word| word.strip_prefix(key));
            word.with_context(|| format!("no {key} in {line:?}"))?.parse().context("no number")
        };
        let (packets, ns) = (number("packets=")?, number("ns=")?);
        if !order.contains(&row) {
            order.push(row);
        }
        rounds.entry(row).or_default().push(ns / packets);
    }
    let of = |row: &str| median(rounds.get(row).into_iter().flatten().copied());
    ensure!(rounds.contains_key("untraced"), "nothing was measured: {said:?}");
    let untraced = of("untraced");
    Ok(order
        .into_iter()
        .map(|row| Row { name: row.to_owned(), instructions: of(row), ratio: of(row) / untraced })
        .collect())
}

/// What the rows should be.
pub(super) fn aims(rows: &[Row]) -> Vec<Aim> {
    let find = |name: &str| rows.iter().find(|row| row.name == name);
    let mut aims = Vec::new();
    let mut aim = |name: &str, most: f64, wanted: &'static str| {
        if let Some(row) = find(name) {
            aims.push(Aim {
                what: format!("instructions through Open vSwitch, {name} matches"),
                is: format!("{:.2} times", row.ratio),
                wanted,
                met: row.ratio <= most,
            });
        }
    };
    aim("nothing", 1.10, "<= 1.10 times untraced");
    aim("all", 2.5, "<= 2.50 times untraced");
    aims
}

pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "\nthrough Open vSwitch, in a guest with Linux {}\n{:<28} {:>20} {:>8}\n",
        KERNEL.text(),
        "",
        "instructions/packet",
        "ratio"
    );
    for row in rows {
        let _ = writeln!(text, "{:<28} {:>20.0} {:>8.3}", row.name, row.instructions, row.ratio);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_rounds_and_their_ratio() {
        let said = "untraced packets=10 ns=1000\nuntraced packets=10 ns=1200\n\
            untraced packets=10 ns=1100\nnothing packets=10 ns=1210\n";
        let rows = rows(said).expect("parses");
        assert_eq!(rows.len(), 2);
        assert!((rows[0].instructions - 110.0).abs() < 1e-9);
        assert!((rows[1].ratio - 1.1).abs() < 1e-9);
        assert!(super::rows("untraced packets=x ns=1").is_err());
        assert!(super::rows("").is_err());
        assert!(aims(&rows)[0].met);
    }
}
