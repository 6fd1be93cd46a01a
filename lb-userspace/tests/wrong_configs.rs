//! Wrong configurations, and what `sluice check` says of each: `wrong_configs/NAME.toml` with the
//! expected lines in `NAME.txt` beside it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Fewer would mean that the folder was not found.
const LEAST: usize = 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong_configs")
}

/// The names of the files with this ending.
fn names(ending: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder()).unwrap();
    files
        .filter_map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(ending).map(str::to_owned)
        })
        .collect()
}

/// Runs inside the folder, so that messages name the bare file.
fn check(name: &str, format: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["--output", format, "check"])
        .arg(format!("{name}.toml"))
        .current_dir(folder())
        .output()
        .unwrap()
}

#[test]
fn every_wrong_configuration_is_refused_with_the_expected_lines() {
    let configs = names(".toml");
    assert!(configs.len() >= LEAST, "{configs:?}");
    assert_eq!(configs, names(".txt"), "each has its message");
    let mut different = Vec::new();
    for name in configs {
        let output = check(&name, "table");
        let expected = fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if said != expected || output.status.code() != Some(78) || !output.stdout.is_empty() {
            different.push(format!(
                "--- {name}: {}\nexpected:\n{expected}said:\n{said}",
                output.status
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn every_line_has_a_place_and_a_field_or_is_about_the_syntax() {
    for name in names(".toml") {
        let output = check(&name, "json");
        assert_eq!(output.status.code(), Some(78), "{name}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["valid"], false, "{name}");
        let errors = report["errors"].as_array().unwrap();
        assert!(!errors.is_empty(), "{name}");
        for error in errors {
            let line = error.as_str().unwrap();
            let place = line.strip_prefix(&format!("{name}.toml:")).expect(line);
            let mut parts = place.splitn(3, ':');
            for number in parts.by_ref().take(2) {
                assert!(number.parse::<u32>().is_ok_and(|n| n > 0), "{line}");
            }
            let (field, message) = parts.next().and_then(|p| p.split_once(": ")).expect(line);
            assert!(!field.trim().is_empty() && !message.is_empty(), "{line}");
        }
    }
}

#[test]
fn the_example_is_valid() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sluice.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("check")
        .arg(example)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}
