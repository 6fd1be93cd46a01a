//! `lint`: formatting, clippy, docs, dependencies. Every check runs, whatever became of the one
//! before.

use std::{env::consts::ARCH, process::Command, time::Instant};

use anyhow::{Result, bail};
use xtask::{ebpf, tools::CARGO_DENY, workspace::Workspace};

use crate::{
    commands::setup,
    host,
    step::{self, seconds},
};

/// Private items are documented too, so a module's page may link to its private parts.
const RUSTDOCFLAGS: &str = "-D warnings -A rustdoc::private_intra_doc_links";

/// The packages of user space. The XDP program is checked apart from them: in one build, features
/// that user space wants of shared dependencies would pull `std` into it.
const USER_SPACE: [&str; 3] = ["--workspace", "--exclude", "lb-ebpf"];

pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::find()?;
    let start = Instant::now();
    setup::ensure(&workspace)?;
    setup::ensure_tool(&workspace, CARGO_DENY)?;
    let mut failed = Vec::new();
    for (name, mut command) in checks(&workspace) {
        if let Err(error) = step::run(name, &mut command) {
            println!("== {error:#}");
            failed.push(name);
        }
    }
    println!("== lint: advisories are not checked: their database is not part of this tree");
    if !failed.is_empty() {
        bail!(
            "lint: {} failed, {}",
            failed.join(", "),
            seconds(start.elapsed())
        );
    }
    println!("== lint: ok, {}", seconds(start.elapsed()));
    Ok(())
}

fn checks(workspace: &Workspace) -> Vec<(&'static str, Command)> {
    let user_space = |arguments: &[&str]| {
        let mut cargo = host::cargo(workspace);
        cargo.args(arguments);
        cargo
    };
    let xdp = |verb: &str, arguments: &[&str]| {
        let mut cargo = ebpf::cargo(workspace, verb, ARCH);
        cargo.args(arguments);
        cargo
    };
    let strict_docs = |mut cargo: Command| {
        cargo.env("RUSTDOCFLAGS", RUSTDOCFLAGS);
        cargo
    };
    let clippy = [
        &["clippy"],
        &USER_SPACE[..],
        &["--all-targets", "--", "-D", "warnings"],
    ]
    .concat();
    let doc = [
        &["doc"],
        &USER_SPACE[..],
        &["--no-deps", "--document-private-items"],
    ]
    .concat();
    let mut deny = Command::new(CARGO_DENY.path(workspace));
    deny.current_dir(workspace.root());
    deny.args(["--workspace", "check", "bans", "licenses", "sources"]);
    vec![
        ("fmt", user_space(&["fmt", "--all", "--check"])),
        ("clippy (user space)", user_space(&clippy)),
        (
            "clippy (XDP program)",
            xdp("clippy", &["--", "-D", "warnings"]),
        ),
        ("docs (user space)", strict_docs(user_space(&doc))),
        (
            "docs (XDP program)",
            strict_docs(xdp("doc", &["--no-deps", "--document-private-items"])),
        ),
        ("dependencies", deny),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<String> {
        let checks = checks(&Workspace::find().unwrap());
        checks
            .iter()
            .map(|(_, command)| format!("{command:?}"))
            .collect()
    }

    #[test]
    fn the_xdp_program_is_never_checked_together_with_user_space() {
        for line in lines()
            .iter()
            .filter(|line| line.contains("--workspace\" \"--exclude"))
        {
            assert!(line.contains(r#""--exclude" "lb-ebpf""#), "{line}");
        }
        let apart = lines()
            .iter()
            .filter(|line| line.contains(ebpf::TARGET))
            .count();
        assert_eq!(apart, 2);
    }

    #[test]
    fn a_warning_is_a_failure() {
        for line in lines().iter().filter(|line| line.contains("\"clippy\"")) {
            assert!(line.contains(r#""-D" "warnings""#), "{line}");
        }
    }
}
