//! The ends of a run over veth: a generator of live frames, a bare relay, a sink that counts.

use aya_ebpf::{
    bindings::xdp_action,
    helpers::bpf_get_smp_processor_id,
    macros::{map, xdp},
    maps::{Array, DevMap, PerCpuArray},
    programs::XdpContext,
};
use lb_common::bench::{FRAME_MIN, Tally};

use crate::{Template, flows, write};

/// The frame that every packet begins as. Written by the benchmark.
#[map]
static FRAME: Array<Template> = Array::with_max_entries(1, 0);

/// Frames made, per CPU. Read by the benchmark.
#[map]
static MADE: PerCpuArray<Tally> = PerCpuArray::with_max_entries(1, 0);

/// Frames received, per CPU; wrong are those with another destination address than one of the
/// expected. Read by the benchmark.
#[map]
static RECEIVED: PerCpuArray<Tally> = PerCpuArray::with_max_entries(1, 0);

/// What the destination address of a received frame has to be, and which of its bits count, in
/// network order. Written by the benchmark.
#[map]
static EXPECTED: Array<[u32; 2]> = Array::with_max_entries(1, 0);

/// Where the relay sends everything. Written by the benchmark.
#[map]
static WAY_OUT: DevMap = DevMap::with_max_entries(1, 0);

/// Makes a frame. Pages are recycled with what the last program left in them, so all headers are
/// written. Each CPU goes through flows of its own.
#[xdp]
fn generator(context: XdpContext) -> u32 {
    let Some(made) = MADE.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    let Some(frame) = FRAME.get_ptr(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU.
    let number = unsafe {
        (*made).packets += 1;
        (*made).packets
    };
    // SAFETY: the helper has no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let number = (number as u32).wrapping_add(cpu << 16);
    match write(&context, frame, &flows(), number) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_ABORTED,
    }
}

/// What a forwarding program cannot do less than: everything out of another interface.
#[xdp]
fn relay(_context: XdpContext) -> u32 {
    WAY_OUT.redirect(0, 0).unwrap_or(xdp_action::XDP_ABORTED)
}

/// Counts and drops.
#[xdp]
fn sink(context: XdpContext) -> u32 {
    let data = context.data();
    if let (Some(received), Some(expected)) = (RECEIVED.get_ptr_mut(0), EXPECTED.get(0)) {
        let [address, mask] = expected;
        let right = data + FRAME_MIN <= context.data_end() && {
            // SAFETY: inside the frame, whose bounds were just checked: the IPv4 destination.
            let destination = unsafe { ((data + 30) as *const u32).read_unaligned() };
            destination & mask == *address
        };
        // SAFETY: a per-CPU value; XDP programs do not preempt each other on a CPU.
        unsafe {
            (*received).packets += 1;
            (*received).wrong += u64::from(!right);
        }
    }
    xdp_action::XDP_DROP
}
