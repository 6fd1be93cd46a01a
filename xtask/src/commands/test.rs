//! `test`: builds as the user, runs in-file tests as the user and everything that needs the kernel
//! as root, and closes with a line that says how many tests of each kind ran.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use xtask::workspace::Workspace;

use crate::{
    commands::setup,
    host::{self, Elevation},
    step::{self, seconds},
};

mod files;
mod mutants;
mod tally;
mod vm;

use files::Files;
use tally::Tally;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which tests; all but `vm` and `mutants` when none is named
    kinds: Vec<Kind>,
    /// For the test programs: a part of a test's name, --nocapture, ...
    #[arg(last = true)]
    passed_on: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Kind {
    /// In-file tests and examples in docs: no privilege
    Unit,
    /// The XDP program packet by packet, without a network: tests/tests/bpf_*.rs
    Bpf,
    /// The system on network namespaces: the rest of tests/tests, and lb-userspace/tests
    Net,
    /// The packet fixtures, and tests/tests/vm_*.rs, on Linux 6.1 in QEMU; only when it is named
    Vm,
    /// Whether errors planted in the XDP program are found by its comparison with the model; only when
    /// it is named
    Mutants,
}

/// The packages under test. Every cargo command names all of them, whatever it then selects:
/// another set would mean other features of shared dependencies, hence compiling those again.
pub(super) const PACKAGES: [&str; 6] = [
    "--package",
    "lb-common",
    "--package",
    "lb-userspace",
    "--package",
    "sluice-tests",
];

/// Runs the kinds asked for, each whatever became of the one before.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let start = Instant::now();
    let kinds = chosen(&args.kinds);
    let files = Files::find(workspace.root())?;
    let needs_root = kinds
        .iter()
        .any(|kind| matches!(kind, Kind::Bpf | Kind::Net | Kind::Mutants));
    let elevation = needs_root.then(Elevation::acquire).transpose()?;
    // Before anything is built: a kind without a test file is an error.
    let runs = kinds
        .into_iter()
        .map(|kind| Ok((kind, cargo_arguments(kind, &files, elevation)?)))
        .collect::<Result<Vec<_>>>()?;
    setup::ensure(&workspace)?;
    if runs.iter().any(|(kind, _)| *kind == Kind::Bpf) {
        setup::ensure_scapy(&workspace)?;
    }
    // Programs as well: the system tests start them.
    let mut build = host::cargo(&workspace);
    step::run(
        "build",
        build
            .arg("build")
            .args(PACKAGES)
            .args(["--bins", "--tests"]),
    )?;
    if let Some(elevation) = elevation {
        host::ensure_bpffs(elevation)?;
    }

    let ci = env::var_os("CI").is_some();
    let mut parts = Vec::new();
    let mut failed = false;
    for (kind, commands) in runs {
        let mut tally = Tally::default();
        if kind == Kind::Vm {
            tally += vm::run(&workspace, &files, &args.passed_on)?;
        }
        if kind == Kind::Mutants {
            tally += mutants::run(&workspace, elevation, &args.passed_on)?;
        }
        for arguments in commands {
            let mut cargo = host::cargo(&workspace);
            cargo.args(arguments).args(&args.passed_on);
            tally += run_counted(kind.name(), &mut cargo)?;
        }
        failed |= !is_good(&tally, !args.passed_on.is_empty(), ci);
        parts.push(format!("{} {tally}", kind.name()));
    }
    let verdict = if failed { "FAILED" } else { "ok" };
    println!(
        "== test: {verdict}: {}; {}",
        parts.join("; "),
        seconds(start.elapsed())
    );
    if failed {
        bail!("tests failed");
    }
    Ok(())
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Bpf => "bpf",
            Self::Net => "net",
            Self::Vm => "vm",
            Self::Mutants => "mutants",
        }
    }
}

