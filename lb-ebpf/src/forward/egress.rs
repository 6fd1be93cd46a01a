//! The way out: the interface a frame came in by, or another through the device map.

use aya_ebpf::programs::XdpContext;
use lb_common::{abi::counters::DropReason, wire::ethernet::Ethernet};

use crate::{maps, settings, steer::Chosen, verdict::Verdict};

/// The way to a backend: how the frame leaves, and its addresses then.
pub(super) struct Way {
    pub(super) verdict: Verdict,
    to: u64,
    from: u64,
}

impl Way {
    /// Addresses the frame.
    #[inline(always)]
    pub(super) fn address(&self, ethernet: &mut Ethernet) {
        ethernet.set_addresses(self.to, self.from);
    }
}

/// Finds the way to a backend.
#[inline(always)]
pub(super) fn toward(context: &XdpContext, backend: &Chosen) -> Result<Way, Verdict> {
    let hop = backend.next_hop()?;
    let out = maps::port(hop.port()).ok_or(DropReason::NoEgress)?;
    let verdict = leave(context, hop.port(), out.ifindex)?;
    Ok(Way {
        verdict,
        to: hop.mac(),
        from: out.mac,
    })
}

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
