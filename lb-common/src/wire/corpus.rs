//! Replays what the fuzz target has been fed.

use std::{fs, path::Path};

use super::{Accept, Cursor, Unparsed, parse};

#[path = "../../fuzz/properties/packet.rs"]
mod property;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/packet");
    let files = fs::read_dir(&folder).expect("the corpus is in the tree");
    files
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect()
}

#[test]
fn the_property_holds_of_the_whole_corpus() {
    for (name, frame) in corpus() {
        let replayed = std::panic::catch_unwind(|| property::holds(&frame));
        assert!(replayed.is_ok(), "{name}: {frame:02x?}");
    }
}

/// A corpus of frames that all end at the first look would prove nothing.
#[test]
fn the_corpus_reaches_every_outcome() {
    let mut outcomes: Vec<_> = corpus()
        .into_iter()
        .map(|(_, mut frame)| parse(Cursor::new(&mut frame), Accept { udp: true }).map(|_| ()))
        .collect();
    assert!(outcomes.len() >= 20, "{} files", outcomes.len());
    outcomes.sort_by_key(|outcome| format!("{outcome:?}"));
    outcomes.dedup();
    for wanted in [Ok(()), Err(Unparsed::NotOurs), Err(Unparsed::Malformed)] {
        assert!(outcomes.contains(&wanted), "no frame is {wanted:?}");
    }
}
