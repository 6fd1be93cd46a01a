//! Every map. Sizes of the lists are placeholders of one entry; user space sets them when it loads the
//! program.

use core::mem::offset_of;

use aya_ebpf::{
    macros::map,
    maps::{LpmTrie, PerCpuArray, lpm_trie::Key},
};
use lb_common::{
    abi::decap::DecapCounter,
    endian::{Be32, Be128},
    wire::tunnel::Sources,
};

/// The program cannot write the map.
const READ_ONLY: u32 = 1 << 7;

/// IPv4 prefixes that tunnels may come from, to `LISTED`. Written before the program is attached, and not
/// again. As many entries as there are prefixes.
#[map]
static DECAP_SOURCES_IPV4: LpmTrie<Be32, u8> = LpmTrie::with_max_entries(1, READ_ONLY);

/// The same for IPv6.
#[map]
static DECAP_SOURCES_IPV6: LpmTrie<Be128, u8> = LpmTrie::with_max_entries(1, READ_ONLY);

/// `DecapCounter` to number of frames, per CPU. Written here, read by user space.
#[map]
static DECAP_COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(DecapCounter::COUNT, 0);

/// The lists of sources, in the maps.
pub(crate) struct Lists;

/// A key with `address` where a word of 8 bytes may be stored on the stack: the verifier wants such stores
/// aligned, and the map's own type of keys is packed.
#[repr(C, align(8))]
struct Aligned<A> {
    unused: u32,
    bits: u32,
    address: A,
}

impl<A> Aligned<A> {
    #[inline(always)]
    const fn new(bits: u32, address: A) -> Self {
        Self {
            unused: 0,
            bits,
            address,
        }
    }

    /// The key itself, which begins with its length.
    #[inline(always)]
    const fn key(&self) -> &Key<A> {
        const { assert!(offset_of!(Self, address) == offset_of!(Self, bits) + size_of::<u32>()) }
        // SAFETY: length and address follow each other (checked), as in the key, which has no alignment.
        unsafe { &*(&raw const *self).byte_add(offset_of!(Self, bits)).cast() }
    }
}

impl Sources for Lists {
    #[inline(always)]
    fn has_ipv4(&self, source: Be32) -> bool {
        let key = Aligned::new(32, source);
        DECAP_SOURCES_IPV4.get(key.key()).is_some()
    }

    #[inline(always)]
    fn has_ipv6(&self, source: Be128) -> bool {
        let key = Aligned::new(128, source);
        DECAP_SOURCES_IPV6.get(key.key()).is_some()
    }
}

/// Counts a frame.
#[inline(always)]
pub(crate) fn count(counter: DecapCounter) {
    if let Some(counter) = DECAP_COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU.
        unsafe { *counter += 1 }
    }
}
