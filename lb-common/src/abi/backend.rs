//! Backends: where packets go and how they are wrapped.

use super::service::ServiceId;
use crate::{
    endian::{Be16, Be128},
    hash::FlowHash,
};

/// A value of `BACKENDS`, one cache line.
///
/// **Invariant:** all but `next_hop`, `state`, `mtu` and `source` is immutable while a slot or a flow
/// entry names the backend; those are aligned words, written atomically. (An IPv6 `source` is two: a
/// packet that meets one of them leaves with half an old address, once.)
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// [`NextHop`].
    pub next_hop: u64,
    /// [`BackendState`].
    pub state: u32,
    /// Raised when the index is given to another backend; flow entries repeat it.
    pub generation: u16,
    /// 0: the packet's destination port is kept.
    pub port: Be16,
    /// Where packets go; how it is held, `family` says.
    pub address: Be128,
    /// Source of a tunnel's outer header, held as `address`; zero: no tunnel, or not known.
    pub source: Be128,
    /// The service that it belongs to.
    pub service: ServiceId,
    /// What `address` is: one of [`family`]; 0 in an entry that was never used.
    pub family: u8,
    /// Zero.
    pub reserved_a: [u8; 3],
    /// Bytes that an IP packet, its outer header included, may have on the way to a tunnel's end; 0: no
    /// tunnel, or not known, and nothing fits.
    pub mtu: u32,
    /// The entry's own index over all services.
    pub index: u32,
}

/// Families of addresses: [`Backend::family`].
pub mod family {
    /// IPv4: in the first word, the others zero.
    pub const IPV4: u8 = 4;
    /// IPv6.
    pub const IPV6: u8 = 6;
}

/// Where a backend's frames go, in one word: the destination MAC (48 bits, in memory order from the
/// lowest byte) and the index of the port they leave by (16 bits). Zero: not resolved.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop(pub u64);

impl NextHop {
    /// Not resolved: no frame can be sent.
    pub const UNRESOLVED: Self = Self(0);

    /// A resolved next hop.
    pub const fn new(mac: [u8; 6], port: u16) -> Self {
        let [a, b, c, d, e, f] = mac;
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) | (port as u64) << 48)
    }

    /// The MAC in the low 48 bits.
    #[inline(always)]
    pub const fn mac(self) -> u64 {
        self.0 & 0xffff_ffff_ffff
    }

    /// The MAC's bytes.
    pub const fn mac_bytes(self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// The port index.
    #[inline(always)]
    pub const fn port(self) -> u32 {
        (self.0 >> 48) as u32
    }

    /// Whether frames can be sent.
    #[inline(always)]
    pub const fn is_resolved(self) -> bool {
        self.mac() != 0
    }
}

/// What of a backend changes while it is published: flags in the low half, and in the high half
/// `admit`, the part of new flows (out of 65535) that it takes under slow start.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendState(pub u32);

impl BackendState {
    /// The entry names a backend.
    pub const IN_USE: u32 = 1;
    /// It failed its health check or was disabled: no packet is sent there.
    pub const DEAD: u32 = 2;
    /// It takes no new flows (drained).
    pub const NO_NEW_FLOWS: u32 = 4;

    /// A state that admits every new flow.
    pub const fn new(flags: u32) -> Self {
        Self(flags | 0xffff_0000)
    }

    /// Whether the entry names a backend.
    #[inline(always)]
    pub const fn is_in_use(self) -> bool {
        self.0 & Self::IN_USE != 0
    }

    /// Whether no packet may be sent there.
    #[inline(always)]
    pub const fn is_dead(self) -> bool {
        self.0 & Self::DEAD != 0
    }

    /// Whether it may be given flows that it has not seen: alive and not drained.
    #[inline(always)]
    pub const fn accepts_new_flows(self) -> bool {
        self.0 & (Self::IN_USE | Self::DEAD | Self::NO_NEW_FLOWS) == Self::IN_USE
    }

    /// Whether packets may be sent there: it is a backend, and not dead. An entry that was freed is
    /// not one.
    #[inline(always)]
    pub const fn is_alive(self) -> bool {
        self.0 & (Self::IN_USE | Self::DEAD) == Self::IN_USE
    }

    /// Whether a new flow is in the part that it takes under slow start.
    #[inline(always)]
    pub const fn admits(self, hash: FlowHash) -> bool {
        (hash.secondary() >> 16) as u16 <= self.admit()
    }

    /// The part of new flows admitted, out of 65535.
    #[inline(always)]
    pub const fn admit(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

const _: () = assert!(size_of::<Backend>() == 64);
const _: () = assert!(core::mem::offset_of!(Backend, next_hop) == 0);
const _: () = assert!(core::mem::offset_of!(Backend, state) == 8);
const _: () = assert!(core::mem::offset_of!(Backend, source) == 32);
const _: () = assert!(core::mem::offset_of!(Backend, mtu) == 56);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_keeps_mac_and_port_apart() {
        let hop = NextHop::new([0x02, 0xfe, 3, 4, 5, 0xff], 0xbeef);
        assert_eq!(hop.mac_bytes(), [0x02, 0xfe, 3, 4, 5, 0xff]);
        assert_eq!(hop.port(), 0xbeef);
        assert!(hop.is_resolved());
        assert!(!NextHop::UNRESOLVED.is_resolved());
    }

    #[test]
    fn a_fresh_state_admits_everything() {
        let state = BackendState::new(BackendState::IN_USE | BackendState::DEAD);
        assert!(state.is_in_use() && state.is_dead());
        assert_eq!(state.admit(), 0xffff);
    }
}
