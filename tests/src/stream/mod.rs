//! Long-lived TCP connections whose data is checked message by message: what shows that a connection
//! goes on, and where.
//!
//! A client writes `CONNECTION NUMBER` on a line, numbers ascending from 0; the server answers with the
//! same line and its own name behind it. On one connection a number that is not the next, or another
//! name than before, is wrong data: bytes of two backends, or of two connections, were mixed.
//!
//! [`server`] runs in a backend's host, [`client`] holds many connections from one, [`tally`] tells
//! those that broke on a living backend from those that had to.

pub mod client;
pub mod server;
pub mod tally;

use std::fmt::{self, Display, Formatter};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Longest line of either side, with its end.
const LINE_MAX: usize = 128;

/// What a client writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    connection: u32,
    number: u64,
}

impl Question {
    /// The line, without its end.
    fn parse(line: &str) -> Option<Self> {
        let (connection, number) = line.split_once(' ')?;
        Some(Self {
            connection: connection.parse().ok()?,
            number: number.parse().ok()?,
        })
    }

    /// The name in an answer to this question; `None` where it answers another.
    fn answered_by(self, line: &str) -> Option<&str> {
        let rest = line.strip_prefix(&self.to_string())?;
        rest.strip_prefix(' ').filter(|name| !name.is_empty())
    }
}

impl Display for Question {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { connection, number } = self;
        write!(f, "{connection} {number}")
    }
}

/// Lets this process have `enough` open files, or as many of those as it may, but at least `least`.
///
/// # Errors
/// Where it may have fewer.
pub fn allow_open_files(least: u64, enough: u64) -> Result<()> {
    /// For all else that is open.
    const MORE: u64 = 512;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the file limit")?;
    ensure!(
        hard >= least + MORE,
        "{least} open files are needed and {hard} allowed: raise the hard limit (ulimit -Hn)"
    );
    let wanted = (enough + MORE).min(hard).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
        .with_context(|| format!("raising the limit of open files from {soft} to {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_a_question_names_a_backend() {
        let question = Question {
            connection: 7,
            number: 12,
        };
        assert_eq!(Question::parse("7 12"), Some(question));
        assert_eq!(question.answered_by("7 12 b1"), Some("b1"));
        for wrong in ["7 13 b1", "8 12 b1", "7 123 b1", "7 12", "7 12 ", ""] {
            assert_eq!(question.answered_by(wrong), None, "{wrong}");
        }
    }
}
