//! Every map. Sizes of the lists are placeholders of one entry; user space sets them when it loads the
//! program.

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
static DECAP_SOURCES_IPV4: LpmTrie<[u32; 1], u8> = LpmTrie::with_max_entries(1, READ_ONLY);

/// The same for IPv6.
#[map]
static DECAP_SOURCES_IPV6: LpmTrie<[u32; 4], u8> = LpmTrie::with_max_entries(1, READ_ONLY);

/// `DecapCounter` to number of frames, per CPU. Written here, read by user space.
#[map]
static DECAP_COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(DecapCounter::COUNT, 0);

/// The lists of sources, in the maps.
pub(crate) struct Lists;

impl Sources for Lists {
    #[inline(always)]
    fn has_ipv4(&self, source: Be32) -> bool {
        let key = Key::new(32, [source.raw()]);
        DECAP_SOURCES_IPV4.get(&key).is_some()
    }

    #[inline(always)]
    fn has_ipv6(&self, source: Be128) -> bool {
        let (first, last) = source.raw();
        // In words of four bytes: the key is packed, and the verifier wants stores on the stack aligned.
        let words = [
            first as u32,
            (first >> 32) as u32,
            last as u32,
            (last >> 32) as u32,
        ];
        DECAP_SOURCES_IPV6.get(&Key::new(128, words)).is_some()
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
