//! How results are told: a line each as they come, and one line of sums at the end.

use std::time::Duration;

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Result {
    /// As expected.
    Passed,
    /// Not as expected: each line a reason.
    Failed(Vec<String>),
    /// Could not be run here, and why.
    Skipped(String),
}

/// Counts results while printing them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    /// Prints one result.
    pub fn add(&mut self, name: &str, result: &Result, took: Duration) {
        let seconds = took.as_secs_f64();
        match result {
            Result::Passed => {
                self.passed += 1;
                println!("ok      {name}  ({seconds:.1} s)");
            }
            Result::Failed(reasons) => {
                self.failed += 1;
                println!("FAILED  {name}  ({seconds:.1} s)");
                for reason in reasons {
                    println!("          {}", reason.trim_end().replace('\n', "\n          "));
                }
            }
            Result::Skipped(reason) => {
                self.skipped += 1;
                println!("skipped {name}: {reason}");
            }
        }
    }

    /// Prints the sums; returns whether nothing failed.
    pub fn finish(self) -> bool {
        println!("{self}");
        self.failed == 0
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_each_kind() {
        let mut report = Report::default();
        report.add("a", &Result::Passed, Duration::ZERO);
        report.add("b", &Result::Failed(vec!["no".to_owned()]), Duration::ZERO);
        report.add("c", &Result::Skipped("no nft".to_owned()), Duration::ZERO);
        assert_eq!(report.to_string(), "1 passed, 1 failed, 1 skipped");
        assert!(!report.finish());
    }
}
