//! Backends: where packets go and how they are wrapped.

use super::service::ServiceId;
use crate::{
    endian::{Be16, Be32},
    hash::FlowHash,
};

/// Bytes of a ready-made outer header: IPv6, UDP and GUE with room to spare.
pub const OUTER_HEADER_MAX: usize = 64;

/// A value of `BACKENDS`, two cache lines; the second is read only by tunnels.
///
/// **Invariant:** all but `next_hop` and `state` is immutable while a slot or a flow entry names the
/// backend; those two are each one aligned word, written atomically.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// [`NextHop`].
    pub next_hop: u64,
    /// [`BackendState`].
    pub state: u32,
    /// Raised when the index is given to another backend; flow entries repeat it.
    pub generation: u16,
    /// 0: the packet's destination port is kept.
    pub port: Be16,
    /// IPv4 in the first word, the others zero; or IPv6.
    pub address: [Be32; 4],
    /// The service that it belongs to.
    pub service: ServiceId,
    /// Bytes used of `outer`.
    pub outer_length: u8,
    /// Zero.
    pub reserved_a: [u8; 3],
    /// Zero.
    pub reserved_b: [u32; 6],
    /// The outer header, ready-made but for length, entropy, checksum, DSCP and ECN.
    pub outer: [u8; OUTER_HEADER_MAX],
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            next_hop: 0,
            state: 0,
            generation: 0,
            port: Be16::default(),
            address: [Be32::default(); 4],
            service: ServiceId(0),
            outer_length: 0,
            reserved_a: [0; 3],
            reserved_b: [0; 6],
            outer: [0; OUTER_HEADER_MAX],
        }
    }
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

const _: () = assert!(size_of::<Backend>() == 128);
const _: () = assert!(core::mem::offset_of!(Backend, next_hop) == 0);
const _: () = assert!(core::mem::offset_of!(Backend, state) == 8);
const _: () = assert!(core::mem::offset_of!(Backend, outer) == 64);

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
