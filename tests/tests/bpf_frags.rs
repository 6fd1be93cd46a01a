//! Frames that lie in several buffers, as jumbo frames do: the headers are in the first one, the lengths
//! are judged against all of them.

use anyhow::Result;
use lb_common::{
    abi::{counters::DropReason, punt::PUNT_MAX},
    wire::tcp::Flags,
};
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, Extension, Fixture, Outcome, Segment, Setup, Side, Way},
};

/// A frame that fits one buffer, the smallest that needs two, an ordinary jumbo frame, and many buffers.
/// Bytes from the IP header on.
const LENGTHS: [usize; 5] = [100, 3600, 4096, 9000, 60_000];

/// The most that an IP packet may have, an outer header included.
const LONGEST: u32 = 65_535;

const FRAGS: &Setup<'_> = &Setup {
    vlan: true,
    frags: true,
    mtu: Some(LONGEST),
    ..Setup::PLAIN
};

/// The segment with as much payload as makes a packet of this length; no two neighbouring words are alike.
fn long(segment: Segment, length: usize) -> Segment {
    let room = length - segment.ip_length() as usize;
    let payload: Vec<_> = (0..room).map(|at| (at ^ at >> 8) as u8).collect();
    segment.payload(&payload)
}

fn over_ipv6() -> impl Iterator<Item = Way> {
    let all = Way::all().into_iter();
    all.filter(|way| way.inner == Family::Ipv6)
}

