//! Replays what the fuzz target for configurations has been fed.

use std::{fs, path::Path};

use crate::config::{Error, parse};

#[path = "../../../../lb-common/fuzz/properties/config.rs"]
pub(super) mod property;

#[test]
fn the_property_holds_of_the_whole_corpus_and_some_of_it_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lb-common/fuzz/corpus/config");
    let (mut valid, mut refused) = (0, 0);
    for file in fs::read_dir(&folder).expect("the corpus is in the tree") {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // As libFuzzer does it: what is no text is not passed on.
        let Ok(text) = str::from_utf8(&bytes) else {
            continue;
        };
        let replayed = std::panic::catch_unwind(|| property::holds(text));
        assert!(replayed.is_ok(), "{}", path.display());
        match parse("s.toml", text) {
            Ok(_) => valid += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        valid >= 3 && refused >= 10,
        "{valid} valid, {refused} refused"
    );
}
