//! The benchmark's XDP programs: a driver that feeds the program under test, floors to compare it
//! with, and the two ends of a run over veth. Never part of what is installed.
//!
//! ```text
//! test run:     driver ──tail call──> the program under test, or a floor
//! live frames:  generator ─veth─> the program under test, or relay ─veth─> sink
//! ```
//!
//! What rewrites packets must not see its own output, so the driver and the generator write every
//! header anew for each packet.

#![no_std]
#![no_main]

mod driver;
mod floor;
#[path = "../object.rs"]
mod object;
mod veth;

use core::mem::MaybeUninit;

use aya_ebpf::programs::XdpContext;
use lb_common::bench::{FRAME_LONG, FRAME_MAX, FRAME_MIN, Flows};

/// How packets vary. `MaybeUninit` keeps the compiler from taking the zeros for the values.
#[unsafe(no_mangle)]
static FLOWS: MaybeUninit<Flows> = MaybeUninit::zeroed();

/// Bytes of a frame as words.
type Template = [u64; FRAME_MAX / 8];

/// The settings, each read once; the verifier knows their values.
#[inline(always)]
fn flows() -> Flows {
    // SAFETY: initialised above, and only ever replaced by other `Flows`.
    unsafe { FLOWS.as_ptr().read_volatile() }
}

/// Writes packet `number` over the frame: the template, then the flow's fields. `None` where the
/// frame is too short.
#[inline(always)]
fn write(
    context: &XdpContext,
    template: *const Template,
    flows: &Flows,
    number: u32,
) -> Option<()> {
    let data = context.data();
    let length = if flows.length as usize >= FRAME_LONG {
        FRAME_LONG
    } else {
        FRAME_MIN
    };
    if data + length > context.data_end() {
        return None;
    }
    let words = template.cast::<u64>();
    let frame = data as *mut u64;
    let mut word = 0;
    while word < FRAME_MIN / 8 {
        // SAFETY: inside the template and inside the frame, whose bounds were checked.
        unsafe { frame.add(word).write_volatile(words.add(word).read()) };
        word += 1;
    }
    if length == FRAME_LONG {
        while word < FRAME_LONG / 8 {
            // SAFETY: as above.
            unsafe { frame.add(word).write_volatile(words.add(word).read()) };
            word += 1;
        }
    }
    let flow = flows.of(number);
    put(data, flows.address_at, flow.address.to_be());
    put(data, flows.target_at, flow.target.to_be());
    put(data, flows.port_at, flow.port.to_be());
    Some(())
}

#[inline(always)]
fn put<T>(data: usize, offset: u32, value: T) {
    // SAFETY: the offset is a setting inside the first bytes of the frame; the verifier, which knows
    // it, would refuse another.
    unsafe { ((data + offset as usize) as *mut T).write_unaligned(value) }
}
