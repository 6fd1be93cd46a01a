//! The two versions of IP, for code that is the same for both: a marker each, with its address, its
//! header, and the keys of its tables.

use network_types::ip::Ipv4Hdr;

use crate::{
    abi::{
        flow::{FlowKeyV4, FlowKeyV6},
        lookup::LookupKey,
        reply::{ReplyV4, ReplyV6},
        service::{ServiceId, ServiceRecord, hash},
        vip::{VipKeyV4, VipKeyV6},
    },
    checksum::Delta,
    endian::{Be16, Be32, Be128},
    hash::{FlowHash, HashKey},
    tuple::FlowTuple,
    wire::{ip::Ip, ipv6::Ipv6, link::EtherType},
};

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub enum V4 {}

/// IPv6.
#[derive(Clone, Copy, Debug)]
pub enum V6 {}

/// A version of IP.
pub trait Family: Sized {
    /// An address.
    type Address: Copy + Eq;
    /// The header in place in a frame.
    type Header: Ip<Address = Self::Address>;
    /// Key of the service table, and of the reply table.
    type VipKey: LookupKey + 'static;
    /// Value of the reply table.
    type Reply: Reply<Address = Self::Address> + 'static;
    /// Key of the flow tables.
    type FlowKey: 'static;

    /// What announces it in a link header.
    const ETHER_TYPE: EtherType;

    /// The key of an address, port and protocol.
    fn vip_key(address: Self::Address, port: Be16, protocol: u8) -> Self::VipKey;
    /// The key of a flow.
    fn flow_key(flow: FlowTuple<Self::Address>) -> Self::FlowKey;
    /// The flow's hash: of its five parts, or of its source alone.
    fn hash(hashing: Hashing, flow: FlowTuple<Self::Address>) -> FlowHash;
    /// The address in a field that has room for either version.
    fn address(field: Be128) -> Self::Address;
    /// An address was replaced that a checksum covers.
    fn replaced(old: Self::Address, new: Self::Address) -> Delta;
    /// An address as IPv6 writes it: an IPv4 one is mapped (RFC 4291, section 2.5.5.2).
    fn mapped(address: Self::Address) -> Be128;
}

/// What a reply is turned back into.
pub trait Reply {
    /// An address.
    type Address;

    /// The VIP.
    fn address(&self) -> Self::Address;
    /// The VIP's port.
    fn port(&self) -> Be16;
    /// The service, for tracing.
    fn service(&self) -> ServiceId;
}

/// How a service hashes flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashing {
    /// The key.
    pub key: HashKey,
    /// Whether only the source counts.
    pub by_source: bool,
    /// The bits of an IPv4 source that then count.
    pub mask_ipv4: Be32,
    /// The bits of an IPv6 source that then count.
    pub mask_ipv6: Be128,
}

impl ServiceRecord {
    /// How flows find their slots in the range in force.
    #[inline(always)]
    pub const fn hashing(&self) -> Hashing {
        Hashing {
            key: self.hash_key,
            by_source: self.hash == hash::SOURCE,
            mask_ipv4: self.source_mask_ipv4,
            mask_ipv6: self.source_mask_ipv6,
        }
    }

    /// How flows find their slots in the range being left.
    #[inline(always)]
    pub const fn old_hashing(&self) -> Hashing {
        Hashing {
            key: self.old_hash_key,
            by_source: self.old_hash == hash::SOURCE,
            mask_ipv4: self.old_source_mask_ipv4,
            mask_ipv6: self.old_source_mask_ipv6,
        }
    }
}

impl Family for V4 {
    type Address = Be32;
    type Header = Ipv4Hdr;
    type VipKey = VipKeyV4;
    type Reply = ReplyV4;
    type FlowKey = FlowKeyV4;

    const ETHER_TYPE: EtherType = EtherType::IPV4;

    #[inline(always)]
    fn vip_key(address: Be32, port: Be16, protocol: u8) -> VipKeyV4 {
        VipKeyV4::new(address, port, protocol)
    }

    #[inline(always)]
    fn flow_key(flow: FlowTuple<Be32>) -> FlowKeyV4 {
        FlowKeyV4::new(flow)
    }

    #[inline(always)]
    fn hash(hashing: Hashing, flow: FlowTuple<Be32>) -> FlowHash {
        if hashing.by_source {
            return FlowHash::source_ipv4(hashing.key, flow.source & hashing.mask_ipv4);
        }
        FlowHash::ipv4(hashing.key, flow)
    }

    #[inline(always)]
    fn address(field: Be128) -> Be32 {
        field.leading()
    }

    #[inline(always)]
    fn replaced(old: Be32, new: Be32) -> Delta {
        Delta::NONE.replace32(old, new)
    }

    #[inline(always)]
    fn mapped(address: Be32) -> Be128 {
        let [a, b, c, d] = address.to_bytes();
        Be128::from_halves([0; 8], [0, 0, 0xff, 0xff, a, b, c, d])
    }
}

impl Family for V6 {
    type Address = Be128;
    type Header = Ipv6;
    type VipKey = VipKeyV6;
    type Reply = ReplyV6;
    type FlowKey = FlowKeyV6;

    const ETHER_TYPE: EtherType = EtherType::IPV6;

    #[inline(always)]
    fn vip_key(address: Be128, port: Be16, protocol: u8) -> VipKeyV6 {
        VipKeyV6::new(address, port, protocol)
    }

    #[inline(always)]
    fn flow_key(flow: FlowTuple<Be128>) -> FlowKeyV6 {
        FlowKeyV6::new(flow)
    }

    #[inline(always)]
    fn hash(hashing: Hashing, flow: FlowTuple<Be128>) -> FlowHash {
        if hashing.by_source {
            return FlowHash::source_ipv6(hashing.key, flow.source & hashing.mask_ipv6);
        }
        FlowHash::ipv6(hashing.key, flow)
    }

    #[inline(always)]
    fn address(field: Be128) -> Be128 {
        field
    }

    #[inline(always)]
    fn replaced(old: Be128, new: Be128) -> Delta {
        Delta::NONE.replace128(old, new)
    }

    #[inline(always)]
    fn mapped(address: Be128) -> Be128 {
        address
    }
}

impl Reply for ReplyV4 {
    type Address = Be32;

    #[inline(always)]
    fn address(&self) -> Be32 {
        self.address
    }

    #[inline(always)]
    fn port(&self) -> Be16 {
        self.port
    }

    #[inline(always)]
    fn service(&self) -> ServiceId {
        self.service
    }
}

impl Reply for ReplyV6 {
    type Address = Be128;

    #[inline(always)]
    fn address(&self) -> Be128 {
        self.address
    }

    #[inline(always)]
    fn port(&self) -> Be16 {
        self.port
    }

    #[inline(always)]
    fn service(&self) -> ServiceId {
        self.service
    }
}
