//! Sluice's XDP program: a packet's whole way, from the driver to the backend.
//!
//! ```text
//! parse ──> service ──> steer ──> forward ──> out of the same port, or another
//!              │ not a VIP
//!              │            └─ a slot in motion ─> flows (the entry that the flow has, or gets)
//!              └──────> reply  (a dnat backend's answer, turned back into the VIP's)
//! ```
//!
//! Each stage takes what the one before learned and returns `Result<_, Verdict>`; here, and only
//! here, a verdict becomes an XDP action and is counted, once.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod family;
mod flows;
mod forward;
mod lookup;
mod maps;
mod object;
mod parse;
mod service;
mod settings;
mod steer;
mod trace;
mod verdict;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use lb_common::{
    family::{Family as _, V4, V6},
    wire::Packet,
};

use crate::{family::Tables, verdict::Verdict};

/// The program: judges one packet.
#[xdp]
#[inline(always)]
fn sluice(context: XdpContext) -> u32 {
    let (Ok(verdict) | Err(verdict)) = judge::<false>(&context);
    verdict.end().conclude()
}

/// The same for interfaces whose frames may lie in several buffers.
#[xdp(frags)]
#[inline(always)]
fn sluice_frags(context: XdpContext) -> u32 {
    let (Ok(verdict) | Err(verdict)) = judge::<true>(&context);
    verdict.end().conclude()
}

/// The same with a log record a packet; takes the other's place while somebody traces.
#[xdp]
#[inline(always)]
fn sluice_traced(context: XdpContext) -> u32 {
    trace::before::<false>(&context);
    let (Ok(verdict) | Err(verdict)) = judge::<false>(&context);
    trace::after::<false>(&context, verdict).conclude()
}

/// Both.
#[xdp(frags)]
#[inline(always)]
fn sluice_traced_frags(context: XdpContext) -> u32 {
    trace::before::<true>(&context);
    let (Ok(verdict) | Err(verdict)) = judge::<true>(&context);
    trace::after::<true>(&context, verdict).conclude()
}

#[inline(always)]
fn judge<const FRAGS: bool>(context: &XdpContext) -> Result<Verdict, Verdict> {
    let frame = parse::link::<FRAGS>(context)?;
    if frame.link.ether_type.is(V4::ETHER_TYPE) {
        walk::<V4>(context, parse::packet(frame)?)
    } else if settings::ipv6() && frame.link.ether_type.is(V6::ETHER_TYPE) {
        walk::<V6>(context, parse::packet(frame)?)
    } else {
        Ok(Verdict::Pass)
    }
}

#[inline(always)]
fn walk<F: Tables>(context: &XdpContext, packet: Packet<'_, F>) -> Result<Verdict, Verdict> {
    match service::find(&packet) {
        Some(record) => {
            let packet = service::admit(packet)?;
            let backend = steer::choose(record, &packet)?;
            forward::send(context, record, backend, packet)
        }
        None => forward::reply::send(context, packet),
    }
}
