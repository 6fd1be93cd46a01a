//! What a bed is made for: a configuration, and what is known of the ways to its backends.

use anyhow::Result;
use lb_userspace::{
    config,
    model::{Limits, Model},
};

/// A `dnat` service of one backend, `b1`.
pub const WEB: &str = r#"
[[service]]
name = "web"
listen = ["tcp://10.77.0.80:80"]
[[service.backend]]
name = "b1"
address = "10.77.2.11:8080"
"#;

/// What a bed is made for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup<'a> {
    /// The `[[service]]` part of a configuration.
    pub services: &'a str,
    /// More lines of its `[daemon]` part.
    pub daemon: &'a str,
    /// Whether frames may have VLAN tags.
    pub vlan: bool,
    /// Whether packets go through the program for frames that may lie in several buffers.
    pub frags: bool,
    /// What nobody has told of the ways to backends.
    pub unknown: Unknown,
}

/// What is not known of the ways to backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// All is known.
    #[default]
    Nothing,
    /// Which address the kernel would send from.
    Source,
    /// How large packets may be.
    Mtu,
}

impl Setup<'_> {
    /// The configuration, of this instance.
    pub(in crate::packets) fn model(&self, instance: &str) -> Result<Model> {
        let Self {
            services,
            daemon,
            vlan,
            ..
        } = self;
        let interfaces: String = ["front", "back"]
            .iter()
            .map(|name| format!("[[interface]]\nname = \"{name}\"\nvlan = {vlan}\n"))
            .collect();
        let text = format!(
            "[daemon]\ninstance = \"{instance}\"\nseed = \"fixtures\"\n{daemon}\n{interfaces}{services}"
        );
        let mut model = config::parse("fixture", &text)?.model;
        model.limits = Limits {
            services: 16,
            backends: 64,
            slots: 1 << 16,
            flows_ipv4: 1 << 12,
            flows_ipv6: 1 << 10,
        };
        Ok(model)
    }
}
