//! VLAN tags (IEEE 802.1Q): stepped over and kept, in every mode and on the way back.

use anyhow::{Context as _, Result};
use lb_common::{abi::counters::DropReason, wire::tcp::Flags};
use testbed::{
    mode::Forward,
    packets::{Bed, Fixture, Outcome, Setup, Side, WEB, Way},
};

/// Customers' tags.
const CUSTOMER: u16 = 0x8100;
/// Services' tags.
const SERVICE: u16 = 0x88a8;

/// Priority, drop eligibility and number: some of each, none, and all bits.
const TAGS: [&[[u16; 2]]; 8] = [
    &[[CUSTOMER, 0x0007]],
    &[[SERVICE, 0x0064]],
    &[[CUSTOMER, 0xa000]],
    &[[CUSTOMER, 0xffff]],
    &[[SERVICE, 0x2064], [CUSTOMER, 0x6fff]],
    &[[CUSTOMER, 0x0001], [CUSTOMER, 0x1002]],
    &[[SERVICE, 0x0001], [SERVICE, 0xf002]],
    &[[CUSTOMER, 0x0001], [SERVICE, 0x8100]],
];

const TAGGED: Setup<'_> = Setup {
    vlan: true,
    ..Setup::PLAIN
};

#[test]
fn tags_stay_on_the_way_to_the_backend() -> Result<()> {
    Way::each(Way::all(), &TAGGED, |bed, way| {
        let (segment, datagram) = (
            way.segment(bed, Flags::SYN).payload(b"odd"),
            way.datagram(bed, b"even"),
        );
        for tags in [&[][..]].into_iter().chain(TAGS) {
            for segment in [&segment, &datagram] {
                let segment = segment.clone().tags(tags);
                way.fixture("tagged", bed, &segment)?.check(bed)?;
                let padded = way.fixture("tagged and padded", bed, &segment)?;
                padded.padded(&[0; 4]).check(bed)?;
            }
        }
        Ok(())
    })
}

#[test]
fn tags_stay_where_the_backend_is_on_the_clients_side() -> Result<()> {
    let setup = Setup {
        backend: Side::Front,
        ..TAGGED
    };
    Way::each(Way::all(), &setup, |bed, way| {
        for tags in TAGS {
            let segment = way.segment(bed, Flags::ACK).tags(tags);
            let out = way.sent(bed, &segment, Side::Front)?;
            way.becomes("tagged", &segment, Outcome::Transmit, out)
                .check(bed)?;
        }
        Ok(())
    })
}

#[test]
fn tags_stay_on_the_way_back() -> Result<()> {
    Way::each(Way::of(Forward::Dnat), &TAGGED, |bed, way| {
        let mut punts = bed.dataplane().take_punts().context("given out once")?;
        for tags in TAGS {
            for flags in [Some(Flags::SYN | Flags::ACK), None] {
                let answer = way.answer(bed, flags, b"an answer").tags(tags);
                way.reply("tagged", bed, &answer).check(bed)?;

                let mut unknown = answer;
                unknown
                    .destination
                    .set_ip(Side::Front.address(way.inner, 77));
                let punt = way.punt("to a neighbour not yet known", bed, &unknown);
                punt.check(bed)?;
                // The daemon gets the packet alone.
                let punted = punts.next().context("one packet")?;
                let packet = way.answered(bed, &unknown).packet();
                assert_eq!(&punted[..packet.len()], packet);
            }
        }
        Ok(())
    })
}

#[test]
fn what_is_not_known_behind_the_tags_passes() -> Result<()> {
    Way::each(Way::of(Forward::Dnat), &TAGGED, |bed, way| {
        let mut fixtures = Vec::new();
        let passed = |name, packet| Fixture::passed(name, Side::Front, packet);
        let segment = way.segment(bed, Flags::SYN);
        for third in [CUSTOMER, SERVICE] {
            let three = segment
                .clone()
                .tags(&[[SERVICE, 1], [CUSTOMER, 2], [third, 3]]);
            fixtures.push(passed("three tags", three.bytes()));
        }
        for tags in TAGS {
            let tagged = segment.clone().tags(tags);
            let at = tagged.link_length() - 2;
            for (name, ether_type) in [
                ("ARP", [0x08, 0x06]),
                ("an unknown EtherType", [0x12, 0x34]),
                ("an old service tag", [0x91, 0x00]),
            ] {
                let mut packet = tagged.bytes();
                packet[at..at + 2].copy_from_slice(&ether_type);
                fixtures.push(passed(name, packet));
            }
            let mut other = tagged.clone();
            other.destination.set_port(81);
            fixtures.push(passed("another port", other.bytes()));
        }
        fixtures.iter().try_for_each(|fixture| fixture.check(bed))?;
        Ok(())
    })
}

#[test]
fn a_frame_that_ends_in_its_headers_is_malformed() -> Result<()> {
    Way::each(Way::of(Forward::Dnat), &TAGGED, |bed, way| {
        for tags in TAGS {
            let frame = way.segment(bed, Flags::SYN).tags(tags).bytes();
            // The kernel runs no program on less than an Ethernet header.
            for length in 14..frame.len() {
                let packet = frame[..length].to_vec();
                Fixture::dropped("cut", packet, DropReason::Malformed).check(bed)?;
            }
        }
        Ok(())
    })
}

#[test]
fn other_reasons_to_drop_hold_behind_tags() -> Result<()> {
    Way::each(Way::all(), &TAGGED, |bed, way| {
        for tags in TAGS {
            let segment = way.segment(bed, Flags::ACK).tags(tags);
            let mut martian = segment.clone();
            martian.source.set_ip(martian.destination.ip());
            let mut fixtures = vec![
                Fixture::dropped(
                    "expired",
                    segment.clone().ttl(1).bytes(),
                    DropReason::TtlExpired,
                ),
                Fixture::dropped("the VIP", martian.bytes(), DropReason::MartianSource),
            ];
            if way.is_tunnel() {
                // Tags are no part of what the MTU limits.
                let outer = way.outer(bed, &segment, Side::Back)?.length() as u64;
                let room = (1500 - outer - segment.ip_length()) as usize;
                let fits = segment.clone().payload(&vec![7; room]);
                fixtures.push(way.fixture("it fits", bed, &fits)?);
                let large = segment.payload(&vec![7; room + 1]);
                fixtures.push(Fixture::dropped(
                    "one byte too many",
                    large.bytes(),
                    DropReason::TunnelTooBig,
                ));
            }
            fixtures.iter().try_for_each(|fixture| fixture.check(bed))?;
        }
        Ok(())
    })
}

#[test]
fn where_no_interface_has_vlans_tagged_frames_pass() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let way = Way::all()[0];
    for tags in TAGS {
        let frame = way.segment(&bed, Flags::SYN).tags(tags).bytes();
        for length in [14, 16, 18, frame.len()] {
            Fixture::passed("tagged", Side::Front, frame[..length].to_vec()).check(&mut bed)?;
        }
    }
    Ok(())
}
