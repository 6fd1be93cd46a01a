//! What Sluice's kernel program and its daemon share.
//!
//! - [`abi`]: the layout of every map, byte for byte, and its version.
//! - [`wire`]: packet parsing over one cursor; the same code runs in the kernel and in tests.
//! - [`family`]: IPv4 and IPv6, for code that is the same for both.
//! - [`mod@tuple`]: what tells one flow from another.
//! - [`hash`]: the keyed flow hash and the slot it leads to.
//! - [`ecn`]: congestion marks at the end of a tunnel (RFC 6040).
//! - [`checksum`]: how a checksum changes when a part of the packet does (RFC 1624).
//!
//! Nothing here allocates, panics or knows of aya (but for the `user` feature, which marks the map
//! types as plain old data).

#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod abi;
pub mod bench;
pub mod checksum;
pub mod ecn;
pub mod endian;
pub mod family;
pub mod hash;
pub mod tuple;
pub mod verifier;
pub mod wire;
