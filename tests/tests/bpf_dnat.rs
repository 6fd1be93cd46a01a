//! A client's packet on its way to a backend: rewritten, sent, counted.

use anyhow::Result;
use lb_common::{abi::counters::BackendCounters, wire::tcp::Flags};
use testbed::packets::{
    Bed, CLIENT_MAC, Expect, Fixture, Outcome, Segment, Side, WEB, backend_mac,
};

/// The client's segment as it comes in.
fn segment(bed: &Bed, flags: u8) -> Segment {
    Segment::new("10.77.1.10:40000", "10.77.0.80:80", flags).link(CLIENT_MAC, bed.mac(Side::Front))
}

/// The same as the backend must see it.
fn forwarded(bed: &Bed, segment: &Segment) -> Segment {
    let mut out = segment.clone().link(bed.mac(Side::Back), backend_mac(11));
    out.destination = "10.77.2.11:8080".parse().expect("an address");
    out.ttl -= 1;
    out
}

fn counted(segment: &Segment, new_flows: u64) -> Option<(&'static str, BackendCounters)> {
    Some((
        "b1",
        BackendCounters {
            packets: 1,
            bytes: segment.ip_length(),
            new_flows,
        },
    ))
}

fn to_backend(name: &'static str, bed: &Bed, segment: &Segment, new_flows: u64) -> Fixture {
    Fixture {
        name,
        from: Side::Front,
        packet: segment.bytes(),
        expect: Expect {
            outcome: Outcome::Redirect,
            frame: Some(forwarded(bed, segment).bytes()),
            counted: counted(segment, new_flows),
        },
    }
}

#[test]
fn every_segment_of_a_connection_reaches_the_backend() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let syn = segment(&bed, Flags::SYN);
    let ack = segment(&bed, Flags::ACK);
    let fixtures = [
        to_backend("a SYN is a new flow", &bed, &syn, 1),
        to_backend("an ACK is not", &bed, &ack, 0),
        to_backend(
            "a payload",
            &bed,
            &ack.clone().payload(b"GET / HTTP/1.1\r\n\r\n"),
            0,
        ),
        to_backend("an odd payload", &bed, &ack.clone().payload(b"odd"), 0),
        to_backend(
            "a full packet",
            &bed,
            &ack.clone().payload(&[0xa5; 1460]),
            0,
        ),
        to_backend("a FIN", &bed, &segment(&bed, Flags::FIN | Flags::ACK), 0),
        to_backend("a RST", &bed, &segment(&bed, Flags::RST), 0),
        to_backend("no flag at all", &bed, &segment(&bed, 0), 0),
        to_backend("the last hop", &bed, &ack.clone().ttl(2), 0),
        to_backend("the farthest", &bed, &ack.ttl(255), 0),
    ];
    fixtures
        .iter()
        .try_for_each(|fixture| fixture.check(&mut bed))
}

#[test]
fn what_is_not_rewritten_stays() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let mut options = segment(&bed, Flags::ACK).payload(b"behind options");
    options.options = vec![1; 8];
    let mut class = segment(&bed, Flags::ACK);
    class.traffic_class = 0xb9;
    let fixtures = [
        to_backend("IP options", &bed, &options, 0),
        to_backend("DSCP and ECN", &bed, &class, 0),
    ];
    fixtures
        .iter()
        .try_for_each(|fixture| fixture.check(&mut bed))?;

    let mut longest = segment(&bed, Flags::SYN);
    longest.options = vec![1; 40];
    to_backend("the longest header", &bed, &longest, 1).check(&mut bed)
}

#[test]
fn padding_is_kept_and_not_counted() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    let segment = segment(&bed, Flags::SYN);
    let mut fixture = to_backend("padded to 60 bytes", &bed, &segment, 1);
    fixture.packet.resize(60, 0xee);
    if let Some(frame) = &mut fixture.expect.frame {
        frame.resize(60, 0xee);
    }
    fixture.check(&mut bed)
}

#[test]
fn checksums_stay_right_whatever_the_ports_and_bytes_are() -> Result<()> {
    let Some(mut bed) = Bed::new(WEB)? else {
        return Ok(());
    };
    // Walks through sums that carry once, twice and not at all.
    for step in 0..256_u16 {
        let mut segment =
            segment(&bed, Flags::ACK).payload(&(step.wrapping_mul(257)).to_be_bytes());
        segment.source.set_port(1 + step.wrapping_mul(251));
        to_backend("a walk over checksums", &bed, &segment, 0).check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_backend_without_a_port_gets_the_listeners() -> Result<()> {
    let services = r#"
[[service]]
name = "web"
listen = ["tcp://10.77.0.80:80", "tcp://10.77.0.80:443"]
[[service.backend]]
name = "b1"
address = "10.77.2.11"
"#;
    let Some(mut bed) = Bed::new(services)? else {
        return Ok(());
    };
    for port in [80, 443] {
        let mut segment = segment(&bed, Flags::SYN);
        segment.destination.set_port(port);
        let mut out = forwarded(&bed, &segment);
        out.destination.set_port(port);
        Fixture {
            name: "the port is kept",
            from: Side::Front,
            packet: segment.bytes(),
            expect: Expect {
                outcome: Outcome::Redirect,
                frame: Some(out.bytes()),
                counted: counted(&segment, 1),
            },
        }
        .check(&mut bed)?;
    }
    Ok(())
}

#[test]
fn a_backend_on_the_clients_side_is_reached_by_the_same_interface() -> Result<()> {
    let Some(mut bed) = Bed::new(&WEB.replace("10.77.2.11", "10.77.1.11"))? else {
        return Ok(());
    };
    let segment = segment(&bed, Flags::SYN);
    let mut out = segment
        .clone()
        .link(bed.mac(Side::Front), backend_mac(11))
        .ttl(63);
    out.destination = "10.77.1.11:8080".parse()?;
    Fixture {
        name: "sent back out of the front",
        from: Side::Front,
        packet: segment.bytes(),
        expect: Expect {
            outcome: Outcome::Transmit,
            frame: Some(out.bytes()),
            counted: counted(&segment, 1),
        },
    }
    .check(&mut bed)
}
