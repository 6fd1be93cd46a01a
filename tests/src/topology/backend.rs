//! A backend: a host, what serves in it, and its plug in the switch.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use super::addresses::VIP;
use crate::{decap::Decap, host::Host, mode::Family, server::Server};

/// A backend: a host, its server on port 80, and its plug in the switch.
#[derive(Debug)]
pub struct Backend {
    /// `b1`, ...: what its server answers.
    pub name: String,
    /// Where it listens, by IPv4.
    pub address: SocketAddr,
    /// Its server, listening on addresses of both families.
    pub server: Server,
    /// Interface `eth0`.
    pub host: Host,
    /// Takes packets out of the tunnel, where they come through one and the kernel does not.
    pub decap: Option<Decap>,
    pub(super) plug: Plug,
    has_vip: bool,
}

/// The other end of a host's link.
#[derive(Clone, Debug)]
pub(super) struct Plug {
    pub(super) switch: Host,
    pub(super) port: String,
}

/// Ways for a backend to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process is killed: connections are refused.
    Killed,
    /// The process is stopped: connections are accepted and nothing is answered.
    Stopped,
    /// The link is down: nothing comes back.
    Unplugged,
}

impl Backend {
    /// Where it listens, by IP of `family`.
    pub fn at(&self, family: Family) -> SocketAddr {
        SocketAddr::new(family.at(self.address.ip()), self.address.port())
    }

    /// Where it gets what clients send to `port` of the VIP of `family`: at the VIP where it has that,
    /// else at its own address.
    pub fn receives_at(&self, family: Family, port: u16) -> SocketAddr {
        let at = if self.has_vip {
            family.vip()
        } else {
            self.at(family)
        };
        SocketAddr::new(at.ip(), port)
    }

    /// Lets it die.
    pub fn die(&mut self, death: Death) -> Result<()> {
        let Plug { switch, port } = &self.plug;
        match death {
            Death::Killed => self.server.kill(),
            Death::Stopped => self.server.stop(),
            Death::Unplugged => switch.set_up(port, false)?,
        }
        Ok(())
    }

    /// Brings it back, however it died.
    pub fn revive(&mut self) -> Result<()> {
        let Plug { switch, port } = &self.plug;
        switch.set_up(port, true)?;
        self.server.revive()
    }

    /// Listens on its own addresses, and on the VIP's where it `has_vip`.
    pub(super) fn start(
        name: &str,
        address: impl Into<IpAddr>,
        host: &Host,
        plug: Plug,
        has_vip: bool,
    ) -> Result<Self> {
        let address = SocketAddr::new(address.into(), VIP.port());
        let listen: Vec<_> = Family::known()
            .flat_map(|family| {
                let own = SocketAddr::new(family.at(address.ip()), address.port());
                [Some(own), has_vip.then(|| family.vip())]
            })
            .flatten()
            .collect();
        Ok(Self {
            server: Server::start(host, name, &listen)?,
            name: name.to_owned(),
            address,
            host: host.clone(),
            decap: None,
            plug,
            has_vip,
        })
    }
}