fn edited(mut frame: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

#[test]
fn a_frame_in_any_number_of_buffers_reaches_the_backend() -> Result<()> {
    Way::each(Way::all(), FRAGS, |bed, way| {
        for length in LENGTHS {
            for tags in [&[][..], &[[0x88a8, 0x2064], [0x8100, 0x0fff]]] {
                for segment in [way.segment(bed, Flags::ACK), way.datagram(bed, b"")] {
                    let segment = long(segment.tags(tags), length);
                    way.fixture("whole", bed, &segment)?.check(bed)?;
                    // The last buffer holds more than the packet.
                    let padded = way.fixture("padded", bed, &segment)?;
                    padded.padded(&[0xee; 50]).check(bed)?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_frame_that_lacks_a_byte_in_its_last_buffer_is_malformed() -> Result<()> {
    Way::each(Way::of(Forward::Dnat), FRAGS, |bed, way| {
        for length in LENGTHS {
            for tags in [&[][..], &[[0x8100, 0x0007]]] {
                let frame = long(way.segment(bed, Flags::ACK).tags(tags), length).bytes();
                for lacking in [1, 40] {
                    let cut = frame[..frame.len() - lacking].to_vec();
                    Fixture::dropped("cut", cut, DropReason::Malformed).check(bed)?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn lengths_that_lie_are_malformed() -> Result<()> {
    Way::each(Way::of(Forward::Dnat), FRAGS, |bed, way| {
        // Where the IP length stands, how much of the packet it leaves out, what leaves no room for TCP,
        // where UDP's length stands.
        let (at, header, shortest, udp) = match way.inner {
            Family::Ipv4 => (14 + 2, 0, 39_u16, 14 + 20 + 4),
            Family::Ipv6 => (14 + 4, 40, 19, 14 + 40 + 4),
        };
        for length in LENGTHS {
            let frame = long(way.segment(bed, Flags::ACK), length).bytes();
            let own = (length - header) as u16;
            for lie in [own + 1, 0xffff] {
                let packet = edited(frame.clone(), at, &lie.to_be_bytes());
                Fixture::dropped("longer than the frame", packet, DropReason::Malformed)
                    .check(bed)?;
            }
            let packet = edited(frame, at, &shortest.to_be_bytes());
            Fixture::dropped("no room for TCP", packet, DropReason::Malformed).check(bed)?;

            let datagram = long(way.datagram(bed, b""), length).bytes();
            let behind = (datagram.len() - udp + 4) as u16;
            for lie in [7, behind + 1, 0xffff] {
                let packet = edited(datagram.clone(), udp, &lie.to_be_bytes());
                Fixture::dropped("UDP's length", packet, DropReason::Malformed).check(bed)?;
            }
        }
        Ok(())
    })
}

#[test]
fn the_longest_packet_is_forwarded_where_it_fits() -> Result<()> {
    Way::each(Way::all(), FRAGS, |bed, way| {
        let segment = way.segment(bed, Flags::ACK);
        if !way.is_tunnel() {
            let longest = long(segment, LONGEST as usize);
            return way.fixture("the longest", bed, &longest)?.check(bed);
        }
        let room = LONGEST as usize - way.outer(bed, &segment, Side::Back)?.length();
        let longest = long(segment.clone(), room);
        way.fixture("the longest", bed, &longest)?.check(bed)?;
        for length in [room + 1, LONGEST as usize] {
            let large = long(segment.clone(), length).bytes();
            Fixture::dropped("larger", large, DropReason::TunnelTooBig).check(bed)?;
        }
        Ok(())
    })
}

/// The payload length of IPv6 leaves its own header out.
#[test]
fn the_longest_ipv6_packet_fits_no_tunnel_and_every_other_mode() -> Result<()> {
    Way::each(over_ipv6(), FRAGS, |bed, way| {
        let longest = long(way.segment(bed, Flags::ACK), 40 + 65_535);
        match way.is_tunnel() {
            false => way.fixture("the longest", bed, &longest)?,
            true => Fixture::dropped("the longest", longest.bytes(), DropReason::TunnelTooBig),
        }
        .check(bed)?;
        Ok(())
    })
}

#[test]
fn extension_headers_in_the_first_buffer_are_stepped_over() -> Result<()> {
    Way::each(over_ipv6(), FRAGS, |bed, way| {
        let chain = [
            Extension::sized(Extension::HOP_BY_HOP, 8),
            Extension::sized(Extension::DESTINATION, 1400),
            Extension::fragment(0, false),
        ];
        for length in [2000, 9000] {
            for segment in [way.segment(bed, Flags::SYN), way.datagram(bed, b"")] {
                let segment = long(segment.extensions(&chain), length);
                way.fixture("extension headers", bed, &segment)?
                    .check(bed)?;
            }
        }
        let first = way
            .segment(bed, Flags::ACK)
            .extensions(&[Extension::fragment(0, true)]);
        let first = long(first, 9000).bytes();
        Fixture::dropped("a first fragment", first, DropReason::Fragment).check(bed)?;
        Ok(())
    })
}

#[test]
fn a_large_answer_is_turned_back_where_its_route_allows_it() -> Result<()> {
    Way::each(Way::of(Forward::Dnat), FRAGS, |bed, way| {
        let answer = |bed: &Bed, length| long(way.answer(bed, Some(Flags::ACK), b""), length);
        let large = answer(bed, 1501).bytes();
        Fixture::dropped("1501 bytes into 1500", large, DropReason::TooBig)
            .coming_from(Side::Back)
            .check(bed)?;

        bed.host().set_mtu("front", 9000)?;
        for length in [1501, 4096, 9000] {
            let answer = answer(bed, length);
            way.reply("a large answer", bed, &answer).check(bed)?;
        }
        let large = answer(bed, 9001).bytes();
        Fixture::dropped("9001 bytes into 9000", large, DropReason::TooBig)
            .coming_from(Side::Back)
            .check(bed)?;
        let mut stranger = answer(bed, 9000);
        stranger.source.set_port(22);
        Fixture::passed("another port", Side::Back, stranger.bytes()).check(bed)?;
        Ok(())
    })
}

/// It is the VIP's already, as the kernel would have it from the daemon.
#[test]
fn an_answer_too_large_to_be_handed_to_the_daemon_is_the_kernels() -> Result<()> {
    Way::each(Way::of(Forward::Dnat), FRAGS, |bed, way| {
        bed.host().set_mtu("front", 9000)?;
        for (length, outcome) in [
            (PUNT_MAX, Outcome::Punt),
            (PUNT_MAX + 1, Outcome::Pass),
            (9000, Outcome::Pass),
        ] {
            let mut answer = long(way.answer(bed, Some(Flags::ACK), b""), length);
            answer
                .destination
                .set_ip(Side::Front.address(way.inner, 77));
            let mut fixture = way.punt("to a neighbour not yet known", bed, &answer);
            fixture.expect.outcome = outcome;
            fixture.check(bed)?;
        }
        Ok(())
    })
}

#[test]
fn what_is_not_for_a_vip_passes() -> Result<()> {
    Way::each(Way::of(Forward::Dnat), FRAGS, |bed, way| {
        for length in LENGTHS {
            let segment = long(way.segment(bed, Flags::ACK), length);
            let mut other = segment.clone();
            other.destination.set_port(81);
            let arp = edited(segment.bytes(), 12, &[0x08, 0x06]);
            for packet in [other.bytes(), arp] {
                Fixture::passed("not ours", Side::Front, packet).check(bed)?;
            }
        }
        Ok(())
    })
}
