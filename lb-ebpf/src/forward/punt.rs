//! A reply whose next hop the kernel does not know yet must not be lost, and the kernel must be made
//! to ask for it. The daemon does both by sending the packet through a raw socket: unlike forwarding
//! by the kernel, that works also where the VIP is an address of this host.

use aya_ebpf::{helpers::generated::bpf_xdp_load_bytes, programs::XdpContext};
use lb_common::abi::punt::{PUNT_MAX, Punt};

use crate::{maps, settings, verdict::Verdict};

/// Hands the rewritten packet, `length` bytes behind its link header, to the daemon. With nobody
/// reading, or a packet too long, the kernel gets it.
#[inline(always)]
pub(super) fn send(context: &XdpContext, link: u32, length: u32) -> Verdict {
    let last = opaque(length.wrapping_sub(1));
    if last >= PUNT_MAX as u32 {
        return Verdict::Pass;
    }
    if settings::dry_run() {
        return Verdict::Punt;
    }
    let Some(mut entry) = maps::PUNTS.reserve::<Punt>(0) else {
        return Verdict::Pass;
    };
    // SAFETY: the entry holds PUNT_MAX bytes and `last` is less; the helper checks the packet.
    let copied =
        unsafe { bpf_xdp_load_bytes(context.ctx, link, entry.as_mut_ptr().cast(), last + 1) };
    if copied < 0 {
        entry.discard(0);
        return Verdict::Pass;
    }
    entry.submit(0);
    Verdict::Punt
}

/// The same value, of which the compiler knows nothing any more. It would compare one form of the
/// length and use another, and the verifier would not see that they are bounded alike.
#[inline(always)]
fn opaque(value: u32) -> u32 {
    // SAFETY: a local variable.
    unsafe { (&raw const value).read_volatile() }
}
