//! What aya does not do with hash maps: read them in batches, and take an element out in one step.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Pod;

/// Of `enum bpf_cmd`.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// Insert only.
const BPF_NOEXIST: u64 = 1;

/// The part of `union bpf_attr` for one element.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

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

const _: () = assert!(size_of::<Element>() == 32);
const _: () = assert!(size_of::<Batch>() == 56);

/// Some elements of a map.
pub(in crate::dataplane) struct Elements<K, V> {
    pub(in crate::dataplane) elements: Vec<(K, V)>,
    /// The bucket to go on from; `None` at the end.
    pub(in crate::dataplane) next: Option<u32>,
}

/// Reads up to `room` elements from bucket `from` on.
///
/// `K` and `V` must be of the map's sizes, multiples of 8 for `V`.
///
/// # Errors
/// `ENOSPC`: the first bucket alone holds more than `room`.
pub(in crate::dataplane) fn lookup_batch<K: Pod + Default, V: Pod + Default>(
    map: BorrowedFd<'_>,
    from: Option<u32>,
    room: u32,
) -> io::Result<Elements<K, V>> {
    let mut keys = vec![K::default(); room as usize];
    let mut values = vec![V::default(); room as usize];
    let mut next = 0_u32;
    let mut attributes = Batch {
        in_batch: from.as_ref().map_or(0, |from| &raw const *from as u64),
        out_batch: &raw mut next as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: room,
        map: map.as_raw_fd() as u32,
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: `attributes` is a prefix of union bpf_attr of the size given. The kernel writes at
    // most `room` keys and values, which the vectors have room for, and one u32 to `next` (for hash
    // maps a position is a bucket's number); all of it lives until after the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_LOOKUP_BATCH,
            &raw mut attributes,
            size_of::<Batch>(),
        )
    };
    let more = match result {
        0 => true,
        _ => match io::Error::last_os_error() {
            // The end of the table; `count` elements were read before it.
            error if error.raw_os_error() == Some(libc::ENOENT) => false,
            error => return Err(error),
        },
    };
    let elements = keys.into_iter().zip(values);
    let elements = elements.take(attributes.count as usize).collect();
    Ok(Elements {
        elements,
        next: more.then_some(next),
    })
}

/// Reads an element. In a table that forgets, this does not count as use.
///
/// # Errors
/// `ENOENT`: there is none.
pub(in crate::dataplane) fn lookup<K: Pod, V: Pod + Default>(
    map: BorrowedFd<'_>,
    key: &K,
) -> io::Result<V> {
    let mut value = V::default();
    element(BPF_MAP_LOOKUP_ELEM, map, key, &raw mut value as u64, 0)?;
    Ok(value)
}

/// Takes an element out.
///
/// # Errors
/// `ENOENT`: there is none.
pub(in crate::dataplane) fn lookup_and_delete<K: Pod, V: Pod + Default>(
    map: BorrowedFd<'_>,
    key: &K,
) -> io::Result<V> {
    let mut value = V::default();
    element(
        BPF_MAP_LOOKUP_AND_DELETE_ELEM,
        map,
        key,
        &raw mut value as u64,
        0,
    )?;
    Ok(value)
}

/// Puts an element in.
///
/// # Errors
/// `EEXIST`: there is one of this key. `E2BIG`: the map is full.
pub(in crate::dataplane) fn insert<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
) -> io::Result<()> {
    element(
        BPF_MAP_UPDATE_ELEM,
        map,
        key,
        &raw const *value as u64,
        BPF_NOEXIST,
    )
}

/// Nanoseconds of `CLOCK_MONOTONIC`, which the program reads too.
pub(in crate::dataplane) fn monotonic_nanoseconds() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes the struct, which outlives the call; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn element<K>(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: &K,
    value: u64,
    flags: u64,
) -> io::Result<()> {
    let attributes = Element {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: &raw const *key as u64,
        value,
        flags,
    };
    // SAFETY: `attributes` is a prefix of union bpf_attr of the size given; key and value are of the
    // map's sizes and live until after the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const attributes,
            size_of::<Element>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
