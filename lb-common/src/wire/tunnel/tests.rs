//! What is opened and what is not, against a second reading of the same rules in plain Rust.

use etherparse::{Ipv4Header, Ipv6Header, PacketBuilder, UdpHeader};
use proptest::prelude::*;

use super::*;

const PORT: u16 = 6080;

/// Tunnels may come from 10.64.0.0/16 and fd64::/16.
struct Listed;

impl Sources for Listed {
    fn has_ipv4(&self, source: Be32) -> bool {
        source.to_bytes()[..2] == [10, 64]
    }

    fn has_ipv6(&self, source: Be128) -> bool {
        source.to_halves().0[..2] == [0xfd, 0x64]
    }
}

fn opened(frame: &mut [u8], frame_length: u32) -> Result<(usize, DecapCounter), DecapCounter> {
    let end = End {
        gue_port: Be16::new(PORT),
        sources: Listed,
        frame_length,
    };
    let opened = end.open(Cursor::new(frame))?;
    let at = opened.link.length() + opened.outer_length;
    Ok((at as usize, opened.counter))
}

/// The same, read by somebody who has the whole frame and all the time there is. Where the inner packet
/// begins, and what is counted; or what is counted where it is not taken off.
fn reference(frame: &[u8]) -> Result<(usize, DecapCounter), DecapCounter> {
    let be16 = |at: usize| -> Option<usize> {
        let bytes = frame.get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    };
    let (mut at, mut tags) = (12, 0);
    while tags < 2 && matches!(be16(at), Some(0x8100 | 0x88a8)) {
        (at, tags) = (at + 4, tags + 1);
    }
    let ether_type = be16(at);
    at += 2;
    let outer = frame.get(at..).unwrap_or(&[]);

    // Protocol, header, payload, fragment (first, later), ECN, listed.
    let (protocol, header, payload, first, later, ecn, listed) = match ether_type {
        Some(0x0800) if outer.len() >= 20 && outer[0] >> 4 == 4 => {
            let header = usize::from(outer[0] & 15) * 4;
            let total = be16(at + 2).unwrap();
            if header < 20 || header > outer.len() || total < header {
                return Err(DecapCounter::NotATunnel);
            }
            let field = be16(at + 6).unwrap();
            let later = field & 0x1fff != 0;
            let first = !later && field & 0x2000 != 0;
            let listed = outer[12..14] == [10, 64];
            (
                outer[9],
                header,
                total - header,
                first,
                later,
                outer[1] & 3,
                listed,
            )
        }
        Some(0x86dd) if outer.len() >= 40 && outer[0] >> 4 == 6 => {
            let listed = outer[8..10] == [0xfd, 0x64];
            match outer[6] {
                44 if listed => return Err(DecapCounter::Fragment),
                0 | 43 | 60 if listed => return Err(DecapCounter::ExtensionHeader),
                _ => {}
            }
            let ecn = outer[1] >> 4 & 3;
            (
                outer[6],
                40,
                be16(at + 4).unwrap(),
                false,
                false,
                ecn,
                listed,
            )
        }
        _ => return Err(DecapCounter::NotATunnel),
    };
    let behind = at + header;
    let (version, start, room) = match protocol {
        4 => (4, behind, Some(payload)),
        41 => (6, behind, Some(payload)),
        17 if later && listed => return Err(DecapCounter::Fragment),
        17 if !later => {
            let version = frame.get(behind + 8).map_or(0, |byte| byte >> 4);
            if be16(behind + 2) != Some(usize::from(PORT)) || !matches!(version, 4 | 6) {
                return Err(DecapCounter::NotATunnel);
            }
            let length = be16(behind + 4).unwrap();
            let room = (8..=payload).contains(&length).then(|| length - 8);
            (version, behind + 8, room)
        }
        _ => return Err(DecapCounter::NotATunnel),
    };
    if !listed {
        return Err(DecapCounter::RefusedSource);
    }
    if first || later {
        return Err(DecapCounter::Fragment);
    }
    let room = room.filter(|_| behind + payload <= frame.len());
    let room = room.ok_or(DecapCounter::Malformed)?;
    let inner = &frame[start..start + room];
    let (total, inner_ecn) = match (version, inner.first().map(|byte| byte >> 4)) {
        (4, Some(4)) if inner.len() >= 20 => {
            let header = usize::from(inner[0] & 15) * 4;
            let total = be16(start + 2).unwrap();
            if header < 20 || header > total {
                return Err(DecapCounter::InnerMalformed);
            }
            (total, inner[1] & 3)
        }
        (6, Some(6)) if inner.len() >= 40 => (40 + be16(start + 4).unwrap(), inner[1] >> 4 & 3),
        _ => return Err(DecapCounter::InnerMalformed),
    };
    if total > room {
        return Err(DecapCounter::InnerMalformed);
    }
    if ecn == 3 && inner_ecn == 0 {
        return Err(DecapCounter::Ecn);
    }
    Ok((
        start,
        match (protocol == 17, version) {
            (false, 4) => DecapCounter::IpipIpv4,
            (false, _) => DecapCounter::IpipIpv6,
            (true, 4) => DecapCounter::GueIpv4,
            (true, _) => DecapCounter::GueIpv6,
        },
    ))
}

