//! The program's counters, read whole by one system call a map: reading them after each packet must cost
//! no more than the packet.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::{Pod, maps::MapData};

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd`.
const LOOKUP_BATCH: libc::c_long = 24;

/// The part of `union bpf_attr` for batches.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

const _: () = assert!(size_of::<Batch>() == 56);

/// A per-CPU array whose values are `N` words, and what it held when it was last read.
#[derive(Debug)]
pub(super) struct Counters<const N: usize> {
    map: MapData,
    cpus: usize,
    keys: Vec<u32>,
    now: Vec<u64>,
    before: Vec<u64>,
}

/// What was added to an index since the last look, the word's sums over the CPUs.
pub(super) type Changes<const N: usize> = BTreeMap<u32, [u64; N]>;

impl<const N: usize> Counters<N> {
    /// Opens the array pinned at `path`, of which the first `count` values are looked at. `T` is the
    /// value's type.
    pub(super) fn open<T: Pod>(path: &Path, count: u32) -> Result<Self> {
        const { assert!(size_of::<T>() == N * size_of::<u64>()) };
        let doing = || format!("opening {}", path.display());
        let map = MapData::from_pin(path).with_context(doing)?;
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| {
            anyhow::Error::new(error).context(format!("counting processors: {what}"))
        })?;
        let words = vec![0; count as usize * cpus * N];
        let mut counters = Self {
            map,
            cpus,
            keys: vec![0; count as usize],
            now: words.clone(),
            before: words,
        };
        counters.changes()?;
        Ok(counters)
    }

    /// What was added since the last look, where anything was.
    pub(super) fn changes(&mut self) -> Result<Changes<N>> {
        std::mem::swap(&mut self.now, &mut self.before);
        self.read().context("reading counters")?;
        let mut changes = BTreeMap::new();
        if self.now == self.before {
            return Ok(changes);
        }
        let values = self.now.chunks(N * self.cpus);
        let values = values.zip(self.before.chunks(N * self.cpus));
        for (index, (now, before)) in (0_u32..).zip(values) {
            if now == before {
                continue;
            }
            let mut change = [0; N];
            for (place, (now, before)) in now.iter().zip(before).enumerate() {
                let sum: &mut u64 = &mut change[place % N];
                *sum = sum.wrapping_add(now.wrapping_sub(*before));
            }
            changes.insert(index, change);
        }
        Ok(changes)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut next = 0_u32;
        let mut attributes = Batch {
            in_batch: 0,
            out_batch: &raw mut next as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.now.as_mut_ptr() as u64,
            count: self.keys.len() as u32,
            map: self.map.fd().as_fd().as_raw_fd() as u32,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: `attributes` is a prefix of union bpf_attr of the size given. The kernel writes at
        // most `count` keys of 4 bytes, as many values of N words for each possible CPU (a value's
        // size is a multiple of 8), and one u32 to `next`; all of it lives until after the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                LOOKUP_BATCH,
                &raw mut attributes,
                size_of::<Batch>(),
            )
        };
        match result {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                // The array ends here.
                error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                error => Err(error),
            },
        }
    }
}
