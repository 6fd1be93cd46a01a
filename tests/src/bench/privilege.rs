//! What the benchmarks need to be allowed, asked before anything is measured.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::geteuid;

/// Capabilities by their numbers in linux/capability.h. The first stands for those of BPF as well.
const NEEDED: [(u32, &str); 2] = [(21, "CAP_SYS_ADMIN"), (12, "CAP_NET_ADMIN")];

/// # Errors
/// What is missing, and how to get it.
pub(crate) fn check() -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "network namespaces and XDP need root: start it by `cargo xtask bench`, which asks sudo"
    );
    let status = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let missing = missing(&status);
    ensure!(
        missing.is_empty(),
        "network namespaces and XDP need {}, which this root does not have: start it outside of what \
         withholds that, such as a container",
        missing.join(" and ")
    );
    Ok(())
}

/// What is not among the effective capabilities in `/proc/PID/status`.
fn missing(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    NEEDED
        .iter()
        .filter(|(number, _)| effective & (1 << number) == 0)
        .map(|(_, name)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert!(missing("Name:\tx\nCapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(missing("CapEff:\t0000000000001000\n"), ["CAP_SYS_ADMIN"]);
        assert_eq!(missing("").len(), 2);
    }
}
