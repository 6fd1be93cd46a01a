//! Values that follow the same rule wherever they stand: words of a list, numbers in a range,
//! names, paths.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use crate::config::{
    decode::{list, nearest},
    error::quote,
    raw::DurationText,
    report::{Placed, Report},
};

/// Names appear in commands (`drain SERVICE/BACKEND`), metrics and logs.
const MAX_NAME: usize = 64;

/// A word of a fixed list.
pub(super) struct Words<T: 'static> {
    /// What exists.
    pub(super) known: &'static [(&'static str, T)],
    /// What will exist.
    pub(super) later: &'static [&'static str],
}

impl<T: Copy> Words<T> {
    /// The value that the word stands for.
    pub(super) fn read(&self, word: &Placed<String>, report: &mut Report<'_>) -> Option<T> {
        let text = word.value.as_str();
        if let Some((_, value)) = self.known.iter().find(|(known, _)| *known == text) {
            return Some(*value);
        }
        let known: Vec<_> = self.known.iter().map(|(known, _)| *known).collect();
        let message = if self.later.contains(&text) {
            format!("{} is not supported yet, use {}", quote(text), list(&known))
        } else if let Some(near) = nearest(text, &known) {
            format!("{} is unknown, did you mean `{near}`?", quote(text))
        } else {
            format!("{} is unknown, known here: {}", quote(text), list(&known))
        };
        report.error(word.spot.clone(), message);
        None
    }
}

/// A number in `range`.
pub(super) fn number(
    number: &Placed<i64>,
    range: RangeInclusive<u32>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let value = u32::try_from(number.value).ok();
    let value = value.filter(|value| range.contains(value));
    if value.is_none() {
        let (least, most) = range.into_inner();
        report.error(
            number.spot.clone(),
            format!("{} is out of range, use {least} to {most}", number.value),
        );
    }
    value
}

/// A duration in `range`.
pub(super) fn duration(
    text: &Placed<DurationText>,
    range: RangeInclusive<Duration>,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let Placed { value, spot } = text;
    let DurationText(value) = value;
    let Ok(duration) = humantime::parse_duration(value) else {
        report.error(
            spot.clone(),
            format!(
                "{} is not a duration, write a number and its unit such as 500ms, 1s or 2m",
                quote(value)
            ),
        );
        return None;
    };
    if !range.contains(&duration) {
        let (least, most) = range.into_inner();
        report.error(
            spot.clone(),
            format!(
                "{} is out of range, use {} to {}",
                quote(value),
                humantime::format_duration(least),
                humantime::format_duration(most)
            ),
        );
        return None;
    }
    Some(duration)
}

/// A service's or backend's name.
pub(super) fn name(name: Placed<String>, report: &mut Report<'_>) -> Placed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-:[]".contains(c);
    let Placed { value, spot } = &name;
    if value.is_empty() {
        report.error(spot.clone(), "is empty, write a name");
    } else if value.len() > MAX_NAME {
        let message = format!(
            "{} is too long a name, use at most {MAX_NAME} characters",
            quote(value)
        );
        report.error(spot.clone(), message);
    } else if !value.chars().all(allowed) {
        let message = format!(
            "{} is not a name, use letters, digits and . _ - : [ ]",
            quote(value)
        );
        report.error(spot.clone(), message);
    }
    name
}

/// A path that means the same wherever the daemon is started.
pub(super) fn path(path: &Placed<String>, report: &mut Report<'_>) -> PathBuf {
    let Placed { value, spot } = path;
    if value.contains('\0') {
        report.error(spot.clone(), "holds a NUL, which no path can");
    } else if !value.starts_with('/') {
        report.error(
            spot.clone(),
            format!("{} is not an absolute path, begin with /", quote(value)),
        );
    }
    PathBuf::from(value)
}
