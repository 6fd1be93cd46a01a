//! What the documents tell a newcomer to write is what `sluice check` accepts without a word.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[track_caller]
fn accepted(file: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("check")
        .arg(file)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaints}");
    assert_eq!(complaints, "");
}

#[test]
fn the_example_passes_the_check() {
    accepted(&root().join("examples/sluice.toml"));
}

#[test]
fn the_readmes_configuration_passes_the_check() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, block) = readme.split_once("```toml\n").expect("a configuration");
    let (block, _) = block.split_once("```").expect("its end");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    fs::write(&file, block).unwrap();
    accepted(&file);
}
