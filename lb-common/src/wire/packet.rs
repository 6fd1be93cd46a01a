//! A packet's walk from its IP header to its transport header.

use super::{
    Cursor,
    cursor::Truncated,
    ip::{Fragment, Ip},
    link::Link,
    tcp::Tcp,
    transport::Transport,
    udp::Udp,
};
use crate::family::{Family, FlowTuple};

/// A TCP or UDP packet, its headers in place in the frame.
#[derive(Debug)]
pub struct Packet<'a, F: Family> {
    /// The link header.
    pub link: Link<'a>,
    /// The network header; options or extension headers, if any, stand between it and `transport`.
    pub ip: &'a mut F::Header,
    /// The transport header.
    pub transport: Transport<'a>,
    /// Whether this is the first of several fragments.
    pub fragmented: bool,
}

/// What is looked for besides TCP. What is not, is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// UDP.
    pub udp: bool,
    /// Bytes of the frame, where it may lie in several buffers and the cursor sees the first; `None`:
    /// the cursor sees all of it.
    pub frame_length: Option<u32>,
}

/// Why a frame yields no [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsed {
    /// Nothing that a load balancer speaks: left to the kernel.
    NotOurs,
    /// The headers contradict themselves or end early.
    Malformed,
}

impl From<Truncated> for Unparsed {
    #[inline(always)]
    fn from(Truncated: Truncated) -> Self {
        Self::Malformed
    }
}

/// IANA protocol number of TCP.
pub const TCP: u8 = 6;
/// IANA protocol number of UDP.
pub const UDP: u8 = 17;

/// Reads a packet's headers; `cursor` stands behind the link header.
///
/// Later fragments have no ports and so cannot be told from those of other services: they are not
/// ours, as is a first fragment too short for its transport header.
///
/// # Errors
/// [`Unparsed`], by the rules above; lengths are judged against the IP header's claim and the frame.
#[inline(always)]
pub fn parse<'a, F: Family>(
    mut cursor: Cursor<'a>,
    link: Link<'a>,
    accept: Accept,
) -> Result<Packet<'a, F>, Unparsed> {
    let (ip, payload) = F::Header::read(&mut cursor)?;
    let is_tcp = payload.protocol == u32::from(TCP);
    let transport_length = if is_tcp {
        Tcp::LENGTH
    } else if accept.udp && payload.protocol == u32::from(UDP) {
        Udp::LENGTH
    } else {
        return Err(Unparsed::NotOurs);
    };
    let too_short = payload.length < u32::from(transport_length);
    match payload.fragment {
        Fragment::Later => return Err(Unparsed::NotOurs),
        Fragment::First if too_short => return Err(Unparsed::NotOurs),
        Fragment::First | Fragment::Whole => {}
    }
    // The claimed length, not the frame's: short frames are padded behind it.
    let whole = match accept.frame_length {
        Some(length) => link.length() + ip.total_length() <= length,
        None => cursor.has(payload.length as u16),
    };
    if too_short || !whole {
        return Err(Unparsed::Malformed);
    }
    let transport = if is_tcp {
        Transport::from(cursor.read::<Tcp>()?)
    } else {
        let udp = cursor.read::<Udp>()?;
        let length = udp.length();
        if length < Udp::LENGTH
            || (payload.fragment == Fragment::Whole && u32::from(length) > payload.length)
        {
            return Err(Unparsed::Malformed);
        }
        Transport::from(udp)
    };
    Ok(Packet {
        link,
        ip,
        transport,
        fragmented: payload.fragment == Fragment::First,
    })
}

