//! The way back of `dnat`: a backend's answer leaves with the VIP as its source.
//!
//! No state is kept. A reply is told by the interface it comes in by (one that faces backends) and
//! by its source (a backend's address, port and protocol); the kernel's routes say where it goes.
//! What is addressed to this host itself stays as it is: the daemon's own health checks.

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as FibLookup, bpf_fib_lookup__bindgen_ty_1, bpf_fib_lookup__bindgen_ty_2,
        bpf_fib_lookup__bindgen_ty_3, bpf_fib_lookup__bindgen_ty_4, bpf_fib_lookup__bindgen_ty_5,
    },
    helpers::bpf_fib_lookup,
    programs::XdpContext,
};
use lb_common::{
    abi::{backend::NextHop, counters::DropReason, reply::ReplyV4, vip::VipKeyV4},
    checksum::Delta,
    wire::{Packet, ipv4::Ipv4},
};

use super::{egress, punt};
use crate::{maps, settings, verdict::Verdict};

/// `AF_INET`.
const AF_INET: u8 = 2;

/// What the kernel's routes say.
enum Route {
    /// Known in full: where to, from which MAC, out of which interface.
    Resolved { to: u64, from: u64, ifindex: u32 },
    /// The next hop's link-layer address is not known yet.
    Unresolved,
}

/// Rewrites the packet if it is a backend's reply; passes it if not.
#[inline(always)]
pub(crate) fn send(context: &XdpContext, packet: Packet<'_>) -> Result<Verdict, Verdict> {
    if !settings::dnat() {
        return Ok(Verdict::Pass);
    }
    let Some(vip) = find(context, &packet) else {
        return Ok(Verdict::Pass);
    };
    match route(context, &packet)? {
        Route::Resolved { to, from, ifindex } => {
            if packet.ip.is_expiring() {
                return Err(DropReason::TtlExpired.into());
            }
            let port = maps::ingress(ifindex).ok_or(DropReason::NoEgress)?.port();
            let verdict = egress::leave(context, port, ifindex)?;
            let packet = rewrite(packet, vip);
            packet.ethernet.set_addresses(to, from);
            Ok(verdict)
        }
        Route::Unresolved => {
            if packet.ip.is_expiring() {
                return Err(DropReason::TtlExpired.into());
            }
            let length = packet.ip.total_length();
            rewrite(packet, vip);
            Ok(punt::send(context, length))
        }
    }
}

/// The VIP that the packet's source answers for.
#[inline(always)]
fn find(context: &XdpContext, packet: &Packet<'_>) -> Option<&'static ReplyV4> {
    let ingress = maps::ingress(context.ingress_ifindex() as u32)?;
    if !ingress.faces_backends() || packet.fragmented {
        return None;
    }
    let key = VipKeyV4::new(
        packet.ip.source(),
        packet.tcp.source_port(),
        packet.ip.proto,
    );
    // SAFETY: inserted and deleted but never updated in place; an entry deleted meanwhile is not
    // reused before the daemon's next barrier.
    unsafe { maps::REPLIES_IPV4.get(&key) }
}

/// Asks the kernel where the packet goes. Anything but a way on passes it to the kernel: it is for
/// this host, or the kernel knows what to answer.
#[inline(always)]
fn route(context: &XdpContext, packet: &Packet<'_>) -> Result<Route, Verdict> {
    // Every byte is written here: the helper must not read uninitialised stack, and zeroing the
    // whole first would be a loop over bytes.
    let mut query = FibLookup {
        family: AF_INET,
        l4_protocol: packet.ip.proto,
        sport: packet.tcp.source_port().raw(),
        dport: packet.tcp.destination_port().raw(),
        __bindgen_anon_1: bpf_fib_lookup__bindgen_ty_1 {
            tot_len: packet.ip.total_length(),
        },
        ifindex: context.ingress_ifindex() as u32,
        __bindgen_anon_2: bpf_fib_lookup__bindgen_ty_2 {
            rt_metric: u32::from(packet.ip.tos),
        },
        __bindgen_anon_3: bpf_fib_lookup__bindgen_ty_3 {
            ipv6_src: [packet.ip.source().raw(), 0, 0, 0],
        },
        __bindgen_anon_4: bpf_fib_lookup__bindgen_ty_4 {
            ipv6_dst: [packet.ip.destination().raw(), 0, 0, 0],
        },
        __bindgen_anon_5: bpf_fib_lookup__bindgen_ty_5 { tbid: 0 },
        smac: [0; 6],
        dmac: [0; 6],
    };
    // SAFETY: the context is the program's own, the query lives on this stack with its true size.
    let answer = unsafe {
        bpf_fib_lookup(
            context.ctx.cast(),
            &raw mut query,
            size_of::<FibLookup>() as i32,
            0,
        )
    };
    match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => Ok(Route::Resolved {
            to: mac(&query.dmac),
            from: mac(&query.smac),
            ifindex: query.ifindex,
        }),
        BPF_FIB_LKUP_RET_NO_NEIGH => Ok(Route::Unresolved),
        BPF_FIB_LKUP_RET_FRAG_NEEDED => Err(DropReason::TooBig.into()),
        _ => Err(Verdict::Pass),
    }
}

/// Six bytes as an integer, without copying them as an array.
#[inline(always)]
const fn mac(bytes: &[u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = *bytes;
    NextHop::new([a, b, c, d, e, f], 0).mac()
}

/// The source becomes the VIP; the time to live is one less.
#[inline(always)]
fn rewrite<'a>(packet: Packet<'a>, vip: &ReplyV4) -> Packet<'a> {
    let delta = Delta::NONE.replace32(packet.ip.source(), vip.address);
    packet.tcp.rewrite_source(vip.port, delta);
    packet.ip.src_addr = vip.address.to_bytes();
    packet.ip.forward(delta);
    packet
}
