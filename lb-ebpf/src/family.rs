//! The tables of each version of IP, for stages that are the same for both.

use aya_ebpf::maps::{HashMap, LruHashMap};
use lb_common::{
    abi::{
        flow::{FlowEntry, FlowKeyV4, FlowKeyV6},
        reply::{ReplyV4, ReplyV6},
        vip::{Vip, VipKeyV4, VipKeyV6},
    },
    family::{Family, V4, V6},
    wire::{Ip as _, ipv6::Ipv6},
};
use network_types::ip::Ipv4Hdr;

use crate::{
    lookup::{Lookup, table},
    maps,
};

/// A version of IP, and the tables that its packets are looked up in.
pub(crate) trait Tables: Family {
    /// `AF_INET`, `AF_INET6`.
    const AF: u8;

    /// VIPs to services.
    fn vips() -> Lookup<Self::VipKey, Vip>;
    /// Backends to the VIPs they answer for.
    fn replies() -> Lookup<Self::VipKey, Self::Reply>;
    /// Flows of slots in motion.
    fn flows() -> &'static HashMap<Self::FlowKey, FlowEntry>;
    /// Flows of services that are always tracked.
    fn always_flows() -> &'static LruHashMap<Self::FlowKey, FlowEntry>;

    /// The word of the kernel's `struct bpf_fib_lookup` that holds type of service or flow information.
    fn fib_class(ip: &Self::Header) -> u32;
    /// An address as that structure holds it: two words, IPv4 in the first half of the first.
    fn fib_address(address: Self::Address) -> [u64; 2];
}

impl Tables for V4 {
    const AF: u8 = 2;

    #[inline(always)]
    fn vips() -> Lookup<VipKeyV4, Vip> {
        table!(VIPS_IPV4, vips_ipv4)
    }

    #[inline(always)]
    fn replies() -> Lookup<VipKeyV4, ReplyV4> {
        table!(REPLIES_IPV4, replies_ipv4)
    }

    #[inline(always)]
    fn flows() -> &'static HashMap<FlowKeyV4, FlowEntry> {
        &maps::FLOWS_IPV4
    }

    #[inline(always)]
    fn always_flows() -> &'static LruHashMap<FlowKeyV4, FlowEntry> {
        &maps::ALWAYS_FLOWS_IPV4
    }

    #[inline(always)]
    fn fib_class(ip: &Ipv4Hdr) -> u32 {
        u32::from(ip.traffic_class())
    }

    #[inline(always)]
    fn fib_address(address: Self::Address) -> [u64; 2] {
        [u64::from(address.raw()), 0]
    }
}

impl Tables for V6 {
    const AF: u8 = 10;

    #[inline(always)]
    fn vips() -> Lookup<VipKeyV6, Vip> {
        table!(VIPS_IPV6, vips_ipv6)
    }

    #[inline(always)]
    fn replies() -> Lookup<VipKeyV6, ReplyV6> {
        table!(REPLIES_IPV6, replies_ipv6)
    }

    #[inline(always)]
    fn flows() -> &'static HashMap<FlowKeyV6, FlowEntry> {
        &maps::FLOWS_IPV6
    }

    #[inline(always)]
    fn always_flows() -> &'static LruHashMap<FlowKeyV6, FlowEntry> {
        &maps::ALWAYS_FLOWS_IPV6
    }

    #[inline(always)]
    fn fib_class(ip: &Ipv6) -> u32 {
        // Traffic class and flow label, without the version.
        ip.first_word().with_bits(0xf000_0000, 0).raw()
    }

    #[inline(always)]
    fn fib_address(address: Self::Address) -> [u64; 2] {
        let (first, last) = address.raw();
        [first, last]
    }
}
