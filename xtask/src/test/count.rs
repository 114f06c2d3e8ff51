//! How many tests passed, failed and were skipped.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

/// What came of a part, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// What failed, where its name is known: said once more at the end, because the end of a long log is
    /// what is read first.
    pub failures: Vec<String>,
}

impl Count {
    /// One thing that passed.
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0, failures: Vec::new() };

    /// One thing that failed.
    pub fn failure(name: impl Into<String>) -> Self {
        Self { failed: 1, failures: vec![name.into()], ..Self::default() }
    }

    /// Something that this machine cannot run; said, never silent.
    pub fn skipped(what: &str, why: &str) -> Self {
        println!("skipped {what}: {why}");
        Self { skipped: 1, ..Self::default() }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
        self.failures.extend(more.failures);
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

impl FromStr for Count {
    type Err = ();

    /// Reads what `Display` writes.
    fn from_str(line: &str) -> Result<Self, ()> {
        let mut count = Self::default();
        let mut kinds = 0;
        for part in line.trim().split(", ") {
            let (number, kind) = part.split_once(' ').ok_or(())?;
            let place = match kind {
                "passed" => &mut count.passed,
                "failed" => &mut count.failed,
                "skipped" => &mut count.skipped,
                _ => return Err(()),
            };
            *place = number.parse().map_err(drop)?;
            kinds += 1;
        }
        if kinds < 2 { Err(()) } else { Ok(count) }
    }
}

/// Sums the `test result:` lines, one per test executable.
pub(super) fn cargo_counts(text: &str) -> Count {
    let mut sum = Count::default();
    for line in text.lines().filter(|line| line.starts_with("test result: ")) {
        let number = |kind: &str| -> usize {
            let counted = line.split([';', '.']).find_map(|part| part.trim().strip_suffix(kind));
            counted.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        };
        sum += Count {
            passed: number("passed"),
            failed: number("failed"),
            skipped: number("ignored"),
            failures: Vec::new(),
        };
    }
    sum.failures = text.lines().filter_map(cargo_failure).collect();
    sum
}

/// The name in a line `test NAME ... FAILED`.
fn cargo_failure(line: &str) -> Option<String> {
    Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned())
}

/// The names in the lines `FAILED  NAME  (SECONDS s)` that the scenarios print.
pub(super) fn scenario_failures(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("FAILED  "));
    names.map(|line| line.split("  (").next().unwrap_or(line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_executables_are_summed() {
        let text = "\
running 3 tests
test ok ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test a::b ... FAILED
test c ... FAILED
test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s
";
        let failures = vec!["a::b".to_owned(), "c".to_owned()];
        assert_eq!(cargo_counts(text), Count { passed: 13, failed: 2, skipped: 1, failures });
        assert_eq!(cargo_counts("error: could not compile"), Count::default());
    }

    #[test]
    fn scenarios_that_failed_are_named() {
        let text =
            "ok      ping/ipv4 faulty  (1.0 s)\nFAILED  ping/ipv6 healthy  (2.0 s)\n    why\n";
        assert_eq!(scenario_failures(text), ["ping/ipv6 healthy"]);
    }

    #[test]
    fn a_sum_is_read_as_it_is_written() {
        for (text, count) in [
            ("4 passed, 1 failed", Count { passed: 4, failed: 1, ..Count::default() }),
            ("0 passed, 0 failed, 7 skipped", Count { skipped: 7, ..Count::default() }),
        ] {
            assert_eq!(text.parse(), Ok(count.clone()));
            assert_eq!(count.to_string(), text);
        }
        for text in ["", "4 passed", "ok  4 passed, 1 failed", "4 passed, x failed"] {
            assert_eq!(text.parse::<Count>(), Err(()), "{text:?}");
        }
    }
}
