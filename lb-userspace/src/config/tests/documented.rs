//! What is written about configurations is true: docs/CONFIGURATION.md knows every key and
//! counter and no other, and every example in the tree is valid.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use lb_common::abi::{counters::DropReason, decap::DecapCounter};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor, value::Error},
    forward_to_deserialize_any,
};

use crate::{
    admin::status::{Plans, Verdicts},
    config::{
        self,
        raw::{RawBackend, RawConfig, RawDaemon, RawHealth, RawInterface, RawLimits, RawService},
    },
};

type Names = &'static [&'static str];

/// Takes down which fields a type asks for, and gives it none.
struct Recorder<'r>(&'r mut Option<Names>);

impl<'de> Deserializer<'de> for Recorder<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a struct is expected"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Names,
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = Some(fields);
        Err(Error::custom("recorded"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The keys that serde knows of a type.
fn keys<'de, T: Deserialize<'de>>() -> BTreeSet<String> {
    let mut names = None;
    let _recorded = T::deserialize(Recorder(&mut names));
    let names = names.expect("a struct");
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Every section of a configuration, as its heading stands in the document.
fn sections() -> [(&'static str, BTreeSet<String>); 6] {
    [
        ("`[daemon]`", keys::<RawDaemon>()),
        ("`[limits]`", keys::<RawLimits>()),
        ("`[[interface]]`", keys::<RawInterface>()),
        ("`[[service]]`", keys::<RawService>()),
        ("`[[service.health]]`", keys::<RawHealth>()),
        ("`[[service.backend]]`", keys::<RawBackend>()),
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Rows of the tables under each heading: the cells, the header and its rule left out.
fn tables(document: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut tables: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let mut heading = String::new();
    for line in document.lines() {
        if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        } else if let Some(row) = line.strip_prefix("| `") {
            // A bar inside a cell is written `\|`.
            let row = format!("`{row}").replace("\\|", "\u{1}");
            let cells = row.trim_end_matches('|').split('|');
            let cells = cells.map(|cell| cell.replace('\u{1}', "|").trim().to_owned());
            let rows = tables.entry(heading.clone()).or_default();
            rows.push(cells.collect());
        }
    }
    tables
}

fn names(rows: &[Vec<String>]) -> BTreeSet<String> {
    let names = rows.iter().filter_map(|row| row.first());
    names
        .map(|name| name.trim_matches('`').to_owned())
        .collect()
}

/// The TOML blocks of a document.
fn blocks(document: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    for part in document.split("```toml\n").skip(1) {
        let (block, _) = part.split_once("```").expect("a block ends");
        blocks.push(block.to_owned());
    }
    blocks
}

#[test]
fn every_key_is_documented_and_no_other() {
    let tables = tables(&read("docs/CONFIGURATION.md"));
    let found = sections().map(|(section, _)| section.to_owned());
    let missing: Vec<_> = found
        .iter()
        .filter(|name| !tables.contains_key(*name))
        .collect();
    assert!(missing.is_empty(), "no table under {missing:?}");
    for (section, keys) in sections() {
        assert_eq!(
            names(&tables[section]),
            keys,
            "{section}: documented, known"
        );
    }
    // A new kind of section must be looked at above, too.
    let top: BTreeSet<_> = ["daemon", "limits", "interface", "service"]
        .map(str::to_owned)
        .into();
    assert_eq!(keys::<RawConfig>(), top);
}

#[test]
fn every_key_has_type_default_range_meaning_and_an_example_of_itself() {
    let tables = tables(&read("docs/CONFIGURATION.md"));
    for (section, _) in sections() {
        for row in &tables[section] {
            let [key, kind, default, range, meaning, example] = &row[..] else {
                panic!("{section}: {row:?}");
            };
            for cell in [kind, default, range, meaning] {
                assert!(!cell.is_empty(), "{section}: {row:?}");
            }
            let key = key.trim_matches('`');
            let example = example.trim_matches('`');
            let table: toml::Table = example
                .parse()
                .unwrap_or_else(|error| panic!("{section}: {example}: {error}"));
            let leaf = match table.get("service") {
                Some(service) if table.len() == 1 => service.get(key).is_some(),
                _ => table.contains_key(key),
            };
            assert!(leaf, "{section}: {example} is no example of {key}");
        }
    }
}

#[test]
fn every_counter_is_documented_and_no_other() {
    let tables = tables(&read("docs/CONFIGURATION.md"));
    let reasons = DropReason::ALL.map(|reason| reason.name().to_owned());
    assert_eq!(names(&tables["Drop reasons"]), reasons.into());
    assert_eq!(names(&tables["Verdicts"]), keys::<Verdicts>());
    assert_eq!(names(&tables["Plans"]), keys::<Plans>());
    let counters = DecapCounter::ALL.map(|counter| counter.name().to_owned());
    assert_eq!(names(&tables["Tunnel counters"]), counters.into());
    for row in &tables["Tunnel counters"] {
        let [name, _, fate] = &row[..] else {
            panic!("{row:?}");
        };
        let mut counters = DecapCounter::ALL.into_iter();
        let counter = counters.find(|counter| counter.name() == name.trim_matches('`'));
        assert_eq!(counter.map(|c| c.fate().name()), Some(&**fate), "{name}");
    }
}

#[test]
fn every_configuration_in_the_documents_is_valid() {
    for document in ["README.md", "docs/CONFIGURATION.md"] {
        let blocks = blocks(&read(document));
        assert!(!blocks.is_empty(), "{document} has no configuration");
        for block in blocks {
            let loaded =
                config::parse(document, &block).unwrap_or_else(|error| panic!("{error}\n{block}"));
            assert_eq!(loaded.warnings, [], "{document}:\n{block}");
        }
    }
}

#[test]
fn the_example_is_valid_and_explains_every_key() {
    let loaded = config::load(&root().join("examples/sluice.toml"))
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    let text = read("examples/sluice.toml");
    let explained = |key: &str| {
        // Commented out, where two keys exclude each other.
        let mut lines = text.lines().map(|line| line.trim_start_matches('#').trim());
        lines.any(|line| line.starts_with(&format!("{key} =")))
            || text.contains(&format!("[[service.{key}]]"))
    };
    for (section, keys) in sections() {
        for key in keys {
            assert!(explained(&key), "examples/sluice.toml: {section}: {key}");
        }
    }
}
