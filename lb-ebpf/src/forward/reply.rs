//! The way back of `dnat`: a backend's answer leaves with the VIP as its source.
//!
//! No state is kept. A reply is told by the interface it comes in by (one that faces backends) and
//! by its source (a backend's address, port and protocol); the kernel's routes say where it goes.
//! What is addressed to this host itself stays as it is: the daemon's own health checks.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{
        self, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
    },
    helpers::bpf_fib_lookup,
    programs::XdpContext,
};
use lb_common::{
    abi::counters::DropReason,
    family::Reply as _,
    wire::{Ip as _, Packet},
};

use super::{egress, punt};
use crate::{family::Tables, maps, settings, verdict::Verdict};

/// The kernel's `struct bpf_fib_lookup` as whole words: filled field by field, its zeros would
/// become calls of a loop over bytes.
type FibLookup = [u64; 8];

const _: () = assert!(size_of::<FibLookup>() == size_of::<bindings::bpf_fib_lookup>());

/// What the kernel's routes say.
enum Route {
    /// Known in full: where to, from which MAC, out of which interface.
    Resolved { to: u64, from: u64, ifindex: u32 },
    /// The next hop's link-layer address is not known yet.
    Unresolved,
}

/// Rewrites the packet if it is a backend's reply; passes it if not.
#[inline(always)]
pub(crate) fn send<F: Tables>(
    context: &XdpContext,
    packet: Packet<'_, F>,
) -> Result<Verdict, Verdict> {
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
            packet.link.ethernet.set_addresses(to, from);
            Ok(verdict)
        }
        Route::Unresolved => {
            if packet.ip.is_expiring() {
                return Err(DropReason::TtlExpired.into());
            }
            let (link, length) = (packet.link.length(), packet.ip.total_length());
            rewrite(packet, vip);
            Ok(punt::send(context, link, length))
        }
    }
}

/// The VIP that the packet's source answers for.
#[inline(always)]
fn find<F: Tables>(context: &XdpContext, packet: &Packet<'_, F>) -> Option<&'static F::Reply> {
    let ingress = maps::ingress(context.ingress_ifindex() as u32)?;
    if !ingress.faces_backends() || packet.fragmented {
        return None;
    }
    let key = F::vip_key(
        packet.ip.source(),
        packet.transport.source_port(),
        packet.transport.protocol(),
    );
    F::replies().find(&key)
}

/// Asks the kernel where the packet goes. Anything but a way on passes it to the kernel: it is for
/// this host, or the kernel knows what to answer.
#[inline(always)]
fn route<F: Tables>(context: &XdpContext, packet: &Packet<'_, F>) -> Result<Route, Verdict> {
    let (ip, transport) = (&packet.ip, &packet.transport);
    let mut query = MaybeUninit::<FibLookup>::uninit();
    let words = query.as_mut_ptr().cast::<u64>();
    // SAFETY: eight words, every one written. Volatile, so that they stay eight stores. The context
    // is the program's own.
    let answer = unsafe {
        // Family, protocol, both ports, total length.
        words.write_volatile(
            u64::from(F::AF)
                | u64::from(transport.protocol()) << 8
                | u64::from(transport.source_port().raw()) << 16
                | u64::from(transport.destination_port().raw()) << 32
                | u64::from(ip.total_length()) << 48,
        );
        // Interface, type of service or flow information.
        words
            .add(1)
            .write_volatile(context.ingress_ifindex() as u64 | u64::from(F::fib_class(ip)) << 32);
        // Source and destination address, 16 bytes each.
        let ([a, b], [c, d]) = (
            F::fib_address(ip.source()),
            F::fib_address(ip.destination()),
        );
        words.add(2).write_volatile(a);
        words.add(3).write_volatile(b);
        words.add(4).write_volatile(c);
        words.add(5).write_volatile(d);
        // Table, then room for the source and the destination MAC.
        words.add(6).write_volatile(0);
        words.add(7).write_volatile(0);
        bpf_fib_lookup(
            context.ctx.cast(),
            words.cast(),
            size_of::<FibLookup>() as i32,
            0,
        )
    };
    match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => {
            // SAFETY: written above, and again by the helper.
            let [_, interface, _, _, _, _, low, high] = unsafe { query.assume_init_ref() };
            Ok(Route::Resolved {
                to: high >> 16,
                from: low >> 32 | (high & 0xffff) << 32,
                ifindex: *interface as u32,
            })
        }
        BPF_FIB_LKUP_RET_NO_NEIGH => Ok(Route::Unresolved),
        BPF_FIB_LKUP_RET_FRAG_NEEDED => Err(DropReason::TooBig.into()),
        _ => Err(Verdict::Pass),
    }
}

/// The source becomes the VIP; the time to live is one less.
#[inline(always)]
fn rewrite<'a, F: Tables>(mut packet: Packet<'a, F>, vip: &F::Reply) -> Packet<'a, F> {
    let delta = F::replaced(packet.ip.source(), vip.address());
    packet.transport.rewrite_source(vip.port(), delta);
    packet.ip.set_source(vip.address());
    packet.ip.forward(delta);
    packet
}
