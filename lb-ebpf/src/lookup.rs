//! Looking a key up without a call into the kernel: `lb_common::abi::lookup` says how such a table is laid
//! out, and why it may be written meanwhile.

use core::mem::MaybeUninit;

use aya_ebpf::maps::Array;
use lb_common::{
    abi::lookup::{KEYS_PER_ROW, LookupKey, Places, Row, Rows},
    verifier::forget,
};

/// How many rows each table has. Set by the daemon before loading, frozen after; see `settings`.
#[unsafe(no_mangle)]
pub(crate) static ROWS: MaybeUninit<Rows> = MaybeUninit::new(Rows {
    vips_ipv4: 0,
    vips_ipv6: 0,
    replies_ipv4: 0,
    replies_ipv6: 0,
});

/// A look-up table.
pub(crate) struct Lookup<K: 'static, V: 'static> {
    array: &'static Array<Row<K, V>>,
    rows: u32,
}

/// Names a table by its map and its field of [`ROWS`].
macro_rules! table {
    ($map:ident, $rows:ident) => {{
        // SAFETY: initialised, all of it, and only ever replaced by other `Rows`.
        let rows = unsafe { (&raw const (*$crate::lookup::ROWS.as_ptr()).$rows).read_volatile() };
        $crate::lookup::Lookup::new(&$crate::maps::$map, rows)
    }};
}
pub(crate) use table;

impl<K: LookupKey, V> Lookup<K, V> {
    #[inline(always)]
    pub(crate) const fn new(array: &'static Array<Row<K, V>>, rows: u32) -> Self {
        Self { array, rows }
    }

    /// The value of a key. It stays as it is until the program ends, even where the key goes meanwhile.
    #[inline(always)]
    pub(crate) fn find(&self, key: &K) -> Option<&'static V> {
        let hash = key.hash();
        let Places { first, second } = Places::of(hash, self.rows);
        let any = hash as u8;
        match in_row(self.array.get_ptr(first)?, key, any) {
            None => in_row(self.array.get_ptr(second)?, key, any),
            found => found,
        }
    }
}

#[inline(always)]
fn in_row<K: LookupKey, V>(row: *const Row<K, V>, key: &K, any: u8) -> Option<&'static V> {
    // SAFETY: within the row.
    let (keys, values) = unsafe { (&raw const (*row).keys, &raw const (*row).values) };
    for place in 0..KEYS_PER_ROW {
        // SAFETY: within the keys.
        if unsafe { key.is_at(keys.cast::<K>().add(place)) } {
            // What follows is the same for the verifier, wherever the key stands.
            let place = forget(place as u32, any) as usize % KEYS_PER_ROW;
            // SAFETY: within the values; an array value is never unmapped, and this one is not changed
            // while a program runs that found its key.
            return unsafe { values.cast::<V>().add(place).as_ref() };
        }
    }
    None
}
