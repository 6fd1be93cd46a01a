//! Which modules a kernel needs loaded before others. Releases of one series differ in that, and a
//! package that is only unpacked has no `modules.dep`.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// What a module file says of those that it needs, up to the next zero byte (the section `.modinfo`).
const DEPENDS: &[u8] = b"\0depends=";

/// The files of `wanted` and of all that they need, each behind those that it needs. What has no file
/// is built into the kernel.
pub(super) fn in_order(folder: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    collect(folder, &mut files)?;
    let mut order = Vec::new();
    for name in wanted {
        add(name, &files, &mut order)?;
    }
    Ok(order)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, order: &mut Vec<PathBuf>) -> Result<()> {
    let Some(file) = files.get(name).filter(|file| !order.contains(file)) else {
        return Ok(());
    };
    let module = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    for needed in depends(&module) {
        add(&needed, files, order)?;
    }
    order.push(file.clone());
    Ok(())
}

/// Every module file below `folder`, by the module's name.
fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension() == Some(OsStr::new("ko"))
            && let Some(stem) = path.file_stem()
        {
            files.insert(stem.to_string_lossy().replace('-', "_"), path);
        }
    }
    Ok(())
}

fn depends(module: &[u8]) -> Vec<String> {
    let Some(at) = module
        .windows(DEPENDS.len())
        .position(|window| window == DEPENDS)
    else {
        return Vec::new();
    };
    let names = module[at + DEPENDS.len()..]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(names)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        let module = b"\x7fELF..\0license=GPL\0depends=9pnet,virtio-ring\0name=x\0";
        assert_eq!(depends(module), ["9pnet", "virtio_ring"]);
        assert_eq!(depends(b"\0depends=\0name=x\0"), [""; 0]);
        assert_eq!(depends(b"no module"), [""; 0]);
    }
}
