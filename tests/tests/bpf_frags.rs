//! Frames that lie in several buffers, as jumbo frames do: the headers are in the first one, the lengths
//! are judged against all of them.

use anyhow::Result;
use lb_common::{abi::counters::DropReason, wire::tcp::Flags};
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, Extension, Fixture, Segment, Setup, Side, Way},
};

/// A frame that fits one buffer, the smallest that needs two, an ordinary jumbo frame, and many buffers.
/// Bytes from the IP header on.
const LENGTHS: [usize; 5] = [100, 3600, 4096, 9000, 60_000];

/// The most that an IP packet may have, an outer header included.
const LONGEST: u32 = 65_535;

fn bed(way: Way) -> Result<Option<Bed>> {
    let bed = Bed::with(&Setup {
        services: &way.services(),
        vlan: true,
        frags: true,
        ..Setup::default()
    })?;
    let Some(mut bed) = bed else {
        return Ok(None);
    };
    bed.set_mtu(LONGEST)?;
    Ok(Some(bed))
}

/// The segment with as much payload as makes a packet of this length; no two neighbouring words are alike.
fn long(segment: Segment, length: usize) -> Segment {
    let room = length - segment.ip_length() as usize;
    let payload: Vec<_> = (0..room).map(|at| (at ^ at >> 8) as u8).collect();
    segment.payload(&payload)
}

