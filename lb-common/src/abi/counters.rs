//! Counters: one a backend, one a verdict, one a drop reason. Every packet is counted exactly once
//! in `COUNTERS`.

/// A value of `BACKEND_COUNTERS`, on one CPU. Client to backend only.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendCounters {
    /// Packets sent to the backend.
    pub packets: u64,
    /// Their IP lengths in bytes: no Ethernet header, no padding, no outer header of a tunnel.
    pub bytes: u64,
    /// SYNs (UDP: flows remembered as new, where tracked).
    pub new_flows: u64,
}

const _: () = assert!(size_of::<BackendCounters>() == 24);

/// Why a packet was dropped. The names stand in the status, the metrics and the documentation.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// No backend of the service is alive.
    NoBackend = 0,
    /// The headers contradict themselves or end early.
    Malformed = 1,
    /// Time to live or hop limit would reach zero.
    TtlExpired = 2,
    /// A fragment of a packet for a VIP: its ports are not in every fragment.
    Fragment = 3,
    /// The backend's next hop has no link-layer address yet.
    NoNextHop = 4,
    /// The route leads out of an interface that the program is not attached to.
    NoEgress = 5,
    /// Larger than the MTU of its route.
    TooBig = 6,
    /// A source that no client can have: loopback, multicast, reserved, or the VIP itself.
    MartianSource = 7,
    /// With its outer header larger than the MTU of the way to the backend.
    TunnelTooBig = 8,
    /// The driver leaves no room before the frame for an outer header.
    NoHeadroom = 9,
}

impl DropReason {
    /// Every reason, in order of its number.
    pub const ALL: [Self; 10] = [
        Self::NoBackend,
        Self::Malformed,
        Self::TtlExpired,
        Self::Fragment,
        Self::NoNextHop,
        Self::NoEgress,
        Self::TooBig,
        Self::MartianSource,
        Self::TunnelTooBig,
        Self::NoHeadroom,
    ];

    /// The reason's name in listings and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoBackend => "no_backend",
            Self::Malformed => "malformed",
            Self::TtlExpired => "ttl_expired",
            Self::Fragment => "fragment",
            Self::NoNextHop => "no_next_hop",
            Self::NoEgress => "no_egress",
            Self::TooBig => "too_big",
            Self::MartianSource => "martian_source",
            Self::TunnelTooBig => "tunnel_too_big",
            Self::NoHeadroom => "no_headroom",
        }
    }
}

/// An index into `COUNTERS`: the verdicts first, then the drop reasons.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter(u32);

impl Counter {
    /// Sent back out of the interface it came in by.
    pub const TX: Self = Self(0);
    /// Sent out of another interface.
    pub const REDIRECT: Self = Self(1);
    /// Left to the kernel.
    pub const PASS: Self = Self(2);

    /// Handed to the daemon, which sends it through the kernel: its next hop is not resolved yet.
    pub const PUNT: Self = Self(3);

    /// Where the drop reasons begin.
    const FIRST_DROP: u32 = 8;

    /// How many entries `COUNTERS` has; some are spare.
    pub const COUNT: u32 = 64;

    /// The counter of a drop reason.
    #[inline(always)]
    pub const fn dropped(reason: DropReason) -> Self {
        Self(Self::FIRST_DROP + reason as u32)
    }

    /// Every counter that is used.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::TX, Self::REDIRECT, Self::PASS, Self::PUNT]
            .into_iter()
            .chain(DropReason::ALL.into_iter().map(Self::dropped))
    }

    /// What a program that only answers what would become of a packet returns: the action for the
    /// driver, and the index of the counter that the packet would have been counted by.
    #[inline(always)]
    pub const fn dry_run(index: u32, action: u32) -> u32 {
        action | index << 16
    }

    /// The action and the counter out of [`Self::dry_run`]'s answer.
    pub const fn from_dry_run(answer: u32) -> (u32, Self) {
        (answer & 0xffff, Self(answer >> 16))
    }

    /// The index.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_number_and_name() {
        for (number, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert!(Counter::dropped(reason).index() < Counter::COUNT);
            assert_eq!(
                DropReason::ALL
                    .iter()
                    .filter(|r| r.name() == reason.name())
                    .count(),
                1
            );
        }
    }
}
