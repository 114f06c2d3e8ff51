//! How many tests passed, failed and were skipped.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

/// What came of a part, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Count {
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Something that this machine cannot run; said, never silent.
    pub fn skipped(what: &str, why: &str) -> Self {
        println!("skipped {what}: {why}");
        Self { passed: 0, failed: 0, skipped: 1 }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
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
        };
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_executables_are_summed() {
        let text = "\
running 3 tests
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s
";
        assert_eq!(cargo_counts(text), Count { passed: 13, failed: 2, skipped: 1 });
        assert_eq!(cargo_counts("error: could not compile"), Count::default());
    }

    #[test]
    fn a_sum_is_read_as_it_is_written() {
        for (text, count) in [
            ("4 passed, 1 failed", Count { passed: 4, failed: 1, skipped: 0 }),
            ("0 passed, 0 failed, 7 skipped", Count { passed: 0, failed: 0, skipped: 7 }),
        ] {
            assert_eq!(text.parse(), Ok(count));
            assert_eq!(count.to_string(), text);
        }
        for text in ["", "4 passed", "ok  4 passed, 1 failed", "4 passed, x failed"] {
            assert_eq!(text.parse::<Count>(), Err(()), "{text:?}");
        }
    }
}
