//! What the kernel's verifier should not know. It walks through a program once for every value that it can
//! tell from others: through all that follows a loop once for each number of turns, unless it has lost
//! count.

/// The same value, of which the verifier knows nothing. `any` is one of which it knows nothing already,
/// such as a byte of a packet.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn forget(value: u32, any: u8) -> u32 {
    let mut unknown = u64::from(any);
    let mut value = u64::from(value);
    // SAFETY: two registers change, one of them by a zero: the difference of a number and itself, which the
    // verifier does not see in it.
    unsafe {
        core::arch::asm!(
            "r0 = {unknown}",
            "r0 -= {unknown}",
            "{value} += r0",
            unknown = inout(reg) unknown,
            value = inout(reg) value,
            out("r0") _,
            options(nomem, nostack),
        );
    }
    let _ = unknown;
    value as u32
}

/// The same value.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub const fn forget(value: u32, _any: u8) -> u32 {
    value
}
