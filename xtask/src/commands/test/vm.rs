//! `vm`: the packet fixtures, and what needs devices that the host's kernel may lack, on the oldest
//! supported kernel.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, bail};
use xtask::workspace::Workspace;

use super::{PACKAGES, files::Files, tally::Tally};
use crate::{guest::Guest, host, step};

/// Packets that are compared with the model: under emulation each costs dozens of times as much.
const MODEL_PACKETS: u32 = 10_000;

/// What is not run there: what measures time, which under emulation says nothing, scapy's opinion of
/// what the program writes, which is the same on every kernel, and random sets of features, which take too
/// long: those of the report are loaded.
const SKIPPED: [&str; 3] = [
    "any_combination_of_features_loads",
    "a_large_table_is_written_within_a_millisecond",
    "scapy_reads",
];

/// Builds the test programs, boots the guest and runs them there one after the other.
pub(super) fn run(workspace: &Workspace, files: &Files, passed_on: &[String]) -> Result<Tally> {
    let guest = Guest::prepare(workspace)?;
    let programs = build(workspace, files)?;
    let mut tally = Tally::default();
    let code = guest.run(&script(workspace, &programs, passed_on), |line| {
        println!("{line}");
        tally.count(line);
    })?;
    tally.broken |= code != 0;
    Ok(tally)
}

/// Every test program that runs in the guest.
fn build(workspace: &Workspace, files: &Files) -> Result<Vec<PathBuf>> {
    let mut cargo = host::cargo(workspace);
    cargo.args([
        "test",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    cargo.args(PACKAGES);
    for name in files.bpf.iter().chain(&files.vm) {
        cargo.args(["--test", name]);
    }
    step::announce("build", &cargo);
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    if !output.status.success() {
        bail!("the tests do not build ({})", output.status);
    }
    let programs = executables(&String::from_utf8_lossy(&output.stdout))?;
    if programs.is_empty() {
        bail!("cargo named no test program");
    }
    Ok(programs)
}

/// The programs that cargo's messages, a JSON object a line, name as tests.
fn executables(messages: &str) -> Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).context("reading cargo's messages")?;
        let is_test = message["profile"]["test"] == true;
        if let Some(path) = message["executable"].as_str().filter(|_| is_test) {
            programs.push(PathBuf::from(path));
        }
    }
    Ok(programs)
}

fn script(workspace: &Workspace, programs: &[PathBuf], passed_on: &[String]) -> String {
    let root = workspace.root().join("tests");
    let arguments: Vec<_> = passed_on.iter().map(|argument| quoted(argument)).collect();
    let mut script = format!(
        "export CI=true HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         export CARGO_MANIFEST_DIR={root} SLUICE_MODEL_PACKETS={MODEL_PACKETS} SLUICE_MODEL_EACH=500\ncd {root} || exit 1\nfailed=0\nuname -r\n",
        root = quoted(&root.to_string_lossy())
    );
    let skipped = SKIPPED.map(|name| format!("--skip {name}")).join(" ");
    for program in programs {
        script.push_str(&format!(
            "{} --color never {skipped} {} 2>&1 || failed=1\n",
            quoted(&program.to_string_lossy()),
            arguments.join(" ")
        ));
    }
    script.push_str("exit $failed\n");
    script
}

/// As one word of the shell's.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_taken_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":"/t/sluice"}
{"reason":"compiler-artifact","profile":{"test":true},"executable":"/t/bpf_udp-1"}
{"reason":"compiler-artifact","profile":{"test":true},"executable":null}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            executables(messages).unwrap(),
            [PathBuf::from("/t/bpf_udp-1")]
        );
        assert!(executables("no json").is_err());
    }

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("it's a path"), r"'it'\''s a path'");
    }
}