impl<F: Family> Packet<'_, F> {
    /// The flow that the packet belongs to.
    #[inline(always)]
    pub fn flow(&self) -> FlowTuple<F::Address> {
        FlowTuple {
            source: self.ip.source(),
            destination: self.ip.destination(),
            source_port: self.transport.source_port(),
            destination_port: self.transport.destination_port(),
            protocol: self.transport.protocol(),
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::endian::{Be16, Be32};

    const EVERYTHING: Accept = Accept { udp: true };

    fn syn(payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 77, 1, 10], [10, 77, 0, 80], 64)
            .tcp(40_000, 80, 1, 64_000)
            .syn();
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        frame
    }

    fn verdict(frame: &mut [u8]) -> Result<(), Unparsed> {
        parse(Cursor::new(frame), EVERYTHING).map(|_| ())
    }

    #[test]
    fn fields_stand_where_another_implementation_put_them() {
        let mut frame = syn(b"hello");
        let packet = parse(Cursor::new(&mut frame), EVERYTHING).unwrap();
        assert_eq!(packet.ip.source(), Be32::new(0x0a4d_010a));
        assert_eq!(packet.ip.destination(), Be32::new(0x0a4d_0050));
        assert_eq!(packet.ip.total_length(), 45);
        assert_eq!(packet.transport.source_port(), Be16::new(40_000));
        assert_eq!(packet.transport.destination_port(), Be16::new(80));
        assert!(packet.transport.flags().is_syn());
        assert!(!packet.fragmented);
    }

    #[test]
    fn a_frame_cut_anywhere_in_its_headers_is_malformed() {
        let whole = syn(&[]);
        for length in 0..whole.len() {
            assert_eq!(
                verdict(&mut whole[..length].to_vec()),
                Err(Unparsed::Malformed),
                "{length}"
            );
        }
    }

    #[test]
    fn a_length_beyond_the_frame_is_malformed_and_padding_is_not() {
        let mut long = syn(&[]);
        long[17] += 1;
        assert_eq!(verdict(&mut long), Err(Unparsed::Malformed));
        let mut padded = syn(&[]);
        padded.resize(60, 0);
        assert_eq!(verdict(&mut padded), Ok(()));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_malformed() {
        for (offset, value) in [(14, 0x44), (14, 0x65), (17, 19), (17, 39)] {
            let mut frame = syn(&[]);
            frame[offset] = value;
            assert_eq!(
                verdict(&mut frame),
                Err(Unparsed::Malformed),
                "{offset} = {value:#x}"
            );
        }
    }

    #[test]
    fn what_is_neither_tcp_nor_udp_over_ipv4_is_not_ours() {
        for (offset, value) in [(12, 0x86), (23, 1), (23, 132), (21, 1)] {
            let mut frame = syn(&[]);
            frame[offset] = value;
            assert_eq!(
                verdict(&mut frame),
                Err(Unparsed::NotOurs),
                "{offset} = {value:#x}"
            );
        }
    }

    #[test]
    fn a_first_fragment_is_ours_when_it_has_the_ports() {
        let mut frame = syn(&[0; 8]);
        frame[20] = 0x20;
        assert!(
            parse(Cursor::new(&mut frame), EVERYTHING)
                .unwrap()
                .fragmented
        );
        let mut tiny = syn(&[0; 8]);
        tiny[20] = 0x20;
        tiny[17] = 28;
        assert_eq!(verdict(&mut tiny), Err(Unparsed::NotOurs));
    }

    #[test]
    fn options_are_passed_over() {
        let mut frame = syn(&[]);
        frame[14] = 0x47;
        frame[17] += 8;
        frame.splice(34..34, [1_u8; 8]);
        let packet = parse(Cursor::new(&mut frame), EVERYTHING).unwrap();
        assert_eq!(packet.transport.destination_port(), Be16::new(80));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_read_outside_the_frame(
            mut frame in proptest::collection::vec(any::<u8>(), 0..128),
            plausible in any::<bool>(),
        ) {
            if plausible && frame.len() > 24 {
                frame[12..15].copy_from_slice(&[8, 0, 0x45]);
                frame[23] = if frame[24] & 1 == 0 { 6 } else { 17 };
            }
            let range = frame.as_ptr_range();
            if let Ok(packet) = parse(Cursor::new(&mut frame), EVERYTHING) {
                let [ports, checksum] = packet.transport.ranges();
                prop_assert!(range.contains(&ports.start) && ports.end <= range.end);
                prop_assert!(range.contains(&checksum.start) && checksum.end <= range.end);
                prop_assert!(ports.start < checksum.start);
            }
        }
    }

    fn datagram(payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 77, 1, 10], [10, 77, 0, 80], 64)
            .udp(40_000, 53);
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        frame
    }

    #[test]
    fn udp_is_read_only_where_it_is_asked_for() {
        let mut frame = datagram(b"question");
        let packet = parse(Cursor::new(&mut frame), EVERYTHING).unwrap();
        assert_eq!(packet.transport.destination_port(), Be16::new(53));
        assert!(!packet.transport.flags().is_syn());
        let without = parse(Cursor::new(&mut frame), Accept { udp: false });
        assert_eq!(without.err(), Some(Unparsed::NotOurs));
    }

    #[test]
    fn a_datagram_that_lies_about_its_length_is_malformed() {
        for (offset, value) in [(39, 7), (39, 17), (17, 27)] {
            let mut frame = datagram(b"question");
            frame[offset] = value;
            assert_eq!(
                verdict(&mut frame),
                Err(Unparsed::Malformed),
                "{offset} = {value}"
            );
        }
        let mut shorter = datagram(b"question");
        shorter[39] = 12;
        assert_eq!(
            verdict(&mut shorter),
            Ok(()),
            "trailing bytes are the sender's affair"
        );
    }
}
