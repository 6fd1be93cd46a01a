//! Replays what the fuzz target has been fed.

use std::{fs, path::Path};

use super::{Accept, Cursor, Ip, Link, Packet, Unparsed, parse};
use crate::family::{Family, V4, V6};

#[path = "../../fuzz/properties/packet.rs"]
mod property;

use property::How;

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
    let outcomes: Vec<_> = corpus()
        .into_iter()
        .map(|(_, mut frame)| How::EVERYTHING.read(&mut frame))
        .collect();
    assert!(outcomes.len() >= 90, "{} files", outcomes.len());
    for error in [Unparsed::NotOurs, Unparsed::Malformed] {
        assert!(outcomes.contains(&Err(error)), "no frame is {error:?}");
    }
    for ipv6 in [false, true] {
        for udp in [false, true] {
            for fragmented in [false, true] {
                for tags in 0..=2 {
                    let wanted = (tags, ipv6, udp, fragmented);
                    let found = outcomes
                        .iter()
                        .flatten()
                        .any(|read| (read.tags, read.ipv6, read.udp, read.fragmented) == wanted);
                    // Fragments behind tags are nothing of their own.
                    assert!(found || (fragmented && tags > 0), "no frame is {wanted:?}");
                }
            }
        }
    }
}
