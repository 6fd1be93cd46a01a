//! The daemon's side of look-up tables (`lb_common::abi::lookup`): keys come and go in this process's memory
//! while the program reads.

use std::{io, mem::offset_of};

use aya::{Ebpf, Pod};
use lb_common::abi::lookup::{KEYS_PER_ROW, LookupKey, Places, Row};

use super::{Error, mapped::MappedArray, maps::refused};

/// A look-up table.
#[derive(Debug)]
pub(super) struct Lookup<K, V> {
    name: &'static str,
    rows: MappedArray<Row<K, V>>,
}

/// Where a key stands or can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    row: u32,
    /// Within the row.
    number: usize,
}

impl<K: LookupKey + Pod + PartialEq, V: Pod> Lookup<K, V> {
    /// Where the word of a key is that says whether it is there.
    const LAST_WORD: usize = size_of::<K>() - size_of::<u64>();

    /// Takes the table out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, Error> {
        let rows = MappedArray::take(ebpf, name)?;
        Ok(Self { name, rows })
    }

    /// Every key, with its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, V)> {
        (0..self.rows.len()).flat_map(|row| {
            let Row { keys, values } = self.rows.read(row);
            keys.into_iter()
                .zip(values)
                .filter(|(key, _)| !is_free(key))
        })
    }

    /// Adds a key. `settle` waits until no program runs that could have seen what was before; it is asked
    /// where other keys have to move, which is seldom.
    ///
    /// # Errors
    /// Where it is there already, where there is no room, or what `settle` says.
    pub(super) fn insert(
        &self,
        key: &K,
        value: &V,
        settle: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.held(key).next().is_some() {
            return Err(refused(self.name, io::ErrorKind::AlreadyExists));
        }
        let free = self
            .candidates(key)
            .find(|place| is_free(&self.key_at(*place)));
        let place = match free {
            Some(place) => place,
            None => self.make_room(key, settle)?,
        };
        self.put(place, key, value);
        Ok(())
    }

    /// Removes a key. Its place may be used again once a barrier has passed.
    ///
    /// # Errors
    /// Where it is not there.
    pub(super) fn remove(&self, key: &K) -> Result<(), Error> {
        // Twice where a daemon was killed that was moving it.
        let held: Vec<_> = self.held(key).collect();
        if held.is_empty() {
            return Err(refused(self.name, io::ErrorKind::NotFound));
        }
        held.into_iter().for_each(|place| self.clear(place));
        Ok(())
    }

    /// Moves a key that stands in the way to its other row. It is in both until no program runs that
    /// looked for it before, or one could miss it.
    fn make_room(
        &self,
        key: &K,
        mut settle: impl FnMut() -> Result<(), Error>,
    ) -> Result<Place, Error> {
        let moves = self.candidates(key).find_map(|from| {
            let to = self
                .candidates(&self.key_at(from))
                .find(|place| place.row != from.row && is_free(&self.key_at(*place)))?;
            Some((from, to))
        });
        let Some((from, to)) = moves else {
            return Err(refused(self.name, io::ErrorKind::StorageFull));
        };
        let Row { keys, values } = self.rows.read(from.row);
        self.put(to, &keys[from.number], &values[from.number]);
        settle()?;
        self.clear(from);
        settle()?;
        Ok(from)
    }

    /// The places of a key, in the order in which they are taken.
    fn candidates(&self, key: &K) -> impl Iterator<Item = Place> + use<K, V> {
        let Places { first, second } = Places::of(key.hash(), self.rows.len());
        let rows = [first, second]
            .into_iter()
            .take(if first == second { 1 } else { 2 });
        rows.flat_map(|row| (0..KEYS_PER_ROW).map(move |number| Place { row, number }))
    }

    /// Those where it stands.
    fn held(&self, key: &K) -> impl Iterator<Item = Place> {
        self.candidates(key)
            .filter(|place| self.key_at(*place) == *key)
    }

    fn key_at(&self, place: Place) -> K {
        self.rows.read(place.row).keys[place.number]
    }

    fn put(&self, place: Place, key: &K, value: &V) {
        let Place { row, number } = place;
        let at = offset_of!(Row<K, V>, values) + number * size_of::<V>();
        for (word, bytes) in words(value) {
            self.rows.store_u64(row, at + word, bytes);
        }
        // The last word comes last.
        for (word, bytes) in words(key) {
            self.rows
                .store_u64(row, key_offset::<K, V>(number) + word, bytes);
        }
    }

    fn clear(&self, place: Place) {
        let last = key_offset::<K, V>(place.number) + Self::LAST_WORD;
        self.rows.store_u64(place.row, last, 0);
    }
}

const fn key_offset<K, V>(number: usize) -> usize {
    offset_of!(Row<K, V>, keys) + number * size_of::<K>()
}

fn is_free<K: Pod>(key: &K) -> bool {
    words(key).last().is_none_or(|(_, word)| word == 0)
}

/// The words of a value, each with its offset.
fn words<T: Pod>(value: &T) -> impl Iterator<Item = (usize, u64)> {
    const { assert!(size_of::<T>().is_multiple_of(size_of::<u64>())) };
    let start = std::ptr::from_ref(value).cast::<u64>();
    (0..size_of::<T>() / size_of::<u64>()).map(move |word| {
        // SAFETY: inside the value, which is borrowed as long as the iterator is used and plain old data.
        let bytes = unsafe { start.add(word).read_unaligned() };
        (word * size_of::<u64>(), bytes)
    })
}

#[cfg(test)]
mod tests;
