//! Packets that the program hands to the daemon.

/// Bytes that a punted packet may have, from its IP header on.
pub const PUNT_MAX: usize = 2040;

/// An entry of the ring buffer `PUNTS`: an IP packet, ready to send but for its next hop, as long
/// as its header says; what follows is whatever was there before.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Punt(pub [u8; PUNT_MAX]);

// With the ring buffer's header of 8 bytes an entry takes 2 KiB.
const _: () = assert!(size_of::<Punt>() + 8 == 2048);
