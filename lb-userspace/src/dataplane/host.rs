//! What the host must offer before anything is tried: kernel, capabilities, BPF file system.

use std::{fs, path::Path};

use nix::sys::statfs::{FsType, statfs};

use super::{Error, error::Doing as _};

/// The oldest supported kernel.
const OLDEST: (u32, u32) = (6, 1);

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);

/// What it takes to load and attach a program that reads packets. Each is needed: without it the named
/// thing is what fails (tried on Linux 6.18).
const TO_ATTACH: [Capability; 3] = [
    Capability {
        number: 12,
        name: "CAP_NET_ADMIN",
        reason: "attaches the program to interfaces",
    },
    Capability {
        number: 38,
        name: "CAP_PERFMON",
        // Without it the verifier guards against Spectre v1, and forbids variable offsets to packet
        // pointers: no header with options could be skipped.
        reason: "lets the program read packets behind headers of variable length",
    },
    Capability {
        number: 39,
        name: "CAP_BPF",
        reason: "makes maps and loads the program",
    },
];

/// What the load balancer needs besides.
const TO_BALANCE: [Capability; 1] = [Capability {
    number: 13,
    name: "CAP_NET_RAW",
    reason: "sends replies whose next hop is not known yet through a raw socket",
}];

/// A capability of linux/capability.h.
struct Capability {
    number: u32,
    name: &'static str,
    reason: &'static str,
}

/// `CAP_SYS_ADMIN`, which stands for the two last.
const SYS_ADMIN: u32 = 21;

/// Checks kernel and capabilities for the load balancer.
///
/// # Errors
/// [`Error::KernelTooOld`], [`Error::NoPrivilege`].
pub fn check() -> Result<(), Error> {
    check_for(TO_ATTACH.iter().chain(&TO_BALANCE))
}

/// Checks kernel and capabilities for the backends' side of tunnels.
///
/// # Errors
/// As [`check`].
pub fn check_for_decap() -> Result<(), Error> {
    check_for(TO_ATTACH.iter())
}

fn check_for(needed: impl Iterator<Item = &'static Capability>) -> Result<(), Error> {
    let uname = nix::sys::utsname::uname().doing(|| "asking for the kernel's version".into())?;
    let found = uname.release().to_string_lossy().into_owned();
    if release(&found).is_some_and(|version| version < OLDEST) {
        return Err(Error::KernelTooOld { found });
    }
    let status =
        fs::read_to_string("/proc/self/status").doing(|| "reading /proc/self/status".to_owned())?;
    let missing = missing(needed, effective(&status));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::NoPrivilege {
        missing: missing.join(", "),
    })
}

/// Checks that `path` is a mounted BPF file system.
///
/// # Errors
/// [`Error::NoBpffs`].
pub(super) fn check_bpffs(path: &Path) -> Result<(), Error> {
    match statfs(path) {
        Ok(stat) if stat.filesystem_type() == BPF_FS_MAGIC => Ok(()),
        _ => Err(Error::NoBpffs {
            path: path.to_owned(),
        }),
    }
}

/// Major and minor version of a release like `6.1.0-18-amd64`.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The effective capabilities in `/proc/PID/status`.
fn effective(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

fn missing(needed: impl Iterator<Item = &'static Capability>, effective: u64) -> Vec<String> {
    let has = |number: u32| effective & (1 << number) != 0;
    needed
        .filter(|one| !(has(one.number) || one.number >= 38 && has(SYS_ADMIN)))
        .map(|one| format!("{} ({})", one.name, one.reason))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        assert_eq!(release("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(release("5.15.167.4-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(release("6.18.44-fc"), Some((6, 18)));
        assert_eq!(release("custom"), None);
        assert!(release("5.15.0").unwrap() < OLDEST && release("6.1").unwrap() >= OLDEST);
    }

    #[test]
    fn missing_capabilities_are_named() {
        let missing = |effective| missing(TO_ATTACH.iter().chain(&TO_BALANCE), effective);
        let root = effective("Name:\tx\nCapEff:\t000001ffffffffff\n");
        assert!(missing(root).is_empty());
        assert_eq!(missing(0).len(), 4);
        let some = 1 << 12 | 1 << 39;
        let [perfmon, raw] = missing(some).try_into().unwrap();
        assert!(raw.starts_with("CAP_NET_RAW (sends"), "{raw}");
        assert!(perfmon.starts_with("CAP_PERFMON (lets"), "{perfmon}");
        let older = 1 << 12 | 1 << 13 | 1 << SYS_ADMIN;
        assert!(missing(older).is_empty());
    }
}
