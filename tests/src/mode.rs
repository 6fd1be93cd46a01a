//! The ways a load balancer can be set up that network, configuration and playground must agree on.

use clap::ValueEnum;

/// How packets reach backends: `service.forward`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Forward {
    /// Addresses are rewritten, there and back.
    #[default]
    Dnat,
    /// Backends have the VIP and answer clients themselves, through the router.
    Dsr,
    /// The same; packets reach them inside another IP header.
    Ipip,
    /// The same; packets reach them inside UDP.
    Gue,
}

/// Where the program sits: `interface.xdp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum XdpMode {
    /// In the driver.
    #[default]
    Native,
    /// In the kernel's stack, which works on every driver and is slower.
    Generic,
}

/// Which IP: of a client and the VIP, or of the way from load balancer to backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Forward {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dnat, Self::Dsr, Self::Ipip, Self::Gue];

    /// As configuration and status write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dnat => "dnat",
            Self::Dsr => "dsr",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
        }
    }

    /// Whether backends have the VIP, and their answers do not pass the load balancer.
    pub const fn answers_directly(self) -> bool {
        !matches!(self, Self::Dnat)
    }

    /// Whether packets reach backends inside another packet.
    pub const fn is_tunnel(self) -> bool {
        matches!(self, Self::Ipip | Self::Gue)
    }
}

impl XdpMode {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Native, Self::Generic];

    /// As configuration and status write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

impl Family {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];
}
