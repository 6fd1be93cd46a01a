//! A reply whose next hop the kernel does not know yet must not be lost, and the kernel must be made
//! to ask for it. The daemon does both by sending the packet through a raw socket: unlike forwarding
//! by the kernel, that works also where the VIP is an address of this host.

use aya_ebpf::{helpers::generated::bpf_xdp_load_bytes, programs::XdpContext};
use lb_common::{
    abi::punt::{PUNT_MAX, Punt},
    wire::ethernet::Ethernet,
};

use crate::{maps, verdict::Verdict};

/// Hands the rewritten packet, `length` bytes from its IP header on, to the daemon. With nobody
/// reading, or a packet too long, the kernel gets it.
#[inline(always)]
pub(super) fn send(context: &XdpContext, length: u16) -> Verdict {
    let length = u32::from(length);
    if length == 0 || length > PUNT_MAX as u32 {
        return Verdict::Pass;
    }
    let Some(mut entry) = maps::PUNTS.reserve::<Punt>(0) else {
        return Verdict::Pass;
    };
    // SAFETY: the entry holds PUNT_MAX bytes and `length` is not more; the helper checks the packet.
    let copied = unsafe {
        bpf_xdp_load_bytes(
            context.ctx,
            Ethernet::LENGTH as u32,
            entry.as_mut_ptr().cast(),
            length,
        )
    };
    if copied < 0 {
        entry.discard(0);
        return Verdict::Pass;
    }
    entry.submit(0);
    Verdict::Punt
}
