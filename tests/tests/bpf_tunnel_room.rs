//! What fits a tunnel and what does not: the MTU of the way, the driver's room before the frame.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use lb_common::{
    abi::{
        backend::Backend,
        counters::{Counter, DropReason},
    },
    endian::Be128,
    wire::tcp::Flags,
};
use lb_userspace::plan::Write;
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, Fixture, GUE_PORT, Outer, Segment, Setup, Side, Way},
};

/// `enum xdp_action` of linux/bpf.h.
const DROP: u32 = 1;
const REDIRECT: u32 = 4;

#[test]
fn a_packet_that_just_fits_the_way_is_sent_and_a_larger_one_dropped() -> Result<()> {
    Way::each(Way::tunnels(), &Setup::PLAIN, |bed, way| {
        for (mtu, inner) in [
            (1500, way.segment(bed, Flags::ACK)),
            (1280, way.datagram(bed, b"")),
        ] {
            bed.set_mtu(mtu)?;
            let outer = way.outer(bed, &inner, Side::Back)?.length() as u64;
            let room = u64::from(mtu) - outer - inner.ip_length();
            let fits = inner.clone().payload(&vec![0x5a; room as usize]);
            way.fixture("it fits", bed, &fits)?.check(bed)?;
            let large = inner.payload(&vec![0x5a; room as usize + 1]);
            let too_big = DropReason::TunnelTooBig;
            Fixture::dropped("one byte too many", large.bytes(), too_big).check(bed)?;
            // What Ethernet padded is not too large for it.
            way.fixture("padding", bed, &fits)?
                .padded(&[0])
                .check(bed)?;
        }
        Ok(())
    })
}

#[test]
fn a_way_of_which_too_little_is_known_is_none() -> Result<()> {
    let of_unknown_source = Setup {
        knows_source: false,
        ..Setup::PLAIN
    };
    let of_unknown_mtu = Setup {
        mtu: None,
        ..Setup::PLAIN
    };
    for setup in [of_unknown_source, of_unknown_mtu] {
        Way::each(Way::tunnels(), &setup, |bed, way| {
            let packet = way.segment(bed, Flags::SYN).bytes();
            Fixture::dropped("no way", packet, DropReason::NoBackend).check(bed)
        })?;
    }
    Ok(())
}

/// A test run leaves as much room before a frame as most drivers (256 bytes), more than any tunnel needs,
/// and no kernel lets it have less. So the backend is the VIP itself, which no configuration may say, and
/// the packet goes round through the same frame until it has no more room.
#[test]
fn a_driver_without_room_for_an_outer_header_is_told() -> Result<()> {
    let way = Way {
        forward: Forward::Gue,
        inner: Family::Ipv4,
        outer: Family::Ipv4,
    };
    let vip = way.inner.vip().ip();
    let services = format!(
        "[[service]]\nname = \"round\"\nlisten = [\"udp://{vip}:{GUE_PORT}\"]\nforward = \"gue\"\n\
         [[service.backend]]\nname = \"u1\"\naddress = \"10.77.2.11\"\n"
    );
    let Some(mut bed) = Bed::new(&services)? else {
        return Ok(());
    };
    let index = bed.index("u1")?;
    let entry = Backend {
        address: Be128::from_leading(Ipv4Addr::new(10, 77, 0, 80).into()),
        ..*bed.image().backend(index).context("no backend")?
    };
    let entry = Box::new(entry);
    bed.force(vec![Write::Backend { index, entry }])?;
    let mut datagram = way.datagram(&bed, b"round and round");
    datagram.destination.set_port(GUE_PORT);
    let mut packet = datagram.packet();
    let mut rounds = 0;
    loop {
        rounds += 1;
        let ran = bed.run_again(Side::Front, &datagram.bytes(), rounds)?;
        if ran.action != REDIRECT {
            let no_headroom = Counter::dropped(DropReason::NoHeadroom);
            let redirected = u64::from(rounds) - 1;
            assert_eq!(ran.action, DROP);
            let counted = [(Counter::REDIRECT, redirected), (no_headroom, 1)];
            assert_eq!(ran.counters, counted.into());
            assert_eq!(ran.backends["u1"].packets, redirected);
            break;
        }
        packet = around_again(&bed, &datagram, &packet)?;
        assert!(
            ran.frame[14..] == packet,
            "round {rounds}: {:02x?}, not {packet:02x?}",
            &ran.frame[14..]
        );
    }
    // 256 bytes, less what the kernel keeps at their beginning: up to 64.
    assert!((6..=9).contains(&(rounds - 1)), "{rounds} rounds");
    Ok(())
}

/// A GUE packet for the VIP, inside another.
fn around_again(bed: &Bed, first: &Segment, packet: &[u8]) -> Result<Vec<u8>> {
    let header = etherparse::Ipv4HeaderSlice::from_slice(packet)?;
    let mut older = header.to_header();
    older.time_to_live -= 1;
    older.header_checksum = older.calc_header_checksum();
    let behind = &packet[usize::from(header.ihl()) * 4..];
    let (udp, _) = etherparse::UdpHeader::from_slice(behind)?;
    let flow = Segment {
        source: (header.source_addr(), udp.source_port).into(),
        ..first.clone()
    };
    let entropy = bed.hash(&flow)?.secondary();
    let outer = Outer {
        source: Side::Back.network(1).into(),
        destination: first.destination.ip(),
        traffic_class: 0,
        options: Vec::new(),
        flow_label: 0,
        ports: Some([0xc000 | (entropy & 0x3fff) as u16, GUE_PORT]),
    };
    let inner = [older.to_bytes().as_slice(), behind].concat();
    Ok(outer.around(&inner))
}
