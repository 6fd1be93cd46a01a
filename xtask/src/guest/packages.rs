//! The guest's kernel and its shell, from Debian's archive, unpacked and not installed.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The series of the oldest kernel that Sluice supports.
const SERIES: &str = "6.1";

/// A statically linked shell with all that an initial file system needs.
const BUSYBOX: &str = "busybox-static";

/// What was fetched.
pub(super) struct Packages {
    /// As `uname -r` says it.
    pub(super) release: String,
    /// The compressed kernel.
    pub(super) kernel: PathBuf,
    /// The folder `kernel` of its modules.
    pub(super) modules: PathBuf,
    /// The shell.
    pub(super) busybox: PathBuf,
}

/// Downloads and unpacks below `folder` what is not there.
pub(super) fn fetch(folder: &Path) -> Result<Packages> {
    if let Some(found) = find(folder) {
        return Ok(found);
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let image = newest(&apt_cache(&[
        "pkgnames",
        &format!("linux-image-{SERIES}."),
    ])?)
    .with_context(|| {
        format!("apt knows no package linux-image-{SERIES}.*-amd64: apt-get update, on Debian 12")
    })?;
    for package in [image.as_str(), BUSYBOX] {
        download(folder, package)?;
    }
    find(folder).with_context(|| format!("{image} has no kernel where it was expected"))
}

/// What is unpacked already.
fn find(folder: &Path) -> Option<Packages> {
    let root = folder.join("root");
    let busybox = root.join("bin/busybox");
    let image = fs::read_dir(root.join("boot"))
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("vmlinuz-"))?;
    let release = image.strip_prefix("vmlinuz-")?.to_owned();
    let modules = root.join("lib/modules").join(&release).join("kernel");
    (busybox.is_file() && modules.is_dir()).then(|| Packages {
        kernel: root.join("boot").join(&image),
        release,
        modules,
        busybox,
    })
}

fn apt_cache(arguments: &[&str]) -> Result<String> {
    let output = Command::new("apt-cache")
        .args(arguments)
        .output()
        .context("starting apt-cache: the guest's kernel comes from Debian's archive")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The package with the highest ABI number: `linux-image-6.1.0-48-amd64` before `-amd64-unsigned`,
/// `-cloud-amd64` and `-rt-amd64`, which are other kernels.
fn newest(names: &str) -> Option<String> {
    let abi = |name: &str| -> Option<Vec<u32>> {
        name.strip_prefix("linux-image-")?
            .strip_suffix("-amd64")?
            .split(['.', '-'])
            .map(|number| number.parse().ok())
            .collect()
    };
    names
        .lines()
        .filter_map(|name| Some((abi(name)?, name)))
        .max()
        .map(|(_, name)| name.to_owned())
}

fn download(folder: &Path, package: &str) -> Result<()> {
    let packages = folder.join("packages");
    fs::create_dir_all(&packages).with_context(|| format!("creating {}", packages.display()))?;
    run(Command::new("apt-get")
        .args(["download", "-q", package])
        .current_dir(&packages))?;
    let archive = fs::read_dir(&packages)
        .with_context(|| format!("reading {}", packages.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| is_archive_of(path, package))
        .with_context(|| format!("apt-get download left no archive of {package}"))?;
    run(Command::new("dpkg")
        .arg("-x")
        .arg(&archive)
        .arg(folder.join("root")))?;
    fs::remove_file(&archive).with_context(|| format!("removing {}", archive.display()))
}

fn is_archive_of(path: &Path, package: &str) -> bool {
    path.extension() == Some(OsStr::new("deb"))
        && path
            .file_name()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.split('_').next() == Some(package))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ordinary_kernel_is_chosen() {
        let names = "linux-image-6.1.0-9-amd64\nlinux-image-6.1.0-48-amd64\n\
                     linux-image-6.1.0-49-rt-amd64\nlinux-image-6.1.0-50-amd64-unsigned\n\
                     linux-image-6.1.0-48-cloud-amd64\n";
        assert_eq!(newest(names).as_deref(), Some("linux-image-6.1.0-48-amd64"));
        assert_eq!(newest("linux-image-6.1-armmp\n"), None);
    }

    #[test]
    fn an_archive_is_known_by_its_package() {
        let archive = Path::new("/x/busybox-static_1%3a1.35.0-4_amd64.deb");
        assert!(is_archive_of(archive, "busybox-static"));
        assert!(!is_archive_of(archive, "busybox"));
    }
}
