//! What is said about a configuration: errors, and warnings that do not stop it.

use std::{fmt, io, path::PathBuf};

/// Why a configuration was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read, but means nothing that could be done. One line a finding.
    #[error("{}", lines(findings, *left_out))]
    Invalid {
        /// At least one, in the files' order.
        findings: Vec<Finding>,
        /// How many more there are, beyond what anybody would read.
        left_out: usize,
    },
}

/// Something that works but is likely not meant.
pub type Warning = Finding;

/// One thing about one place of a file. Prints as `file:12:3: service[0].backend[1].weight: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file as it was named.
    pub file: String,
    /// Where in it; `None` for what is not in it at all.
    pub position: Option<Position>,
    /// Path of the field; empty for the file as a whole.
    pub field: String,
    /// What is wrong and how to mend it, on one line.
    pub message: String,
}

/// Line and column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Finding {
    /// Whatever the message quotes, it stays one line.
    pub(super) fn new(file: &str, position: Option<Position>, field: &str, message: &str) -> Self {
        Self {
            file: file.to_owned(),
            position,
            field: field.to_owned(),
            message: on_one_line(message),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A configured text as messages quote it: cut where it is long.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}...`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

fn on_one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn lines(findings: &[Finding], left_out: usize) -> String {
    let mut lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    lines.join("\n")
}
