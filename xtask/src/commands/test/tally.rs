//! Counting what test programs report.

use std::{fmt, ops::AddAssign};

/// How many tests ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) ignored: u32,
    /// Cargo or a test program did not succeed, whatever the numbers say.
    pub(super) broken: bool,
}

impl Tally {
    /// Adds a test program's closing line, `test result: ok. 3 passed; 0 failed; 1 ignored; ...`;
    /// other lines count for nothing.
    pub(super) fn count(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse), words.next())
            else {
                continue;
            };
            let number: u32 = number;
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self {
            passed,
            failed,
            ignored,
            broken,
        } = other;
        self.passed += passed;
        self.failed += failed;
        self.ignored += ignored;
        self.broken |= broken;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            ignored,
            broken,
        } = self;
        write!(f, "{passed} passed")?;
        if *failed > 0 {
            write!(f, ", {failed} failed")?;
        }
        if *ignored > 0 {
            write!(f, ", {ignored} ignored")?;
        }
        if *broken && *failed == 0 {
            write!(f, ", did not finish")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_several_programs_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test the_test_result ... ok",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.30s",
        ] {
            tally.count(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 7,
                failed: 2,
                ignored: 1,
                broken: false
            }
        );
    }

    #[test]
    fn a_tally_names_what_is_not_good() {
        let shown = |tally: Tally| tally.to_string();
        assert_eq!(
            shown(Tally {
                passed: 2,
                ..Tally::default()
            }),
            "2 passed"
        );
        let bad = Tally {
            passed: 2,
            failed: 1,
            ignored: 3,
            broken: true,
        };
        assert_eq!(shown(bad), "2 passed, 1 failed, 3 ignored");
        let died = Tally {
            broken: true,
            ..Tally::default()
        };
        assert_eq!(shown(died), "0 passed, did not finish");
    }
}
