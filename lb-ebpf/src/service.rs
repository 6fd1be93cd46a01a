//! Stage 2: is the packet for a VIP, and may it be?

use lb_common::{
    abi::{
        counters::DropReason,
        service::{ServiceId, ServiceRecord},
    },
    endian::Be16,
    wire::{Ip as _, Packet},
};

use crate::{family::Tables, maps, settings, verdict::Verdict};

/// The key of a service that takes every port of its address.
const EVERY_PORT: Be16 = Be16::new(0);

/// The settings of the service that the packet addresses: by its port, or by its address alone.
#[inline(always)]
pub(crate) fn find<F: Tables>(packet: &Packet<'_, F>) -> Option<&'static ServiceRecord> {
    let service = match lookup(packet, packet.transport.destination_port()) {
        Some(service) => service,
        None if settings::any_port() => lookup(packet, EVERY_PORT)?,
        None => return None,
    };
    maps::record(service)
}

/// Drops what no client of a VIP has reason to send.
#[inline(always)]
pub(crate) fn admit<F: Tables>(packet: Packet<'_, F>) -> Result<Packet<'_, F>, Verdict> {
    if packet.fragmented {
        return Err(DropReason::Fragment.into());
    }
    if packet.transport.flags().is_impossible() {
        return Err(DropReason::Malformed.into());
    }
    if packet.ip.has_martian_source() {
        return Err(DropReason::MartianSource.into());
    }
    Ok(packet)
}

#[inline(always)]
fn lookup<F: Tables>(packet: &Packet<'_, F>, port: Be16) -> Option<&'static ServiceId> {
    let key = F::vip_key(packet.ip.destination(), port, packet.transport.protocol());
    F::vips().find(&key).map(|vip| &vip.service)
}
