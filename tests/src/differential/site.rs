//! The host that packets are judged on: its interfaces lead nowhere, its routes and neighbours are always
//! the same, so that what they answer is known.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use lb_userspace::dataplane::Device;

use crate::{
    host::Host,
    model::world::{Route, Way},
    sweep,
};

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// 10.77.1.0/24: clients.
    Front,
    /// 10.77.2.0/24: backends.
    Back,
    /// 10.77.4.0/24: a way of a small MTU.
    Narrow,
    /// 10.77.3.0/24: one that the program is not attached to.
    Beside,
}

/// The host.
#[derive(Debug)]
pub struct Site {
    host: Host,
    _peer: Host,
    devices: BTreeMap<Side, Device>,
}

/// The MTU of [`Side::Narrow`], the least that IPv6 has.
const NARROW: u32 = 1280;

/// The MTU of [`Side::Front`]: more than can be given to the daemon at once.
const FRONT: u32 = 2600;

/// Neighbours that are known: side, and last number of the address.
const NEIGHBOURS: [(Side, u8); 6] = [
    (Side::Front, 10),
    (Side::Front, 11),
    (Side::Front, 254),
    (Side::Back, 50),
    (Side::Narrow, 7),
    (Side::Beside, 9),
];

/// Networks behind a router: prefix, side and the router's last number. The second router is unknown.
const BEHIND: [(&str, u8, Side, u8); 4] = [
    ("198.51.100.0", 24, Side::Narrow, 7),
    ("203.0.113.0", 24, Side::Front, 253),
    ("2001:db8:1::", 48, Side::Narrow, 7),
    ("2001:db8:2::", 48, Side::Front, 253),
];

impl Site {
    /// Makes the host. `None`: skipped, and said why.
    pub fn new() -> Result<Option<Self>> {
        if !sweep::ready() {
            return Ok(None);
        }
        let name = sweep::unique_name();
        let host = Host::new(&format!("{name}-lb"))?;
        let peer = Host::new(&format!("{name}-peer"))?;
        let mut devices = BTreeMap::new();
        for side in Side::ALL {
            let link = side.name();
            host.join(link, &peer, link)?;
            match side {
                Side::Front => host.set_mtu(link, FRONT)?,
                Side::Narrow => host.set_mtu(link, NARROW)?,
                Side::Back | Side::Beside => {}
            }
            host.address(link, side.address(1, true), 24)?;
            host.address(link, side.address(1, false), 64)?;
            let link = host.link(link)?;
            let device = Device {
                name: link.name,
                ifindex: link.index,
                mac: link.mac,
            };
            devices.insert(side, device);
        }
        host.forward()?;
        host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        for (side, number) in NEIGHBOURS {
            for is_ipv4 in [true, false] {
                let address = side.address(number, is_ipv4);
                host.set_neighbour(side.name(), address, side.mac(number))?;
            }
        }
        for (network, prefix, side, router) in BEHIND {
            let network: IpAddr = network.parse()?;
            host.route(network, prefix, side.address(router, network.is_ipv4()))?;
        }
        Ok(Some(Self {
            host,
            _peer: peer,
            devices,
        }))
    }

    /// The host itself.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// An interface.
    ///
    /// # Panics
    /// Never: every side has one.
    pub fn device(&self, side: Side) -> &Device {
        &self.devices[&side]
    }

    /// What the routes say, in the model's terms.
    pub fn routes(&self) -> Vec<Route> {
        let nowhere = |network, prefix| Route {
            network,
            prefix,
            way: None,
        };
        let mut routes = Vec::new();
        for is_ipv4 in [true, false] {
            let whole = if is_ipv4 { 32 } else { 128 };
            for side in Side::ALL {
                // The host itself; every host of the network, or any of its routers.
                for number in if is_ipv4 { [1, 255] } else { [0, 1] } {
                    routes.push(nowhere(side.address(number, is_ipv4), whole));
                }
            }
            for (side, number) in NEIGHBOURS {
                routes.push(Route {
                    network: side.address(number, is_ipv4),
                    prefix: whole,
                    way: Some(self.way(side, Some(side.mac(number)))),
                });
            }
            for side in Side::ALL {
                routes.push(Route {
                    network: side.address(0, is_ipv4),
                    prefix: if is_ipv4 { 24 } else { 64 },
                    way: Some(self.way(side, None)),
                });
            }
        }
        for (network, prefix, side, router) in BEHIND {
            let known = NEIGHBOURS.contains(&(side, router));
            routes.push(Route {
                network: network.parse().expect("an address"),
                prefix,
                way: Some(self.way(side, known.then(|| side.mac(router)))),
            });
        }
        routes
    }

    fn way(&self, side: Side, to: Option<[u8; 6]>) -> Way {
        let device = self.device(side);
        Way {
            interface: device.ifindex,
            from: device.mac,
            to,
            mtu: match side {
                Side::Front => FRONT as usize,
                Side::Narrow => NARROW as usize,
                Side::Back | Side::Beside => 1500,
            },
        }
    }
}

impl Side {
    /// Every interface.
    pub const ALL: [Self; 4] = [Self::Front, Self::Back, Self::Narrow, Self::Beside];

    /// The interfaces that the program is attached to.
    pub const ATTACHED: [Self; 3] = [Self::Front, Self::Back, Self::Narrow];

    /// The interface's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
            Self::Narrow => "narrow",
            Self::Beside => "beside",
        }
    }

    /// The interface of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|side| side.name() == name)
    }

    /// An address of its network; in IPv6 it ends in the same number, in hexadecimal.
    pub fn address(self, number: u8, is_ipv4: bool) -> IpAddr {
        let network = self.number();
        if is_ipv4 {
            IpAddr::from([10, 77, network, number])
        } else {
            IpAddr::from([0xfd77, u16::from(network), 0, 0, 0, 0, 0, u16::from(number)])
        }
    }

    /// The MAC address of a neighbour.
    pub const fn mac(self, number: u8) -> [u8; 6] {
        [2, 0, 0, 0, self.number(), number]
    }

    const fn number(self) -> u8 {
        match self {
            Self::Front => 1,
            Self::Back => 2,
            Self::Beside => 3,
            Self::Narrow => 4,
        }
    }
}
