//! Ports: the network interfaces that the program is attached to.

/// The most interfaces of one instance.
pub const MAX_PORTS: u32 = 64;

/// Rows of `INGRESS`; a power of two.
pub const INGRESS_ROWS: u32 = 64;

/// Interfaces that share a row of `INGRESS`.
pub const INGRESS_WAYS: usize = 4;

/// A value of `PORTS`. **Invariant:** `DEVICES` holds the same interface under the same index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// The interface's MAC, as in [`NextHop`](super::backend::NextHop); the high 16 bits are zero.
    pub mac: u64,
    /// 0: the port is free.
    pub ifindex: u32,
    /// Zero.
    pub reserved: u32,
}

/// What is known of the interface that a packet came in by, in one word: interface index (bits
/// 0..32), port index (32..48), flags (48..64). Zero: the way is free.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingress(pub u64);

/// A value of `INGRESS`: the interfaces whose index is the row's number modulo [`INGRESS_ROWS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngressRow(pub [Ingress; INGRESS_WAYS]);

impl Ingress {
    /// `dnat` backends are reached through this interface: their replies come in here.
    pub const FACES_BACKENDS: u16 = 1;

    /// Packs an entry.
    pub const fn new(ifindex: u32, port: u16, flags: u16) -> Self {
        Self(ifindex as u64 | (port as u64) << 32 | (flags as u64) << 48)
    }

    /// The interface index.
    #[inline(always)]
    pub const fn ifindex(self) -> u32 {
        self.0 as u32
    }

    /// The port index.
    #[inline(always)]
    pub const fn port(self) -> u32 {
        (self.0 >> 32) as u32 & 0xffff
    }

    /// Whether replies of `dnat` backends come in here.
    #[inline(always)]
    pub const fn faces_backends(self) -> bool {
        (self.0 >> 48) as u16 & Self::FACES_BACKENDS != 0
    }
}

/// The row of an interface index.
#[inline(always)]
pub const fn ingress_row(ifindex: u32) -> u32 {
    ifindex & (INGRESS_ROWS - 1)
}

const _: () = assert!(size_of::<Port>() == 16);
const _: () = assert!(size_of::<IngressRow>() == 32);
const _: () = assert!(INGRESS_ROWS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ingress_keeps_its_parts_apart() {
        let ingress = Ingress::new(0xdead_beef, 63, Ingress::FACES_BACKENDS);
        assert_eq!(ingress.ifindex(), 0xdead_beef);
        assert_eq!(ingress.port(), 63);
        assert!(ingress.faces_backends());
        assert!(!Ingress::new(1, 63, 0).faces_backends());
    }
}
