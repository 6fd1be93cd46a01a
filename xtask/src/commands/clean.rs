//! `clean`: removes what was built, and reports network namespaces that a playground or a test left
//! behind. It does not remove those: one may belong to somebody's running playground.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result};
use xtask::workspace::Workspace;

/// Where `ip netns` and the testbed keep named network namespaces.
const NAMESPACES: &str = "/run/netns";

pub(crate) fn run() -> Result<()> {
    let target = Workspace::find()?.root().join("target");
    match fs::remove_dir_all(&target) {
        Ok(()) => println!("removed {}", target.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => println!("nothing was built"),
        Err(error) => {
            return Err(error).with_context(|| format!("removing {}", target.display()));
        }
    }
    let names = namespaces()?;
    let left = left_behind(&names, |pid| Path::new("/proc").join(pid).exists());
    for name in left {
        println!("network namespace {name} is there; `ip netns del {name}`, as root, removes it");
    }
    Ok(())
}

fn namespaces() -> Result<Vec<String>> {
    let entries = match fs::read_dir(NAMESPACES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {NAMESPACES}")),
    };
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()
        .with_context(|| format!("reading {NAMESPACES}"))?;
    names.sort();
    Ok(names)
}

/// The playground's namespaces, `sluice-...`, and those of tests, `slt-<pid>-...`, whose process is
/// gone.
fn left_behind(names: &[String], is_alive: impl Fn(&str) -> bool) -> Vec<&str> {
    let of_dead_test = |name: &str| {
        let pid = name
            .strip_prefix("slt-")
            .and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| !is_alive(pid))
    };
    names
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with("sluice-") || of_dead_test(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_of_others_and_of_running_tests_are_not_reported() {
        let names = ["docker-1", "sluice-lb", "slt-7-lb", "slt-8-lb"].map(str::to_owned);
        assert_eq!(
            left_behind(&names, |pid| pid == "8"),
            ["sluice-lb", "slt-7-lb"]
        );
    }
}
