//! Tree to raw types, past the first mistake.
//!
//! serde stops at the first key or type that does not fit. So what it stumbles over is reported,
//! cut out of the tree, and the rest is tried again, until all that is left fits.

use std::borrow::Cow;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeArray, DeValue, ValueDeserializer},
};

use super::{
    document::{self, Document, Step},
    report::{FileId, Report, Spot},
};

/// More attempts than findings are kept: what is left after so many is not worth trying.
const MAX_ATTEMPTS: usize = 200;

/// As much of the document as fits `T`; the rest is in the report.
pub(super) fn decode<'t, T>(document: &Document<'t>, file: FileId, report: &mut Report<'_>) -> T
where
    T: Deserialize<'t> + Default,
{
    let mut tree = Cow::Borrowed(document.tree());
    for _ in 0..MAX_ATTEMPTS {
        let error = match T::deserialize(ValueDeserializer::from(tree.as_ref().clone())) {
            Ok(raw) => return raw,
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| tree.span());
        let steps = document::find(&tree, &span).unwrap_or_default();
        let message = explain(error.message(), node(&tree, &steps));
        report.error(Spot { file, span }, message);
        if !cut(tree.to_mut(), &steps) {
            break;
        }
    }
    T::default()
}

/// serde's words in the user's terms. Quotes no value: it may be the seed.
fn explain(message: &str, found: Option<&DeValue<'_>>) -> String {
    if let Some(names) = message.strip_prefix("unknown field ") {
        let mut names = names.split('`').skip(1).step_by(2);
        let key = names.next().unwrap_or_default();
        let known: Vec<_> = names.collect();
        return match nearest(key, &known) {
            Some(near) => format!("unknown key, did you mean `{near}`?"),
            None => format!("unknown key, known here: {}", list(&known)),
        };
    }
    let Some((_, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let expected = match expected {
        "i64" => "an integer",
        "a sequence" => "an array",
        other => other,
    };
    let found = match found {
        Some(DeValue::Integer(_)) if expected == "an integer" => "one that is out of range",
        Some(DeValue::String(_)) => "a string",
        Some(DeValue::Integer(_)) => "an integer",
        Some(DeValue::Float(_)) => "a float",
        Some(DeValue::Boolean(_)) => "a boolean",
        Some(DeValue::Datetime(_)) => "a date or time",
        Some(DeValue::Array(_)) => "an array",
        Some(DeValue::Table(_)) if expected == "an array" => "a table: write [[ ]], not [ ]",
        // An array of tables stands where its first table does.
        Some(DeValue::Table(_)) if expected == "a table" => "an array: write [ ], not [[ ]]",
        Some(DeValue::Table(_)) => "a table",
        None => "something else",
    };
    format!("expected {expected}, found {found}")
}

/// The known word that `word` is most likely a slip of the finger for.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let length = word.chars().count();
    let tolerated = (length / 3).max(1);
    known
        .iter()
        // Lengths differ by no more than the words do. The comparison takes the product of both, and
        // the word may be a whole request's head.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= tolerated)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Words for a message: `` `a`, `b` ``.
pub(super) fn list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|w| format!("`{w}`")).collect();
    quoted.join(", ")
}

fn node<'n, 't>(root: &'n Spanned<DeValue<'t>>, steps: &[Step]) -> Option<&'n DeValue<'t>> {
    let mut node = root.get_ref();
    for step in steps {
        node = match (step, node) {
            (Step::Key(key), DeValue::Table(table)) => table.get(key.as_str())?.get_ref(),
            (Step::Index(i), DeValue::Array(array)) => array.get(*i)?.get_ref(),
            _ => return None,
        };
    }
    Some(node)
}

/// Takes out the node at `steps`; false where there is none, or it is the root.
fn cut(root: &mut Spanned<DeValue<'_>>, steps: &[Step]) -> bool {
    let Some((last, way)) = steps.split_last() else {
        return false;
    };
    let mut node = root.get_mut();
    for step in way {
        let below = match (step, node) {
            (Step::Key(key), DeValue::Table(table)) => table.get_mut(key.as_str()),
            (Step::Index(i), DeValue::Array(array)) => array.get_mut(*i),
            _ => None,
        };
        let Some(below) = below else { return false };
        node = below.get_mut();
    }
    match (last, node) {
        (Step::Key(key), DeValue::Table(table)) => table.remove(key.as_str()).is_some(),
        (Step::Index(i), DeValue::Array(array)) if *i < array.len() => {
            let kept = std::mem::replace(array, DeArray::new())
                .into_iter()
                .enumerate();
            for (_, value) in kept.filter(|(other, _)| other != i) {
                array.push(value);
            }
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_found() {
        let known = ["web-1", "web-2", "mail-1"];
        assert_eq!(nearest("wbe-2", &known), Some("web-2"));
        assert_eq!(nearest("web", &["web1"]), Some("web1"));
        assert_eq!(nearest("web1", &["web"]), Some("web"));
        assert_eq!(nearest("database", &known), None);
    }

    #[test]
    fn a_name_as_long_as_a_request_costs_no_time() {
        let names: Vec<String> = (0..16_384).map(|n| format!("backend-{n}")).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let start = Instant::now();
        assert_eq!(nearest(&"backend-".repeat(2048), &known), None);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
