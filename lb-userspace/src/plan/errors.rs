//! Why a desired state cannot be reached.

use std::{fmt, net::IpAddr, sync::Arc};

use lb_common::abi::slot::MAX_LOCAL_BACKEND;

/// Why there is no plan. Nothing was written, and what is in force stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A map is full.
    #[error(
        "service {service}: no room for {needed} {what}, with limits.{limit} = {have}: raise \
         limits.{limit}, then `sluice detach` and start again (limits are fixed while maps are pinned)"
    )]
    Full {
        /// The service that does not fit.
        service: Arc<str>,
        /// What there is no room for.
        what: &'static str,
        /// How many of them the service needs in one piece.
        needed: u32,
        /// The limit to raise.
        limit: Limit,
        /// Its value.
        have: u32,
    },
    /// Local indices have 16 bits.
    #[error("service {service}: {needed} backends, but a service can have {MAX_LOCAL_BACKEND}")]
    TooManyBackends {
        /// The service.
        service: Arc<str>,
        /// How many it needs, with those that are about to leave.
        needed: u32,
    },
    /// A backend cannot answer for a VIP of the other family.
    #[error(
        "service {service}: with dnat, backend {address} and listener {vip} must both be IPv4 or both be \
         IPv6"
    )]
    OtherFamily {
        /// The service.
        service: Arc<str>,
        /// The backend's address.
        address: IpAddr,
        /// The listener's.
        vip: IpAddr,
    },
    /// Replies of one backend would stand for two VIPs.
    #[error(
        "service {service}: replies of backend {address} port {port} already stand for a VIP of \
         service {other}: give the backend another port"
    )]
    ReplyTaken {
        /// The service.
        service: Arc<str>,
        /// The other one; may be the same.
        other: Arc<str>,
        /// The backend.
        address: IpAddr,
        /// Where its replies come from.
        port: u16,
    },
}

/// A key of `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `limits.services`.
    Services,
    /// `limits.backends`.
    Backends,
    /// `limits.slots`.
    Slots,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Services => "services",
            Self::Backends => "backends",
            Self::Slots => "slots",
        })
    }
}
