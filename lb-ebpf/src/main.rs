//! Sluice's XDP program: a packet's whole way, from the driver to the backend.
//!
//! ```text
//! parse ──> service ──> steer ──> forward ──> out of the same port, or another
//!              │ not a VIP
//!              │            └─ a slot in motion ─> flows (the entry that the flow has, or gets)
//!              └──────> reply  (a dnat backend's answer, turned back into the VIP's)
//! ```
//!
//! Each stage takes what the one before learned and returns `Result<_, Verdict>`; here, and only
//! here, a verdict becomes an XDP action and is counted, once.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod flows;
mod forward;
mod maps;
mod parse;
mod service;
mod settings;
mod steer;
mod trace;
mod verdict;

use aya_ebpf::{macros::xdp, programs::XdpContext};

use crate::verdict::Verdict;

/// The program: judges one packet.
#[xdp]
fn sluice(context: XdpContext) -> u32 {
    let (Ok(verdict) | Err(verdict)) = judge(&context);
    verdict.conclude()
}

/// The same with a log record a packet; takes the other's place while somebody traces.
#[xdp]
fn sluice_traced(context: XdpContext) -> u32 {
    trace::before(&context);
    let (Ok(verdict) | Err(verdict)) = judge(&context);
    trace::after(&context, verdict);
    verdict.conclude()
}

#[inline(always)]
fn judge(context: &XdpContext) -> Result<Verdict, Verdict> {
    let packet = parse::headers(context)?;
    match service::find(&packet) {
        Some(record) => {
            let packet = service::admit(packet)?;
            let backend = steer::choose(record, &packet)?;
            forward::send(context, record, backend, packet)
        }
        None => forward::reply::send(context, packet),
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached, and the verifier proves it: a program that could loop here does not load.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
