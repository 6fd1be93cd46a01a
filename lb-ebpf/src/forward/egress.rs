//! The way out: the interface a frame came in by, or another through the device map.

use aya_ebpf::programs::XdpContext;
use lb_common::abi::counters::DropReason;

use crate::{maps, settings, verdict::Verdict};

/// Chooses between sending back and redirecting. `port` is the index of the interface to leave by,
/// `ifindex` its kernel index.
#[inline(always)]
pub(super) fn leave(context: &XdpContext, port: u32, ifindex: u32) -> Result<Verdict, Verdict> {
    if !settings::redirect() || ifindex == context.ingress_ifindex() as u32 {
        return Ok(Verdict::Transmit);
    }
    match maps::DEVICES.redirect(port, 0) {
        Ok(_) => Ok(Verdict::Redirect),
        Err(_) => Err(DropReason::NoEgress.into()),
    }
}
