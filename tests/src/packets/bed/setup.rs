//! What a bed is made for: a configuration, and what is known of the ways to its backends.

use anyhow::Result;
use lb_userspace::{
    config,
    model::{Limits, Model},
};

use super::Side;

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
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The `[[service]]` part of a configuration.
    pub services: &'a str,
    /// More lines of its `[daemon]` part.
    pub daemon: &'a str,
    /// Whether frames may have VLAN tags.
    pub vlan: bool,
    /// Whether packets go through the program for frames that may lie in several buffers.
    pub frags: bool,
    /// Whether it is known which address the kernel would send from to backends.
    pub knows_source: bool,
    /// Bytes that an IP packet may have on the way to backends; `None`: not known.
    pub mtu: Option<u32>,
    /// Where [`Way::each`](crate::packets::Way::each) has the backend.
    pub backend: Side,
}

impl Setup<'_> {
    /// No service, and nothing out of the ordinary.
    pub const PLAIN: Self = Self {
        services: "",
        daemon: "",
        vlan: false,
        frags: false,
        knows_source: true,
        mtu: Some(1500),
        backend: Side::Back,
    };

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
