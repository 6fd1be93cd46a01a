//! What holds of the packet parser for any frame. Used by the fuzz target and by the test that replays
//! its corpus.

use super::{Accept, Cursor, Ipv4, parse};

/// Parsing changes nothing, and a packet that is accepted lies within its frame.
///
/// # Panics
/// Where that is not so.
pub(crate) fn holds(frame: &[u8]) {
    for udp in [false, true] {
        holds_with(frame, Accept { udp });
    }
}

fn holds_with(frame: &[u8], accept: Accept) {
    let mut copy = frame.to_vec();
    let range = copy.as_ptr_range();
    let (start, end) = (range.start as usize, range.end as usize);
    if let Ok(packet) = parse(Cursor::new(&mut copy), accept) {
        let ip = core::ptr::from_ref(&*packet.ip) as usize;
        assert!(start < ip, "the IP header is the frame's first");
        assert!(
            ip + usize::from(packet.ip.total_length()) <= end,
            "the packet is longer than its frame"
        );
        assert!(packet.ip.total_length() >= packet.ip.header_length());
        assert!(accept.udp || packet.ip.is_tcp(), "nobody asked for it");
    }
    assert_eq!(copy, frame, "parsing wrote into the frame");
}
