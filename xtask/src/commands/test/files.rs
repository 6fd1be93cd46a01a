//! Which test file is of which kind: its name says.

use std::{ffi::OsStr, fs, io, path::Path};

use anyhow::{Context as _, Result};

/// Names of integration tests, as `cargo test --test` wants them, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// Those that need nothing but the bpf system call.
    pub(super) bpf: Vec<String>,
    /// Those that make network namespaces.
    pub(super) net: Vec<String>,
    /// Those that need devices which the host's kernel may lack.
    pub(super) vm: Vec<String>,
}

impl Files {
    /// Looks into the folders of integration tests below `root`.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let system = names(&root.join("tests/tests"))?;
        let daemon = names(&root.join("lb-userspace/tests"))?;
        Ok(Self::sort(system, daemon))
    }

    fn sort(system: Vec<String>, daemon: Vec<String>) -> Self {
        let (mut bpf, mut net): (Vec<_>, Vec<_>) = system
            .into_iter()
            .partition(|name| name.starts_with("bpf_"));
        let mut vm: Vec<_> = net.extract_if(.., |name| name.starts_with("vm_")).collect();
        net.extend(daemon);
        bpf.sort();
        net.sort();
        net.dedup();
        vm.sort();
        Self { bpf, net, vm }
    }
}

/// Cargo's rule: a file `NAME.rs`, or a folder `NAME` with a `main.rs`, is an integration test.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        let is_test = path.extension() == Some(OsStr::new("rs")) || path.join("main.rs").is_file();
        if let Some(name) = path.file_stem().filter(|_| is_test) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_system_test_decides() {
        let system = ["spread", "bpf_tcp", "bpf_abi", "not_bpf_", "vm_devices"]
            .map(str::to_owned)
            .to_vec();
        let daemon = vec!["bpf_cli".to_owned(), "check".to_owned()];
        let Files { bpf, net, vm } = Files::sort(system, daemon);
        assert_eq!(bpf, ["bpf_abi", "bpf_tcp"]);
        assert_eq!(vm, ["vm_devices"]);
        assert_eq!(net, ["bpf_cli", "check", "not_bpf_", "spread"]);
    }

    #[test]
    fn a_folder_that_is_not_there_holds_no_tests() {
        assert!(names(Path::new("/nonexistent/tests")).unwrap().is_empty());
    }

    #[test]
    fn helpers_beside_the_tests_are_not_tests() {
        // This crate's own sources: files beside folders without a main.rs.
        let found = names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands")).unwrap();
        assert_eq!(
            found.iter().filter(|name| *name == "test").count(),
            1,
            "{found:?}"
        );
    }
}
