//! Takes an outer header off a frame.

use aya_ebpf::{helpers::bpf_xdp_adjust_head, programs::XdpContext};
use lb_common::{
    abi::decap::DecapCounter,
    wire::{Link, tunnel::Opened},
};

use crate::cursor;

/// Moves the link header to the inner packet; VLAN tags stay, and the EtherType becomes the inner
/// packet's. Returns what to count.
#[inline(always)]
pub(crate) fn outer(context: &XdpContext, opened: Opened<'_>) -> DecapCounter {
    let Opened {
        link,
        outer_length,
        inner,
        counter,
    } = opened;
    // By value, before the frame changes: where the header goes it may overlap with where it was.
    let (tags, announcing) = (link.tags, link.ethernet.ether_type);
    let (destination, source) = (link.ethernet.destination(), link.ethernet.source());

    // SAFETY: the context is the program's own; every reference into the frame is gone, and it is looked
    // at anew below.
    if unsafe { bpf_xdp_adjust_head(context.ctx, outer_length as i32) } < 0 {
        return DecapCounter::Malformed;
    }
    match Link::write(&mut cursor(context), tags, announcing, inner) {
        Ok(ethernet) => {
            ethernet.set_addresses(destination, source);
            counter
        }
        // Cannot be: the inner header follows. The verifier wants to hear it.
        Err(_) => DecapCounter::Malformed,
    }
}