/// A whole frame.
#[derive(Clone, Copy, Debug)]
struct Shape {
    tags: usize,
    outer_ipv6: bool,
    gue: bool,
    inner_ipv6: bool,
    outer_class: u8,
    inner_class: u8,
    payload: usize,
    trailing: usize,
}

impl Shape {
    fn frame(self) -> Vec<u8> {
        let mut inner = Vec::new();
        let payload = vec![0x5a; self.payload];
        let ip: etherparse::IpHeaders = if self.inner_ipv6 {
            let header = Ipv6Header {
                traffic_class: self.inner_class,
                hop_limit: 63,
                ..Ipv6Header::default()
            };
            etherparse::IpHeaders::Ipv6(header, Default::default())
        } else {
            let header = Ipv4Header {
                dscp: (self.inner_class >> 2).try_into().unwrap(),
                ecn: (self.inner_class & 3).try_into().unwrap(),
                time_to_live: 63,
                ..Ipv4Header::default()
            };
            etherparse::IpHeaders::Ipv4(header, Default::default())
        };
        let inner_builder = PacketBuilder::ip(ip).udp(40_000, 53);
        inner_builder.write(&mut inner, &payload).unwrap();

        let mut middle = Vec::new();
        if self.gue {
            let length = 8 + inner.len() as u16;
            let udp = UdpHeader {
                source_port: 50_000,
                destination_port: PORT,
                length,
                checksum: 0,
            };
            middle.extend(udp.to_bytes());
        }
        middle.extend(inner);
        let protocol = match (self.gue, self.inner_ipv6) {
            (true, _) => 17,
            (false, false) => 4,
            (false, true) => 41,
        };
        let mut frame = vec![0; 12];
        for tag in 0..self.tags {
            frame.extend(if tag == 0 {
                [0x88, 0xa8, 0, 7]
            } else {
                [0x81, 0, 0, 9]
            });
        }
        if self.outer_ipv6 {
            let mut source = [0; 16];
            source[..2].copy_from_slice(&[0xfd, 0x64]);
            let header = Ipv6Header {
                traffic_class: self.outer_class,
                payload_length: middle.len() as u16,
                next_header: protocol.into(),
                source,
                ..Ipv6Header::default()
            };
            frame.extend([0x86, 0xdd]);
            frame.extend(header.to_bytes());
        } else {
            let mut header = Ipv4Header {
                dscp: (self.outer_class >> 2).try_into().unwrap(),
                ecn: (self.outer_class & 3).try_into().unwrap(),
                protocol: protocol.into(),
                source: [10, 64, 1, 2],
                ..Ipv4Header::default()
            };
            header.set_payload_len(middle.len()).unwrap();
            frame.extend([0x08, 0x00]);
            frame.extend(&header.to_bytes()[..]);
        }
        frame.extend(middle);
        frame.extend(vec![0; self.trailing]);
        frame
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    let kinds = (0..3_usize, any::<bool>(), any::<bool>(), any::<bool>());
    let rest = (any::<u8>(), any::<u8>(), 0..40_usize, 0..20_usize);
    (kinds, rest).prop_map(|(kinds, rest)| {
        let ((tags, outer_ipv6, gue, inner_ipv6), (outer_class, inner_class, payload, trailing)) =
            (kinds, rest);
        Shape {
            tags,
            outer_ipv6,
            gue,
            inner_ipv6,
            outer_class,
            inner_class,
            payload,
            trailing,
        }
    })
}

/// What may have changed of a frame: the inner header's congestion mark and what depends on it.
fn is_untouched_but_for_the_mark(before: &[u8], after: &[u8], inner: usize) -> bool {
    let changed: Vec<_> = (0..before.len())
        .filter(|at| before[*at] != after[*at])
        .collect();
    changed.iter().all(|at| match at.checked_sub(inner) {
        // Type of service and header checksum, or the two bytes that have the traffic class.
        Some(offset) if before[inner] >> 4 == 4 => matches!(offset, 1 | 10 | 11),
        Some(offset) => matches!(offset, 0 | 1),
        None => false,
    })
}

proptest! {
    #[test]
    fn a_whole_packet_is_taken_off_or_dropped_for_its_mark(shape in shapes()) {
        let frame = shape.frame();
        let mut read = frame.clone();
        let result = opened(&mut read, frame.len() as u32);
        prop_assert_eq!(result, reference(&frame));
        let marked = shape.outer_class & 3 == 3 && shape.inner_class & 3 == 0;
        prop_assert_eq!(result.is_err(), marked);
        if let Ok((at, _)) = result {
            prop_assert!(is_untouched_but_for_the_mark(&frame, &read, at));
            if !shape.inner_ipv6 {
                // Computed in full, by another.
                let (header, _) = Ipv4Header::from_slice(&read[at..]).unwrap();
                prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
            }
        }
    }

    #[test]
    fn any_change_of_a_frame_is_judged_by_the_rules(
        shape in shapes(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut frame = shape.frame();
        for (at, value) in changes {
            // Most of what matters is in the first bytes.
            let at = at.index(frame.len().min(90));
            frame[at] = value;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        let mut read = frame.clone();
        let result = opened(&mut read, frame.len() as u32);
        prop_assert_eq!(result, reference(&frame));
        match result {
            Ok((at, _)) => prop_assert!(is_untouched_but_for_the_mark(&frame, &read, at)),
            Err(_) => prop_assert_eq!(frame, read),
        }
    }

    #[test]
    fn a_frame_in_several_buffers_is_judged_by_its_whole_length(shape in shapes(), short in 1..40_u32) {
        let frame = shape.frame();
        let whole = frame.len() as u32;
        // Headers are in the first buffer: so much of the payload is not.
        let seen = frame.len() - shape.payload - shape.trailing;
        let judge = |length: u32| opened(&mut frame[..seen].to_vec(), length);
        prop_assert_eq!(judge(whole), reference(&frame));
        let packet = whole - shape.trailing as u32;
        prop_assert_eq!(judge(packet - short.min(packet)), Err(DecapCounter::Malformed));
    }

    #[test]
    fn no_bytes_are_read_outside_of_the_frame(mut frame in proptest::collection::vec(any::<u8>(), 0..140)) {
        let before = frame.clone();
        let result = opened(&mut frame, before.len() as u32);
        prop_assert_eq!(result, reference(&before));
    }
}
