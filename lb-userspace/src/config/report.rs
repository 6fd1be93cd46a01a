//! Collects what the stages find, in terms of spans, and turns it into lines for people.

use std::ops::Range;

use toml::Spanned;

use super::{
    document::Document,
    error::{Error, Finding, Position, Warning},
    raw::{Section, Table},
};

/// Findings beyond this are counted, not kept: nobody reads them, and each costs a search.
const MAX_FINDINGS: usize = 100;

/// Which of the configuration's files; the main one is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub(super) usize);

/// A place in one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Which file.
    pub(super) file: FileId,
    /// The value's or the key's bytes in it, exactly: that is how its path is found.
    pub(super) span: Range<usize>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    /// The value.
    pub(super) value: T,
    /// Where it stands.
    pub(super) spot: Spot,
}

impl FileId {
    /// A table of this file.
    pub(super) fn section<T>(self, section: Section<T>) -> Placed<T> {
        let Placed { value, spot } = self.place(section);
        let Table(value) = value;
        Placed { value, spot }
    }

    /// A value of this file.
    pub(super) fn place<T>(self, spanned: Spanned<T>) -> Placed<T> {
        let span = spanned.span();
        Placed {
            value: spanned.into_inner(),
            spot: Spot { file: self, span },
        }
    }
}

impl<T> Placed<T> {
    /// Another value at the same place.
    pub(super) fn with<U>(&self, value: U) -> Placed<U> {
        Placed {
            value,
            spot: self.spot.clone(),
        }
    }
}

/// All that was found so far.
pub(super) struct Report<'d> {
    documents: &'d [Document<'d>],
    errors: Vec<(FileId, Finding)>,
    warnings: Vec<(FileId, Finding)>,
    left_out: usize,
}

impl<'d> Report<'d> {
    /// Nothing found yet.
    pub(super) fn new(documents: &'d [Document<'d>]) -> Self {
        Self {
            documents,
            errors: Vec::new(),
            warnings: Vec::new(),
            left_out: 0,
        }
    }

    /// The value at `spot` is wrong.
    pub(super) fn error(&mut self, spot: Spot, message: impl AsRef<str>) {
        self.error_below(&spot, "", message);
    }

    /// The table at `spot` lacks `key`.
    pub(super) fn missing(&mut self, spot: &Spot, key: &str, message: impl AsRef<str>) {
        self.error_below(spot, key, message);
    }

    /// What the main file says at `spot`, or by leaving it out, does not do. `field` is its path.
    pub(super) fn error_or_absence(&mut self, spot: Option<&Spot>, field: &str, message: &str) {
        match (spot, self.documents.first()) {
            (Some(spot), _) => self.error(spot.clone(), message),
            (None, Some(main)) => {
                let finding = main.absence(field, message);
                self.errors.push((FileId(0), finding));
            }
            (None, None) => {}
        }
    }

    /// The value at `spot`, or the table's `key` where there is a `key`, is likely not meant.
    pub(super) fn warn(&mut self, spot: &Spot, key: &str, message: impl AsRef<str>) {
        if self.warnings.len() < MAX_FINDINGS
            && let Some(finding) = self.finding(spot, key, message.as_ref())
        {
            self.warnings.push((spot.file, finding));
        }
    }

    /// Something that the main file does not contain would better be there.
    pub(super) fn warn_absent(&mut self, field: &str, message: &str) {
        if let Some(document) = self.documents.first() {
            let finding = document.absence(field, message);
            self.warnings.push((FileId(0), finding));
        }
    }

    /// A place as messages mention it: `sluice.toml:12:8`.
    pub(super) fn locate(&self, spot: &Spot) -> String {
        match self.finding(spot, "", "") {
            Some(Finding {
                file,
                position: Some(Position { line, column }),
                field: _,
                message: _,
            }) => format!("{file}:{line}:{column}"),
            _ => String::new(),
        }
    }

    /// The warnings, if there are no errors.
    pub(super) fn finish(mut self) -> Result<Vec<Warning>, Error> {
        let in_order = |found: &mut Vec<(FileId, Finding)>| {
            found.sort_by_key(|(file, finding)| (*file, finding.position));
            found.drain(..).map(|(_, finding)| finding).collect()
        };
        if self.errors.is_empty() {
            return Ok(in_order(&mut self.warnings));
        }
        Err(Error::Invalid {
            findings: in_order(&mut self.errors),
            left_out: self.left_out,
        })
    }

    /// A place is reported once, and not at all where something in it was: the one is mostly the
    /// other's consequence, as a service without listeners is that of its only listener's typo.
    fn error_below(&mut self, spot: &Spot, key: &str, message: impl AsRef<str>) {
        if self.errors.len() >= MAX_FINDINGS {
            self.left_out += 1;
            return;
        }
        let Some(new) = self.finding(spot, key, message.as_ref()) else {
            return;
        };
        let said = self.errors.iter().any(|(file, old)| {
            *file == spot.file
                && old
                    .field
                    .strip_prefix(&new.field)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        if !said {
            self.errors.push((spot.file, new));
        }
    }

    fn finding(&self, spot: &Spot, key: &str, message: &str) -> Option<Finding> {
        let document = self.documents.get(spot.file.0)?;
        let mut field = document.field(&spot.span);
        if !key.is_empty() {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(key);
        }
        Some(document.finding(&spot.span, &field, message))
    }
}
