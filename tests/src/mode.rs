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

impl Forward {
    /// As configuration and status write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dnat => "dnat",
            Self::Dsr => "dsr",
        }
    }
}

impl XdpMode {
    /// As configuration and status write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}
