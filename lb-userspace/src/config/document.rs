//! A file as a TOML tree with spans, and the way from a span back to line, column and field.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{Finding, Position};

/// A file whose syntax is right.
pub(super) struct Document<'t> {
    name: &'t str,
    text: &'t str,
    tree: Spanned<DeValue<'t>>,
}

impl<'t> Document<'t> {
    /// Reads the tree; the first mistake of syntax is reported, the ones after it seldom are real.
    pub(super) fn parse(name: &'t str, text: &'t str) -> Result<Self, Finding> {
        match DeTable::parse(text) {
            Ok(tree) => {
                let span = tree.span();
                let tree = Spanned::new(span, DeValue::Table(tree.into_inner()));
                Ok(Self { name, text, tree })
            }
            Err(e) => {
                let at = e.span().map_or(0, |span| span.start);
                Err(Finding::new(
                    name,
                    Some(position(text, at)),
                    "",
                    &format!("not TOML: {}", e.message()),
                ))
            }
        }
    }

    /// What was read.
    pub(super) fn tree(&self) -> &Spanned<DeValue<'t>> {
        &self.tree
    }

    /// A finding about the node at `span`, or about its key `missing`.
    pub(super) fn finding(&self, span: &Range<usize>, field: &str, message: &str) -> Finding {
        let position = position(self.text, span.start);
        Finding::new(self.name, Some(position), field, message)
    }

    /// A finding about something that the file does not contain.
    pub(super) fn absence(&self, field: &str, message: &str) -> Finding {
        Finding::new(self.name, None, field, message)
    }

    /// The path of the node at `span`, empty for the root.
    pub(super) fn field(&self, span: &Range<usize>) -> String {
        let steps = find(&self.tree, span).unwrap_or_default();
        let mut path = String::new();
        for step in &steps {
            match step {
                Step::Key(key) if path.is_empty() => path = bare_or_quoted(key),
                Step::Key(key) => {
                    path.push('.');
                    path.push_str(&bare_or_quoted(key));
                }
                Step::Index(i) => path.push_str(&format!("[{i}]")),
            }
        }
        path
    }
}

/// One step from a node to a node in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// The deepest node whose value or key stands at `span`. Tables do not enclose what is in them:
/// their span is their header's.
pub(super) fn find(node: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Vec<Step>> {
    let mut path = find_reversed(node, span)?;
    path.reverse();
    Some(path)
}

fn find_reversed(node: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Vec<Step>> {
    let below = match node.get_ref() {
        DeValue::Table(table) => table.iter().find_map(|(key, value)| {
            let mut path =
                find_reversed(value, span).or_else(|| (key.span() == *span).then(Vec::new))?;
            path.push(Step::Key(key.get_ref().to_string()));
            Some(path)
        }),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(i, value)| {
            let mut path = find_reversed(value, span)?;
            path.push(Step::Index(i));
            Some(path)
        }),
        _ => None,
    };
    below.or_else(|| (node.span() == *span).then(Vec::new))
}

/// A finding for bytes that are no text.
pub(super) fn not_utf8(name: &str, bytes: &[u8], valid_up_to: usize) -> Finding {
    let text = String::from_utf8_lossy(bytes.get(..valid_up_to).unwrap_or_default());
    let position = position(&text, valid_up_to);
    Finding::new(
        name,
        Some(position),
        "",
        "not UTF-8: save the file as UTF-8",
    )
}

fn position(text: &str, offset: usize) -> Position {
    let before = text
        .get(..text.floor_char_boundary(offset))
        .unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}
