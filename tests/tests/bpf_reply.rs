//! A backend's answer on its way back: the VIP's again, or left alone.

use anyhow::{Context, Result};
use lb_common::{
    abi::{counters::DropReason, punt::PUNT_MAX},
    wire::tcp::Flags,
};
use testbed::packets::{
    Bed, CLIENT_MAC, Expect, Fixture, Outcome, Segment, Side, WEB, backend_mac,
};

/// The backend's segment as it comes in.
fn answer(bed: &Bed, to: &str, flags: u8) -> Segment {
    Segment::new("10.77.2.11:8080", to, flags).link(backend_mac(11), bed.mac(Side::Back))
}

/// The same as the client must see it.
fn translated(bed: &Bed, segment: &Segment) -> Segment {
    let mut out = segment.clone().link(bed.mac(Side::Front), CLIENT_MAC);
    out.source = "10.77.0.80:80".parse().expect("an address");
    out.ttl -= 1;
    out
}

fn untouched(name: &'static str, from: Side, segment: &Segment, outcome: Outcome) -> Fixture {
    Fixture {
        name,
        from,
        packet: segment.bytes(),
        expect: Expect::untouched(outcome),
    }
}

#[test]
fn an_answer_leaves_with_the_vip_as_its_source() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let accept = answer(&bed, "10.77.1.10:40000", Flags::SYN | Flags::ACK);
    let data = answer(&bed, "10.77.1.10:40000", Flags::ACK).payload(b"HTTP/1.1 200 OK\r\n\r\n");
    let mut options = data.clone();
    options.options = vec![1; 12];
    let fixtures = [
        ("a SYN and ACK", accept),
        ("a payload", data.clone()),
        ("a full packet", data.clone().payload(&[7; 1460])),
        ("a RST", answer(&bed, "10.77.1.10:40000", Flags::RST)),
        ("IP options", options),
        ("the last hop", data.ttl(2)),
    ];
    for (name, segment) in fixtures {
        Fixture {
            name,
            from: Side::Back,
            packet: segment.bytes(),
            expect: Expect {
                outcome: Outcome::Redirect,
                frame: Some(translated(&bed, &segment).bytes()),
                counted: None,
            },
        }
        .check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn an_answer_to_this_host_itself_is_left_alone() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    for to in ["10.77.2.1:50000", "10.77.1.1:50000"] {
        let segment = answer(&bed, to, Flags::SYN | Flags::ACK);
        untouched(
            "a health check's answer",
            Side::Back,
            &segment,
            Outcome::Pass,
        )
        .check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn only_backends_own_ports_on_their_own_side_are_translated() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let client = "10.77.1.10:40000";
    let mut other_port = answer(&bed, client, Flags::ACK);
    other_port.source.set_port(22);
    let mut other_host = answer(&bed, client, Flags::ACK);
    other_host.source.set_ip([10, 77, 2, 12].into());
    let spoofed = answer(&bed, client, Flags::ACK).link(CLIENT_MAC, bed.mac(Side::Front));
    let fixtures = [
        untouched(
            "another port of the backend",
            Side::Back,
            &other_port,
            Outcome::Pass,
        ),
        untouched("another host", Side::Back, &other_host, Outcome::Pass),
        untouched(
            "spoofed from the clients' side",
            Side::Front,
            &spoofed,
            Outcome::Pass,
        ),
    ];
    fixtures
        .iter()
        .try_for_each(|fixture| fixture.check(&mut bed))
}

#[test]
fn an_answer_at_its_last_hop_expires() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let segment = answer(&bed, "10.77.1.10:40000", Flags::ACK).ttl(1);
    let expired = Outcome::Drop(DropReason::TtlExpired);
    untouched("expired", Side::Back, &segment, expired).check(&mut bed)
}

#[test]
fn an_answer_larger_than_its_route_allows_is_dropped() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    bed.host().set_mtu("front", 1000)?;
    let large = answer(&bed, "10.77.1.10:40000", Flags::ACK).payload(&[1; 1200]);
    let too_big = Outcome::Drop(DropReason::TooBig);
    untouched("1240 bytes into 1000", Side::Back, &large, too_big).check(&mut bed)
}

#[test]
fn an_answer_without_a_route_is_the_kernels() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let segment = answer(&bed, "192.0.2.1:40000", Flags::ACK);
    untouched("no route", Side::Back, &segment, Outcome::Pass).check(&mut bed)
}

#[test]
fn an_answer_to_a_neighbour_not_yet_known_is_handed_to_the_daemon() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let mut punts = bed.dataplane().take_punts().context("given out once")?;
    let segment = answer(&bed, "10.77.1.77:40000", Flags::SYN | Flags::ACK);
    // All but the link header is ready to send.
    let mut out = translated(&bed, &segment);
    out.link = segment.link;
    Fixture {
        name: "a new neighbour",
        from: Side::Back,
        packet: segment.bytes(),
        expect: Expect {
            outcome: Outcome::Punt,
            frame: Some(out.bytes()),
            counted: None,
        },
    }
    .check(&mut bed)?;
    let punted = punts.next().context("one packet")?;
    let packet = &out.bytes()[14..];
    assert_eq!((punted.len(), &punted[..packet.len()]), (PUNT_MAX, packet));
    Ok(())
}

#[test]
fn with_nobody_reading_the_kernel_gets_what_cannot_be_handed_over() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let packet = answer(&bed, "10.77.1.77:40000", Flags::SYN | Flags::ACK).bytes();
    let mut passed = 0;
    for _ in 0..40 {
        // XDP_PASS and XDP_DROP.
        match bed.run(Side::Back, &packet)?.action {
            2 => passed += 1,
            action => assert_eq!((action, passed), (1, 0), "full, it stays full"),
        }
    }
    assert_eq!(passed, 9, "31 packets fit");
    Ok(())
}
