//! Stage 1: the headers of a frame.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    abi::counters::DropReason,
    wire::{Accept, Cursor, Packet, Unparsed, parse},
};

use crate::{settings, verdict::Verdict};

/// Reads the headers. What Sluice does not speak passes; what contradicts itself drops.
#[inline(always)]
pub(crate) fn headers<'a>(context: &XdpContext) -> Result<Packet<'a>, Verdict> {
    parse(cursor(context), accept()).map_err(|unparsed| match unparsed {
        Unparsed::NotOurs => Verdict::Pass,
        Unparsed::Malformed => DropReason::Malformed.into(),
    })
}

/// A cursor at the start of the frame.
#[inline(always)]
pub(crate) fn cursor<'a>(context: &XdpContext) -> Cursor<'a> {
    // SAFETY: the driver lends the program these bytes until it returns, and they are parsed into
    // one set of headers at a time.
    unsafe { Cursor::from_raw(context.data() as *mut u8, context.data_end() as *mut u8) }
}

/// What is looked for besides TCP.
#[inline(always)]
pub(crate) fn accept() -> Accept {
    Accept {
        udp: settings::udp(),
    }
}
