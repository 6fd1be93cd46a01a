//! Programs of fixed versions, installed below `target/tools` by cargo.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{toolchain::Ensured, workspace::Workspace};

/// Links the XDP program. Newer ones want another LLVM than the one inside the pinned toolchain.
pub const BPF_LINKER: Tool = Tool {
    name: "bpf-linker",
    version: "0.10.3",
};

/// Checks licences, sources and duplicates of the dependencies by `deny.toml`.
pub const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// A program on crates.io whose package and binary have the same name.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Package and binary.
    pub name: &'static str,
    /// The only version that will do.
    pub version: &'static str,
}

impl Tool {
    /// Where the binary is, once installed.
    #[must_use]
    pub fn path(&self, workspace: &Workspace) -> PathBuf {
        workspace.tools().join("bin").join(self.name)
    }

    /// Installs the tool unless this very version is there. Two builds at once do not race: the
    /// second one waits for the first one's installation.
    ///
    /// # Errors
    /// When cargo cannot install it.
    pub fn ensure(&self, workspace: &Workspace) -> Result<Ensured> {
        if self.is_installed(workspace) {
            return Ok(Ensured::Present);
        }
        let _lock = lock(&workspace.tools())?;
        if self.is_installed(workspace) {
            return Ok(Ensured::Present);
        }
        let status = self
            .install_command(workspace)
            .stdin(Stdio::null())
            // A build script's output belongs to cargo.
            .stdout(io::stderr())
            .status()
            .context("starting cargo")?;
        if !status.success() || !self.is_installed(workspace) {
            bail!(
                "{} {} could not be installed (cargo install: {status})",
                self.name,
                self.version
            );
        }
        Ok(Ensured::Installed)
    }

    /// Whether this very version is there.
    #[must_use]
    pub fn is_installed(&self, workspace: &Workspace) -> bool {
        Command::new(self.path(workspace))
            .arg("--version")
            .output()
            .is_ok_and(|output| parse_version(&output.stdout) == Some(self.version))
    }

    fn install_command(&self, workspace: &Workspace) -> Command {
        let mut cargo = workspace.cargo();
        cargo
            .args([
                "install",
                self.name,
                "--version",
                self.version,
                "--locked",
                "--force",
                "--root",
            ])
            .arg(workspace.tools());
        cargo
    }
}

/// The version in the first line of `NAME VERSION ...`.
fn parse_version(output: &[u8]) -> Option<&str> {
    str::from_utf8(output)
        .ok()?
        .lines()
        .next()?
        .split_whitespace()
        .nth(1)
}

/// Keeps others from installing below `tools`. Held until dropped; the kernel lets go of it when the process
/// dies.
///
/// # Errors
/// Where the folder cannot be written.
pub fn lock(tools: &Path) -> Result<File> {
    fs::create_dir_all(tools).with_context(|| format!("creating {}", tools.display()))?;
    let path = tools.join(".lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.lock()
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_second_word_of_the_first_line() {
        assert_eq!(parse_version(b"bpf-linker 0.10.3\n"), Some("0.10.3"));
        assert_eq!(
            parse_version(b"cargo-deny 0.20.1 (abc)\nmore"),
            Some("0.20.1")
        );
    }

    #[test]
    fn output_without_a_version_is_no_version() {
        assert_eq!(parse_version(b""), None);
        assert_eq!(parse_version(b"bpf-linker"), None);
        assert_eq!(parse_version(&[0xff, b' ', b'1']), None);
    }

    #[test]
    fn the_version_is_pinned_and_the_lock_file_is_obeyed() {
        let workspace = Workspace::find().unwrap();
        let command = BPF_LINKER.install_command(&workspace);
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        let line = args.join(" ");
        assert!(
            line.starts_with("install bpf-linker --version 0.10.3 --locked"),
            "{line}"
        );
        assert!(line.ends_with("target/tools"), "{line}");
    }
}
