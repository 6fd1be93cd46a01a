//! `dsr`: the link header changes, and nothing else but the time to live.

use anyhow::Result;
use lb_common::{
    abi::counters::{BackendCounters, DropReason},
    wire::tcp::Flags,
};
use testbed::packets::{Bed, CLIENT_MAC, Expect, Fixture, Outcome, Segment, Side, backend_mac};

const EVERY_PORT: &str = r#"
[[service]]
name = "everything"
listen = ["tcp://10.77.0.80:0", "udp://10.77.0.80:0"]
forward = "dsr"
[[service.backend]]
name = "b1"
address = "10.77.2.11"
"#;

fn to_backend(name: &'static str, backend: &'static str, bed: &Bed, segment: &Segment) -> Fixture {
    let octet = if backend == "b1" { 11 } else { 12 };
    let out = segment
        .clone()
        .link(bed.mac(Side::Back), backend_mac(octet))
        .ttl(segment.ttl - 1);
    let new_flows = u64::from(segment.flags == Some(Flags::SYN));
    let counted = BackendCounters {
        packets: 1,
        bytes: segment.ip_length(),
        new_flows,
    };
    Fixture {
        name,
        from: Side::Front,
        packet: segment.bytes(),
        expect: Expect {
            outcome: Outcome::Redirect,
            frame: Some(out.bytes()),
            counted: Some((backend, counted)),
        },
    }
}

fn segment(bed: &Bed, to: &str, flags: u8) -> Segment {
    Segment::new("10.77.1.10:40000", to, flags).link(CLIENT_MAC, bed.mac(Side::Front))
}

#[test]
fn every_port_of_the_vip_reaches_the_backend_as_it_is() -> Result<()> {
    let Some(mut bed) = Bed::new(EVERY_PORT)? else {
        return Ok(());
    };
    for port in [1, 22, 80, 65_535] {
        let tcp = segment(&bed, &format!("10.77.0.80:{port}"), Flags::SYN);
        to_backend("TCP", "b1", &bed, &tcp).check(&mut bed)?;
        let udp = Segment::datagram("10.77.1.10:40000", &format!("10.77.0.80:{port}"), b"data")
            .link(CLIENT_MAC, bed.mac(Side::Front));
        to_backend("UDP", "b1", &bed, &udp).check(&mut bed)?;
    }
    let other = segment(&bed, "10.77.0.81:80", Flags::SYN);
    let expect = Expect::untouched(Outcome::Pass);
    Fixture {
        name: "another address",
        from: Side::Front,
        packet: other.bytes(),
        expect,
    }
    .check(&mut bed)
}

#[test]
fn a_service_of_one_port_goes_before_one_of_every_port() -> Result<()> {
    let services = format!(
        "{EVERY_PORT}\n[[service]]\nname = \"web\"\nlisten = [\"tcp://10.77.0.80:80\"]\nforward \
         = \"dsr\"\n[[service.backend]]\nname = \"b2\"\naddress = \"10.77.2.12\"\n"
    );
    let Some(mut bed) = Bed::new(&services)? else {
        return Ok(());
    };
    let web = segment(&bed, "10.77.0.80:80", Flags::ACK);
    to_backend("the port that is named", "b2", &bed, &web).check(&mut bed)?;
    let other = segment(&bed, "10.77.0.80:81", Flags::ACK);
    to_backend("any other", "b1", &bed, &other).check(&mut bed)
}

#[test]
fn dnat_and_dsr_services_stand_side_by_side() -> Result<()> {
    let services = format!(
        "{EVERY_PORT}\n[[service]]\nname = \"web\"\nlisten = [\"tcp://10.77.0.90:80\"]\n\
         [[service.backend]]\nname = \"b2\"\naddress = \"10.77.2.12:8080\"\n"
    );
    let Some(mut bed) = Bed::new(&services)? else {
        return Ok(());
    };
    let kept = segment(&bed, "10.77.0.80:443", Flags::SYN);
    to_backend("dsr", "b1", &bed, &kept).check(&mut bed)?;
    let rewritten = segment(&bed, "10.77.0.90:80", Flags::SYN);
    let mut fixture = to_backend("dnat", "b2", &bed, &rewritten);
    let mut out = rewritten.link(bed.mac(Side::Back), backend_mac(12)).ttl(63);
    out.destination = "10.77.2.12:8080".parse()?;
    fixture.expect.frame = Some(out.bytes());
    fixture.check(&mut bed)
}

#[test]
fn no_reply_of_a_dsr_backend_is_touched() -> Result<()> {
    let Some(mut bed) = Bed::new(EVERY_PORT)? else {
        return Ok(());
    };
    let packet = Segment::new("10.77.2.11:80", "10.77.1.10:40000", Flags::ACK)
        .link(backend_mac(11), bed.mac(Side::Back))
        .bytes();
    let expect = Expect::untouched(Outcome::Pass);
    Fixture {
        name: "from the backend's own address",
        from: Side::Back,
        packet,
        expect,
    }
    .check(&mut bed)
}

#[test]
fn a_packet_at_its_last_hop_expires() -> Result<()> {
    let Some(mut bed) = Bed::new(EVERY_PORT)? else {
        return Ok(());
    };
    let packet = segment(&bed, "10.77.0.80:80", Flags::SYN).ttl(1).bytes();
    let expect = Expect::untouched(Outcome::Drop(DropReason::TtlExpired));
    Fixture {
        name: "expired",
        from: Side::Front,
        packet,
        expect,
    }
    .check(&mut bed)
}