/// In their order, each once.
fn chosen(asked: &[Kind]) -> Vec<Kind> {
    let mut kinds = if asked.is_empty() {
        vec![Kind::Unit, Kind::Bpf, Kind::Net]
    } else {
        asked.to_vec()
    };
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Arguments of the cargo commands that run a kind, up to the `--` before what is passed on.
fn cargo_arguments(
    kind: Kind,
    files: &Files,
    elevation: Option<Elevation>,
) -> Result<Vec<Vec<String>>> {
    let names = match kind {
        Kind::Unit => {
            return Ok(vec![
                command(&PACKAGES, &["--lib", "--bins"]),
                command(&["--package", "xtask"], &["--lib", "--bins"]),
                command(&PACKAGES, &["--doc"]),
            ]);
        }
        Kind::Bpf => &files.bpf,
        Kind::Net => &files.net,
        // Not started by cargo.
        Kind::Vm | Kind::Mutants => return Ok(Vec::new()),
    };
    if names.is_empty() {
        bail!("there is no test file for `{}` tests", kind.name());
    }
    let mut selection = Vec::new();
    // As a configuration for every host, so that the finished test programs alone become root.
    let runner = runner(elevation.map_or(&[], Elevation::prefix));
    if let Some(runner) = &runner {
        selection.extend(["--config", runner]);
    }
    selection.extend(names.iter().flat_map(|name| ["--test", name]));
    Ok(vec![command(&PACKAGES, &selection)])
}

fn command(packages: &[&str], selection: &[&str]) -> Vec<String> {
    [&["test", "--no-fail-fast"], packages, selection, &["--"]]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn runner(prefix: &[&str]) -> Option<String> {
    let quoted: Vec<_> = prefix.iter().map(|word| format!("'{word}'")).collect();
    (!quoted.is_empty()).then(|| format!("target.'cfg(unix)'.runner=[{}]", quoted.join(",")))
}

/// Whether a kind's outcome is a success. A kind of which nothing ran proves nothing, unless a
/// filter was passed on; where `ci` is set nobody reads why a test was skipped, so none may be.
fn is_good(tally: &Tally, filtered: bool, ci: bool) -> bool {
    let Tally {
        passed,
        failed,
        ignored,
        broken,
    } = *tally;
    failed == 0 && !broken && (passed > 0 || filtered) && (ignored == 0 || !ci)
}

/// Runs cargo, shows its output as it comes, and counts what the test programs report.
fn run_counted(name: &str, cargo: &mut Command) -> Result<Tally> {
    step::announce(name, cargo);
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo")?;
    let output = child.stdout.take().context("reading cargo's output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("reading cargo's output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.count(&line);
    }
    let status = child.wait().context("waiting for cargo")?;
    tally.broken = !status.success();
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        Files {
            bpf: vec!["bpf_tcp".into()],
            net: vec!["cli".into(), "death".into()],
            vm: Vec::new(),
        }
    }

    #[test]
    fn naming_no_kind_means_those_that_are_quick() {
        assert_eq!(chosen(&[]), [Kind::Unit, Kind::Bpf, Kind::Net]);
        assert_eq!(
            chosen(&[Kind::Net, Kind::Unit, Kind::Net]),
            [Kind::Unit, Kind::Net]
        );
    }

    #[test]
    fn in_file_tests_run_without_privilege() {
        for arguments in cargo_arguments(Kind::Unit, &files(), Some(Elevation::Sudo)).unwrap() {
            assert!(
                !arguments.iter().any(|argument| argument.contains("sudo")),
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn only_the_test_programs_are_elevated() {
        let commands = cargo_arguments(Kind::Net, &files(), Some(Elevation::Sudo)).unwrap();
        let [command] = &commands[..] else {
            panic!("{commands:?}")
        };
        let line = command.join(" ");
        assert!(
            line.ends_with(
                "--config target.'cfg(unix)'.runner=['sudo','-E'] --test cli --test death --"
            ),
            "{line}"
        );
    }

    #[test]
    fn root_needs_no_runner() {
        let commands = cargo_arguments(Kind::Bpf, &files(), Some(Elevation::Root)).unwrap();
        assert!(commands[0].ends_with(&["--test".into(), "bpf_tcp".into(), "--".into()]));
        assert!(!commands[0].contains(&"--config".to_owned()));
    }

    #[test]
    fn a_kind_without_files_is_an_error() {
        assert!(cargo_arguments(Kind::Bpf, &Files::default(), None).is_err());
    }

    #[test]
    fn running_nothing_is_no_success() {
        let nothing = Tally::default();
        assert!(!is_good(&nothing, false, false));
        assert!(is_good(&nothing, true, false));
    }

    #[test]
    fn a_skip_is_a_failure_where_nobody_watches() {
        let skipped = Tally {
            passed: 3,
            ignored: 1,
            ..Tally::default()
        };
        assert!(is_good(&skipped, false, false));
        assert!(!is_good(&skipped, false, true));
    }

    #[test]
    fn a_test_program_that_died_is_a_failure_without_a_failed_test() {
        assert!(!is_good(
            &Tally {
                passed: 3,
                broken: true,
                ..Tally::default()
            },
            false,
            false
        ));
    }
}
