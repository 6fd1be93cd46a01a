//! Stage 2: is the packet for a VIP, and may it be?

use lb_common::{
    abi::{counters::DropReason, service::ServiceRecord, vip::VipKeyV4},
    wire::{Packet, ipv4::Ipv4},
};

use crate::{maps, verdict::Verdict};

/// The settings of the service that the packet addresses.
#[inline(always)]
pub(crate) fn find(packet: &Packet<'_>) -> Option<&'static ServiceRecord> {
    let key = VipKeyV4::new(
        packet.ip.destination(),
        packet.tcp.destination_port(),
        packet.ip.proto,
    );
    // SAFETY: the value is one word, inserted and deleted but never updated in place.
    let service = unsafe { maps::VIPS_IPV4.get(key) }.copied()?;
    maps::record(service)
}

/// Drops what no client of a VIP has reason to send.
#[inline(always)]
pub(crate) fn admit(packet: Packet<'_>) -> Result<Packet<'_>, Verdict> {
    if packet.fragmented {
        return Err(DropReason::Fragment.into());
    }
    if packet.tcp.flags().is_impossible() {
        return Err(DropReason::Malformed.into());
    }
    Ok(packet)
}
