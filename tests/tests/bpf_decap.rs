//! The backend's side of tunnels, packet by packet: what is taken off, and from whom.

use anyhow::Result;
use lb_common::abi::decap::DecapCounter;
use testbed::packets::{
    DecapBed,
    tunnel::{Encapsulation, Tunnel, datagram},
};

#[test]
fn first() -> Result<()> {
    let Some(mut bed) = DecapBed::new(&["10.77.2.1", "fd77:2::/64"])? else {
        return Ok(());
    };
    let inner = datagram("192.0.2.7:40000", "203.0.113.80:53", 0, b"question");
    let tunnel = Tunnel::new("10.77.2.1", "10.77.2.11", Encapsulation::Ipip, &inner);
    bed.check(
        "4in4",
        &tunnel.bytes(),
        DecapCounter::IpipIpv4,
        &tunnel.taken_off(),
    )
}
