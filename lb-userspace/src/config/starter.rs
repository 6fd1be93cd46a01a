//! The configuration that a newcomer begins with.

use std::hash::{BuildHasher, RandomState};

/// A configuration for `interface`, ready to be edited, with a seed of its own.
///
/// The addresses are those that RFC 5737 and RFC 1918 set aside.
pub fn starter(interface: &str) -> String {
    let interface = toml::Value::String(interface.to_owned());
    let seed = seed();
    format!(
        r#"# Sluice: save as /etc/sluice/sluice.toml, edit, then `sluice run`.
[daemon]
seed = "{seed}"    # secret; the same on all load balancers of a set

[[interface]]
name = {interface}

[[service]]
name = "web"
listen = ["tcp://203.0.113.80:80"]    # the VIP: route it to this machine; IPv6: tcp://[ADDRESS]:80
forward = "dnat"                      # the backends' route back leads through this machine

[[service.health]]
type = "tcp"
interval = "1s"
timeout = "500ms"

[[service.backend]]
name = "web-1"
address = "10.0.1.11:8080"

[[service.backend]]
name = "web-2"
address = "10.0.1.12:8080"
"#
    )
}

/// Nobody else's: the standard library keys its hash tables from the kernel's random numbers.
fn seed() -> String {
    let word = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", word(), word())
}
