//! `hash` and its prefix lengths.

use super::{WEB, accepted, refusal, refusals};
use crate::model::FlowHash;

/// [`WEB`] with more lines, from line 3 on.
fn web(lines: &str) -> String {
    WEB.replacen("\"web\"\n", &format!("\"web\"\n{lines}\n"), 1)
}

#[track_caller]
fn hash(lines: &str) -> FlowHash {
    let [service] = accepted(&web(lines)).model.services.try_into().unwrap();
    service.hash
}

fn source(prefix_ipv4: u8, prefix_ipv6: u8) -> FlowHash {
    FlowHash::Source {
        prefix_ipv4,
        prefix_ipv6,
    }
}

#[test]
fn a_source_counts_whole_unless_it_is_cut() {
    assert_eq!(hash("hash = '5-tuple'"), FlowHash::FiveTuple);
    assert_eq!(hash("hash = 'source'"), source(32, 128));
    let lines = "hash = 'source'\nsource_prefix_ipv4 = 24\nsource_prefix_ipv6 = 56";
    assert_eq!(hash(lines), source(24, 56));
    let lines = "hash = 'source'\nsource_prefix_ipv4 = 1\nsource_prefix_ipv6 = 1";
    assert_eq!(hash(lines), source(1, 1));
}

#[test]
fn prefixes_are_lengths_of_an_address() {
    assert_eq!(
        refusals(&web(
            "hash = 'source'\nsource_prefix_ipv4 = 33\nsource_prefix_ipv6 = 0"
        )),
        [
            "s.toml:4:22: service[0].source_prefix_ipv4: 33 is out of range, use 1 to 32",
            "s.toml:5:22: service[0].source_prefix_ipv6: 0 is out of range, use 1 to 128",
        ]
    );
    let long = web("hash = 'source'\nsource_prefix_ipv6 = 129");
    assert_eq!(
        refusal(&long),
        "s.toml:4:22: service[0].source_prefix_ipv6: 129 is out of range, use 1 to 128"
    );
}

#[test]
fn prefixes_go_with_source_hashing_only() {
    let message = "means something with hash = \"source\" only, remove it or write that";
    for lines in [
        "source_prefix_ipv4 = 24\nsource_prefix_ipv6 = 64",
        "source_prefix_ipv4 = 24\nsource_prefix_ipv6 = 64\nhash = '5-tuple'",
    ] {
        assert_eq!(
            refusals(&web(lines)),
            [
                format!("s.toml:3:22: service[0].source_prefix_ipv4: {message}"),
                format!("s.toml:4:22: service[0].source_prefix_ipv6: {message}"),
            ]
        );
    }
}

#[test]
fn other_words_are_no_hash() {
    for (word, why) in [
        ("sorce", "`sorce` is unknown, did you mean `source`?"),
        ("5tuple", "`5tuple` is unknown, did you mean `5-tuple`?"),
        (
            "destination",
            "`destination` is unknown, known here: `5-tuple`, `source`",
        ),
    ] {
        assert_eq!(
            refusal(&web(&format!("hash = '{word}'\nsource_prefix_ipv4 = 24"))),
            format!("s.toml:3:8: service[0].hash: {why}")
        );
    }
}
