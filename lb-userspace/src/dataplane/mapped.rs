//! An array map in this process's memory: slots, records and backends are written without a system
//! call each, and words that the program may be reading are written whole.

use std::{
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData},
};
use memmap2::{MmapOptions, MmapRaw};

use super::{Error, error::Doing as _};

/// A `BPF_F_MMAPABLE` array whose values are `T`.
#[derive(Debug)]
pub(super) struct MappedArray<T> {
    memory: MmapRaw,
    length: u32,
    value: PhantomData<T>,
    /// Programs of the object that are loaded later name the map by its descriptor. None in tests.
    _map: Option<MapData>,
}

impl<T: Pod> MappedArray<T> {
    /// Array values have a stride of 8 bytes; ours fill it, so that a value is where Rust has it.
    const STRIDE: () = assert!(size_of::<T>().is_multiple_of(8));

    /// Takes the array out of a loaded object and maps all of it.
    pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, Error> {
        let () = Self::STRIDE;
        let Some(Map::Array(data)) = ebpf.take_map(name) else {
            return Err(Error::Missing(name));
        };
        let length = data
            .info()
            .map(|info| info.max_entries())
            .map_err(|source| Error::Map { map: name, source })?;
        let memory = MmapOptions::new()
            .len(length as usize * size_of::<T>())
            .map_raw(data.fd().as_fd().as_raw_fd())
            .doing(|| format!("mapping {name} into memory"))?;
        Ok(Self {
            memory,
            length,
            value: PhantomData,
            _map: Some(data),
        })
    }

    /// Memory of this process alone, of zeros, like a new map.
    #[cfg(test)]
    pub(super) fn anonymous(length: u32) -> Self {
        let () = Self::STRIDE;
        let memory = MmapOptions::new()
            .len(length as usize * size_of::<T>())
            .map_anon()
            .unwrap();
        Self {
            memory: memory.into(),
            length,
            value: PhantomData,
            _map: None,
        }
    }

    /// Number of values.
    pub(super) const fn len(&self) -> u32 {
        self.length
    }

    /// Copies a value out. Words that the program or another writer changes meanwhile may be torn
    /// between one another, never within.
    pub(super) fn read(&self, index: u32) -> T {
        // SAFETY: `place` is inside the mapping; `T` is plain old data.
        unsafe { self.place(index).read_volatile() }
    }

    /// Copies a value in. Only for values that the program cannot reach.
    pub(super) fn write(&self, index: u32, value: &T) {
        // SAFETY: `place` is inside the mapping; `T` is plain old data.
        unsafe { self.place(index).write_volatile(*value) }
        // What makes the value reachable comes later, with Release.
        std::sync::atomic::fence(Ordering::Release);
    }

    /// Writes one word of a value that the program may be reading.
    pub(super) fn store_u32(&self, index: u32, offset: usize, word: u32) {
        self.word::<AtomicU32>(index, offset)
            .store(word, Ordering::Release);
    }

    /// Writes one word of a value that the program may be reading.
    pub(super) fn store_u64(&self, index: u32, offset: usize, word: u64) {
        self.word::<AtomicU64>(index, offset)
            .store(word, Ordering::Release);
    }

    /// Writes words one after the other, from the word with the number `first` on; each of them may be
    /// read meanwhile. For values that consist of such words.
    pub(super) fn store_words(&self, first: u32, words: impl ExactSizeIterator<Item = u32>) {
        let (first, count) = (first as usize, words.len());
        let all = self.length as usize * size_of::<T>() / size_of::<AtomicU32>();
        assert!(
            first <= all && count <= all - first,
            "{count} words from {first}"
        );
        let start = self.memory.as_mut_ptr().cast::<AtomicU32>();
        // SAFETY: inside the mapping (checked) and aligned, as in `word`; atomics may be shared, and
        // the mapping lives as long as self.
        let places = unsafe { std::slice::from_raw_parts(start.wrapping_add(first), count) };
        for (place, word) in places.iter().zip(words) {
            place.store(word, Ordering::Release);
        }
    }

    fn word<A>(&self, index: u32, offset: usize) -> &A {
        assert!(offset.is_multiple_of(size_of::<A>()) && offset + size_of::<A>() <= size_of::<T>());
        // SAFETY: inside the mapping and aligned (values start at multiples of 8 in a page-aligned
        // mapping); atomics have the layout of their integers, and the mapping lives as long as self.
        unsafe { &*self.place(index).cast::<u8>().add(offset).cast::<A>() }
    }

    fn place(&self, index: u32) -> *mut T {
        assert!(index < self.length, "index {index} of {}", self.length);
        self.memory
            .as_mut_ptr()
            .cast::<T>()
            .wrapping_add(index as usize)
    }
}
