//! The guest's initial file system: a shell, the modules that it needs, and what it does.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{modules, packages::Packages};

/// What the kernel starts.
const INIT: &str = include_str!("init.sh");

/// The modules that are wanted: the bus, the host's files, and the devices that tests make.
const WANTED: [&str; 11] = [
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "veth",
    "bridge",
    "8021q",
    "bonding",
    "ipip",
    "sit",
    "ip6_tunnel",
    "fou",
];

/// Writes the archive into `folder`.
pub(super) fn make(folder: &Path, packages: &Packages) -> Result<PathBuf> {
    let tree = folder.join("initramfs");
    fill(&tree, packages).with_context(|| format!("filling {}", tree.display()))?;
    let archive = folder.join("initramfs.cpio");
    pack(&tree, &archive, &packages.busybox)?;
    Ok(archive)
}

fn fill(tree: &Path, packages: &Packages) -> Result<()> {
    for folder in ["bin", "modules", "proc", "sys", "dev", "host"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    fs::copy(&packages.busybox, tree.join("bin/busybox"))?;
    let mut order = String::new();
    for module in modules::in_order(&packages.modules, &WANTED)? {
        let file = module
            .file_name()
            .with_context(|| format!("{} is no file", module.display()))?;
        fs::copy(&module, tree.join("modules").join(file))
            .with_context(|| format!("copying {}", module.display()))?;
        order.push_str(&file.to_string_lossy());
        order.push('\n');
    }
    fs::write(tree.join("modules/order"), order)?;
    let init = tree.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// In the `newc` form, the only one that the kernel reads.
fn pack(tree: &Path, archive: &Path, busybox: &Path) -> Result<()> {
    let output =
        fs::File::create(archive).with_context(|| format!("creating {}", archive.display()))?;
    let mut find = Command::new(busybox)
        .arg("find")
        .current_dir(tree)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting busybox find")?;
    let names = find.stdout.take().context("reading busybox find")?;
    let packed = Command::new(busybox)
        .args(["cpio", "-o", "-H", "newc", "-R", "0:0"])
        .current_dir(tree)
        .stdin(names)
        .stdout(output)
        .stderr(Stdio::null())
        .status()
        .context("starting busybox cpio")?;
    let found = find.wait().context("waiting for busybox find")?;
    if !packed.success() || !found.success() {
        bail!("packing {} failed", tree.display());
    }
    Ok(())
}
