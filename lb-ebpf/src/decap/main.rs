//! The backend's side of tunnels: takes outer headers off, and gives the client's packets to the kernel.
//!
//! ```text
//! open (which frame, from whom, is it whole) ──> strip ──> the kernel
//!              │ not a tunnel's, or not for us
//!              └────────────────────────────────────────> the kernel, as it came in
//! ```
//!
//! What is opened and what is not is `lb_common::wire::tunnel`'s; here are the maps, and what only the
//! kernel can do to a frame. A program of its own, on hosts where no load balancer runs.

#![no_std]
#![no_main]

mod maps;
#[path = "../object.rs"]
mod object;
mod strip;

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::xdp_action, helpers::generated::bpf_xdp_get_buff_len, macros::xdp,
    programs::XdpContext,
};
use lb_common::{
    abi::decap::{DecapCounter, DecapFate, DecapSettings},
    wire::{Cursor, tunnel::End},
};

use crate::maps::Lists;

/// Set before loading, frozen after. `MaybeUninit` keeps the compiler from taking the zeros for the
/// values.
#[unsafe(no_mangle)]
static DECAP_SETTINGS: MaybeUninit<DecapSettings> = MaybeUninit::zeroed();

/// The program: judges one frame.
#[xdp]
fn decap(context: XdpContext) -> u32 {
    let length = context.data_end() - context.data();
    conclude(judge(&context, length as u32))
}

/// The same for interfaces whose frames may lie in several buffers, of which the first has the headers.
#[xdp(frags)]
fn decap_frags(context: XdpContext) -> u32 {
    // SAFETY: the context is the program's own.
    let length = unsafe { bpf_xdp_get_buff_len(context.ctx) } as u32;
    conclude(judge(&context, length))
}

#[inline(always)]
fn judge(context: &XdpContext, frame_length: u32) -> DecapCounter {
    let end = End {
        // SAFETY: initialised above, and only ever replaced by other settings; volatile, so that the
        // read stays for the verifier to resolve.
        gue_port: unsafe { (&raw const (*DECAP_SETTINGS.as_ptr()).gue_port).read_volatile() },
        sources: Lists,
        frame_length,
    };
    match end.open(cursor(context)) {
        Ok(opened) => strip::outer(context, opened),
        Err(counter) => counter,
    }
}

/// A cursor at the start of the frame.
#[inline(always)]
fn cursor<'a>(context: &XdpContext) -> Cursor<'a> {
    // SAFETY: the driver lends the program these bytes until it returns, and they are parsed into
    // one set of headers at a time.
    unsafe { Cursor::from_raw(context.data() as *mut u8, context.data_end() as *mut u8) }
}

/// Counts the frame and tells the driver what to do.
#[inline(always)]
fn conclude(counter: DecapCounter) -> u32 {
    maps::count(counter);
    match counter.fate() {
        DecapFate::Decapsulated | DecapFate::Passed => xdp_action::XDP_PASS,
        DecapFate::Dropped => xdp_action::XDP_DROP,
    }
}
