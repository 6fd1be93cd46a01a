//! What the benchmark's XDP programs and the benchmark itself share: which flow comes when.
//!
//! No part of the data path. Both sides compute flows by the same function, so that the benchmark
//! knows the packet that a program was given.

/// The multiplier of Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section
/// 6.4); odd, so that multiplying modulo a power of two visits every number once.
const STEP: u32 = 0x9e37_79b1;

/// Chooses a flow's target; another odd constant, so that targets do not follow flow numbers.
const SPREAD: u32 = 0x85eb_ca6b;

/// Frames are at least so long; all of it is restored for each packet.
pub const FRAME_MIN: usize = 64;

/// Frames are at most so long. From [`FRAME_LONG`] bytes on, as many are restored.
pub const FRAME_MAX: usize = 128;

/// Bytes that are restored of a frame at least so long: IPv6 and TCP headers fit.
pub const FRAME_LONG: usize = 96;

/// How the driver varies its packets: the read-only global `FLOWS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// Number of flows less one; the number is a power of two.
    pub mask: u32,
    /// The address of flow 0, in host order; the others follow.
    pub first: u32,
    /// Where in the frame the flow's address stands: the source towards a VIP, else the destination.
    pub address_at: u32,
    /// Where in the frame the flow's port stands.
    pub port_at: u32,
    /// Number of targets (VIPs); each flow has one, always the same.
    pub targets: u32,
    /// The address of target 0, in host order; the others follow.
    pub target: u32,
    /// Where in the frame the target's address stands.
    pub target_at: u32,
    /// Bytes of the frame.
    pub length: u32,
}

/// One flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its address, in host order.
    pub address: u32,
    /// Its port, in host order.
    pub port: u16,
    /// Its target's address, in host order.
    pub target: u32,
}

impl Flows {
    /// The flow of packet `packet`. Over as many packets as there are flows each comes once, in an
    /// order that has nothing to do with their numbers.
    #[inline(always)]
    pub const fn of(&self, packet: u32) -> Flow {
        let number = packet.wrapping_mul(STEP) & self.mask;
        let spread = number.wrapping_mul(SPREAD);
        Flow {
            address: self.first.wrapping_add(number),
            port: 0x8000 | (number & 0x7fff) as u16,
            target: self
                .target
                .wrapping_add(((spread as u64 * self.targets as u64) >> 32) as u32),
        }
    }
}

/// What the generator and the sink of frames count, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames.
    pub packets: u64,
    /// Frames that are not what was expected.
    pub wrong: u64,
}

const _: () = assert!(size_of::<Flows>() == 32);
const _: () = assert!(size_of::<Tally>() == 16);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)` of integers without padding (see the assertions above).
    unsafe impl aya::Pod for super::Flows {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Tally {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_comes_once_in_a_round_and_not_in_order() {
        let flows = Flows {
            mask: 1023,
            first: 0x0a00_0000,
            targets: 1,
            ..Flows::default()
        };
        let mut seen = [false; 1024];
        let mut in_order = 0;
        let mut last = 0;
        for packet in 0..1024 {
            let number = flows.of(packet).address - flows.first;
            assert!(!seen[number as usize], "flow {number} came twice");
            seen[number as usize] = true;
            in_order += u32::from(number == last + 1);
            last = number;
        }
        assert!(in_order < 10, "{in_order} flows followed their neighbour");
    }

    #[test]
    fn targets_share_the_flows() {
        let flows = Flows {
            mask: (1 << 20) - 1,
            targets: 100,
            target: 1000,
            ..Flows::default()
        };
        let mut counts = [0_u32; 100];
        for packet in 0..1 << 20 {
            counts[(flows.of(packet).target - 1000) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (10_000..11_000).contains(count)));
    }

    #[test]
    fn one_flow_is_always_the_same() {
        let flows = Flows {
            targets: 1000,
            ..Flows::default()
        };
        assert_eq!(flows.of(0), flows.of(123_456));
    }
}