fn edited(mut frame: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

#[test]
fn a_frame_in_any_number_of_buffers_reaches_the_backend() -> Result<()> {
    for way in Way::all() {
        let Some(mut bed) = bed(way)? else {
            return Ok(());
        };
        for length in LENGTHS {
            for tags in [&[][..], &[[0x88a8, 0x2064], [0x8100, 0x0fff]]] {
                for segment in [way.segment(&bed, Flags::ACK), way.datagram(&bed, b"")] {
                    let segment = long(segment.tags(tags), length);
                    way.fixture("whole", &bed, &segment)?.check(&mut bed)?;
                    // The last buffer holds more than the packet.
                    let mut padded = way.fixture("padded", &bed, &segment)?;
                    padded.packet.extend([0xee; 50]);
                    if let Some(frame) = &mut padded.expect.frame {
                        frame.extend([0xee; 50]);
                    }
                    padded.check(&mut bed)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_frame_that_lacks_a_byte_in_its_last_buffer_is_malformed() -> Result<()> {
    for way in Way::all() {
        let Some(mut bed) = bed(way)? else {
            return Ok(());
        };
        for length in LENGTHS {
            for tags in [&[][..], &[[0x8100, 0x0007]]] {
                let frame = long(way.segment(&bed, Flags::ACK).tags(tags), length).bytes();
                for lacking in [1, 40] {
                    let cut = frame[..frame.len() - lacking].to_vec();
                    Fixture::dropped("cut", cut, DropReason::Malformed).check(&mut bed)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn lengths_that_lie_are_malformed() -> Result<()> {
    for way in Way::all() {
        let Some(mut bed) = bed(way)? else {
            return Ok(());
        };
        // Where the IP length stands, how much of the packet it leaves out, what leaves no room for TCP,
        // where UDP's length stands.
        let (at, header, shortest, udp) = match way.inner {
            Family::Ipv4 => (14 + 2, 0, 39_u16, 14 + 20 + 4),
            Family::Ipv6 => (14 + 4, 40, 19, 14 + 40 + 4),
        };
        for length in LENGTHS {
            let frame = long(way.segment(&bed, Flags::ACK), length).bytes();
            let own = (length - header) as u16;
            for lie in [own + 1, 0xffff] {
                let packet = edited(frame.clone(), at, &lie.to_be_bytes());
                Fixture::dropped("longer than the frame", packet, DropReason::Malformed)
                    .check(&mut bed)?;
            }
            let packet = edited(frame, at, &shortest.to_be_bytes());
            Fixture::dropped("no room for TCP", packet, DropReason::Malformed).check(&mut bed)?;

            let datagram = long(way.datagram(&bed, b""), length).bytes();
            let behind = (datagram.len() - udp + 4) as u16;
            for lie in [7, behind + 1, 0xffff] {
                let packet = edited(datagram.clone(), udp, &lie.to_be_bytes());
                Fixture::dropped("UDP's length", packet, DropReason::Malformed).check(&mut bed)?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_longest_packet_is_forwarded_where_it_fits() -> Result<()> {
    for way in Way::all() {
        let Some(mut bed) = bed(way)? else {
            return Ok(());
        };
        let segment = way.segment(&bed, Flags::ACK);
        if !way.is_tunnel() {
            let longest = long(segment, LONGEST as usize);
            way.fixture("the longest", &bed, &longest)?
                .check(&mut bed)?;
            continue;
        }
        let room = LONGEST as usize - way.outer(&bed, &segment, Side::Back)?.length();
        let longest = long(segment.clone(), room);
        way.fixture("the longest", &bed, &longest)?
            .check(&mut bed)?;
        for length in [room + 1, LONGEST as usize] {
            let large = long(segment.clone(), length).bytes();
            Fixture::dropped("larger", large, DropReason::TunnelTooBig).check(&mut bed)?;
        }
    }
    Ok(())
}

/// The payload length of IPv6 leaves its own header out.
#[test]
fn the_longest_ipv6_packet_fits_no_tunnel_and_every_other_mode() -> Result<()> {
    for way in Way::all() {
        if way.inner != Family::Ipv6 {
            continue;
        }
        let Some(mut bed) = bed(way)? else {
            return Ok(());
        };
        let longest = long(way.segment(&bed, Flags::ACK), 40 + 65_535);
        match way.is_tunnel() {
            false => way.fixture("the longest", &bed, &longest)?,
            true => Fixture::dropped("the longest", longest.bytes(), DropReason::TunnelTooBig),
        }
        .check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn extension_headers_in_the_first_buffer_are_stepped_over() -> Result<()> {
    for way in Way::all() {
        if way.inner != Family::Ipv6 {
            continue;
        }
        let Some(mut bed) = bed(way)? else {
            return Ok(());
        };
        let chain = [
            Extension::sized(Extension::HOP_BY_HOP, 8),
            Extension::sized(Extension::DESTINATION, 1400),
            Extension::fragment(0, false),
        ];
        for length in [2000, 9000] {
            for segment in [way.segment(&bed, Flags::SYN), way.datagram(&bed, b"")] {
                let segment = long(segment.extensions(&chain), length);
                way.fixture("extension headers", &bed, &segment)?
                    .check(&mut bed)?;
            }
        }
        let first = way
            .segment(&bed, Flags::ACK)
            .extensions(&[Extension::fragment(0, true)]);
        let first = long(first, 9000).bytes();
        Fixture::dropped("a first fragment", first, DropReason::Fragment).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_large_answer_is_turned_back_where_its_route_allows_it() -> Result<()> {
    for way in Way::all() {
        if way.forward != Forward::Dnat {
            continue;
        }
        let Some(mut bed) = bed(way)? else {
            return Ok(());
        };
        let answer = |bed: &Bed, length| long(way.answer(bed, Some(Flags::ACK), b""), length);
        let large = answer(&bed, 1501).bytes();
        let dropped = Fixture::dropped("1501 bytes into 1500", large, DropReason::TooBig);
        Fixture {
            from: Side::Back,
            ..dropped
        }
        .check(&mut bed)?;

        bed.host().set_mtu("front", 9000)?;
        for length in [1501, 4096, 9000] {
            let answer = answer(&bed, length);
            way.reply("a large answer", &bed, &answer).check(&mut bed)?;
        }
        let large = answer(&bed, 9001).bytes();
        let dropped = Fixture::dropped("9001 bytes into 9000", large, DropReason::TooBig);
        Fixture {
            from: Side::Back,
            ..dropped
        }
        .check(&mut bed)?;
        let mut stranger = answer(&bed, 9000);
        stranger.source.set_port(22);
        Fixture::passed("another port", Side::Back, stranger.bytes()).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn what_is_not_for_a_vip_passes() -> Result<()> {
    for way in Way::all() {
        let Some(mut bed) = bed(way)? else {
            return Ok(());
        };
        for length in LENGTHS {
            let segment = long(way.segment(&bed, Flags::ACK), length);
            let mut other = segment.clone();
            other.destination.set_port(81);
            let arp = edited(segment.bytes(), 12, &[0x08, 0x06]);
            for packet in [other.bytes(), arp] {
                Fixture::passed("not ours", Side::Front, packet).check(&mut bed)?;
            }
        }
    }
    Ok(())
}
