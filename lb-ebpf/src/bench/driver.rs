//! The driver of test runs: one packet of one flow after another, each handed on by a tail call.

use aya_ebpf::{
    bindings::xdp_action,
    helpers::bpf_xdp_adjust_head,
    macros::{map, xdp},
    maps::{Array, ProgramArray},
    programs::XdpContext,
};

use crate::{Template, flows, write};

/// The frame that every packet begins as. Written by the benchmark.
#[map]
static TEMPLATE: Array<Template> = Array::with_max_entries(1, 0);

/// Packets so far: the number of the next one. Written by the benchmark between runs.
#[map]
static NEXT: Array<u64> = Array::with_max_entries(1, 0);

/// The program under test. Written by the benchmark between runs.
#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Restores the frame, makes it the next flow's, and hands it on. Returns only where that fails.
#[xdp]
fn driver(context: XdpContext) -> u32 {
    if prepare(&context).is_some() {
        // SAFETY: nothing here needs to be dropped.
        unsafe { UNDER_TEST.tail_call(&context, 0) };
    }
    xdp_action::XDP_ABORTED
}

#[inline(always)]
fn prepare(context: &XdpContext) -> Option<()> {
    let flows = flows();
    // The frame is still as the last packet left it: with what was pushed, without what was popped.
    let length = context.data_end() as i64 - context.data() as i64;
    let pushed = length - i64::from(flows.length);
    if pushed != 0 {
        // SAFETY: the context is the program's own; the frame is looked at anew below.
        let moved = unsafe { bpf_xdp_adjust_head(context.ctx, pushed as i32) };
        if moved < 0 {
            return None;
        }
    }
    let next = NEXT.get_ptr_mut(0)?;
    let template = TEMPLATE.get_ptr(0)?;
    // SAFETY: an array value, aligned to 8; one test run at a time uses it.
    let number = unsafe {
        let number = *next;
        *next = number.wrapping_add(1);
        number
    };
    write(context, template, &flows, number as u32)
}
