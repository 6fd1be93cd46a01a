//! scapy, which reads and writes packets independently of this project, for the tests: of a fixed version,
//! in a Python environment of its own below `target/tools`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use xtask::{toolchain::Ensured, tools, workspace::Workspace};

/// Versions and hashes, as pip wants them.
const REQUIREMENTS: &str = "tests/scapy/requirements.txt";

/// Installs it unless it is there in this very version.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Ensured> {
    let requirements = workspace.root().join(REQUIREMENTS);
    let wanted =
        fs::read(&requirements).with_context(|| format!("reading {}", requirements.display()))?;
    let folder = workspace.tools().join("scapy");
    if is_installed(&folder, &wanted) {
        return Ok(Ensured::Present);
    }
    let _lock = tools::lock(&workspace.tools())?;
    if is_installed(&folder, &wanted) {
        return Ok(Ensured::Present);
    }
    let version = Command::new("python3").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        bail!("there is no python3: apt-get install python3 python3-venv");
    }
    quietly(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )
    .context("making a Python environment (on Debian that needs the package python3-venv)")?;
    quietly(
        Command::new(python(&folder))
            .args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--require-hashes"])
            .args(["--only-binary", ":all:", "--requirement"])
            .arg(&requirements),
    )
    .context("installing scapy with pip")?;
    fs::write(stamp(&folder), wanted)
        .with_context(|| format!("writing {}", stamp(&folder).display()))?;
    Ok(Ensured::Installed)
}

/// Whether nobody reads why a test was skipped, so that none may be.
pub(crate) fn is_required() -> bool {
    env::var_os("CI").is_some()
}

fn is_installed(folder: &Path, wanted: &[u8]) -> bool {
    // Follows the link: the Python that it was made with may be gone.
    python(folder).is_file() && fs::read(stamp(folder)).is_ok_and(|found| found == wanted)
}

fn python(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

/// What is installed, written last.
fn stamp(folder: &Path) -> PathBuf {
    folder.join("requirements.txt")
}

/// Runs a command; what it says becomes the error where it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&said).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_of_one_version_and_has_a_hash() {
        let text =
            fs::read_to_string(Workspace::find().unwrap().root().join(REQUIREMENTS)).unwrap();
        assert!(text.lines().any(|line| line.starts_with("scapy==")));
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            assert!(
                line.contains("==") && line.contains("--hash=sha256:"),
                "{line}"
            );
        }
    }

    #[test]
    fn what_a_failing_command_says_is_the_error() {
        let error = quietly(Command::new("sh").args(["-c", "echo so it is; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("so it is") && text.contains('3'), "{text}");
    }
}
