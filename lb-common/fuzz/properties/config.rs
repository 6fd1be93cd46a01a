//! What holds of the configuration for any text. Used by the fuzz target and by the tests.

use super::{Error, parse};

/// There is an answer, all of its lines can be printed, and one at least explains a refusal.
///
/// # Panics
/// Where that is not so.
pub(crate) fn holds(text: &str) {
    let findings = match parse("s.toml", text) {
        Ok(loaded) => loaded.warnings,
        Err(Error::Invalid { findings, .. }) => {
            assert!(!findings.is_empty(), "refused without a word");
            findings
        }
        Err(error @ Error::Read { .. }) => panic!("nothing was read: {error}"),
    };
    for finding in findings {
        assert_eq!(finding.to_string().lines().count(), 1, "{finding:?}");
    }
}
