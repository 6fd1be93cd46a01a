//! The limit on trace records, kept in the kernel so that a flood cannot drown the daemon.

/// A value of `TRACE_BUDGET`: how many records this CPU has written in the running second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceBudget {
    /// The second, since boot.
    pub second: u64,
    /// Records written in it.
    pub used: u64,
}

const _: () = assert!(size_of::<TraceBudget>() == 16);
