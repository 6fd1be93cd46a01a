//! `report`: what the program costs with each set of features and what the maps cost, measured by
//! `sluice-report` as root. Only this command, as the user, writes into the tree.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail};
use xtask::{toolchain, tools::BPF_LINKER, workspace::Workspace};

use crate::{
    commands::setup,
    guest::{self, Guest},
    host::{self, Elevation},
    step,
};

/// Where baselines are, a file a kernel release.
const BASELINES: &str = "tests/baseline";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print everything as JSON, and nothing else
    #[arg(long, conflicts_with = "write_baseline")]
    json: bool,
    /// Keep the figures as the baseline of this kernel release
    #[arg(long)]
    write_baseline: bool,
    /// Measure on the oldest supported kernel, in QEMU, instead of this host's
    #[arg(long, conflicts_with = "json")]
    guest: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let elevation = (!args.guest).then(Elevation::acquire).transpose()?;
    let mut build = host::cargo(&workspace);
    // The daemon's package too, as in `run`: another set would mean other features of shared
    // dependencies, hence compiling those again.
    build.args(["build", "--package", "lb-userspace"]);
    build.args(["--package", "sluice-tests", "--bin", "sluice-report"]);
    if args.json {
        // Standard output belongs to the JSON.
        toolchain::ensure(&workspace)?;
        BPF_LINKER.ensure(&workspace)?;
        let status = build.status().context("starting cargo")?;
        if !status.success() {
            bail!("the report does not build ({status})");
        }
    } else {
        setup::ensure(&workspace)?;
        step::run("build", &mut build)?;
    }
    let program = host::programs(false)?.join("sluice-report");
    let form = match (args.write_baseline, args.json) {
        (true, _) => "baseline",
        (false, true) => "json",
        (false, false) => "table",
    };
    let form = ["--form".to_owned(), form.to_owned()];
    match elevation {
        None => in_guest(&workspace, &program, &form, args.write_baseline),
        Some(elevation) if args.write_baseline => write(&workspace, elevation, &program, &form),
        Some(elevation) => elevation.exec(&program, &form),
    }
}

/// The same in the guest.
fn in_guest(workspace: &Workspace, program: &Path, form: &[String], keep: bool) -> Result<()> {
    let guest = Guest::prepare(workspace)?;
    let mut measure = format!("'{}' {}", program.display(), form.join(" "));
    if keep {
        measure.push_str(&format!(" >{}/baseline", guest::SHARED));
    }
    let code = guest.run(&format!("{measure}\n"), |line| println!("{line}"))?;
    if code != 0 {
        bail!("nothing was measured in the guest (exit code {code})");
    }
    if keep {
        let path = guest.shared().join("baseline");
        let baseline = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        return store(workspace, guest.release(), &baseline);
    }
    Ok(())
}

fn write(
    workspace: &Workspace,
    elevation: Elevation,
    program: &Path,
    form: &[String],
) -> Result<()> {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
    let output = elevation
        .command(program)
        .args(form)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    if !output.status.success() {
        bail!("nothing was measured ({})", output.status);
    }
    store(workspace, &release, &output.stdout)
}

fn store(workspace: &Workspace, release: &str, baseline: &[u8]) -> Result<()> {
    let name = format!("{BASELINES}/{}", file_name(release));
    let path = workspace.root().join(&name);
    fs::write(&path, baseline).with_context(|| format!("writing {}", path.display()))?;
    println!("== report: {name} is the baseline now");
    Ok(())
}

/// `6.18.44-fc` has `6.18.json`.
fn file_name(release: &str) -> String {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().unwrap_or_default();
    format!("{}.{}.json", number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_named_for_major_and_minor() {
        assert_eq!(file_name("6.18.44-fc-v669\n"), "6.18.json");
        assert_eq!(file_name("6.1.0-18-amd64"), "6.1.json");
        assert_eq!(file_name("7.0-rc1"), "7.0.json");
    }
}
