//! Stage 1: the headers of a frame.

use aya_ebpf::{helpers::generated::bpf_xdp_get_buff_len, programs::XdpContext};
use lb_common::{
    abi::counters::DropReason,
    family::Family,
    wire::{Accept, Cursor, Ip as _, Link, Packet, Unparsed, parse},
};

use crate::{settings, verdict::Verdict};

/// A frame whose link header was read; the cursor stands behind it.
pub(crate) struct Frame<'a> {
    pub(crate) link: Link<'a>,
    cursor: Cursor<'a>,
    accept: Accept,
}

/// Reads the link header. `FRAGS`: the frame may lie in several buffers, of which the first has the
/// headers.
#[inline(always)]
pub(crate) fn link<'a, const FRAGS: bool>(context: &XdpContext) -> Result<Frame<'a>, Verdict> {
    let mut cursor = cursor(context);
    let link = Link::read(&mut cursor, settings::vlan()).map_err(|short| verdict(short.into()))?;
    let accept = Accept {
        udp: settings::udp(),
        // SAFETY: the context is the program's own.
        frame_length: FRAGS.then(|| unsafe { bpf_xdp_get_buff_len(context.ctx) as u32 }),
    };
    Ok(Frame {
        link,
        cursor,
        accept,
    })
}

/// Reads the headers behind it. What Sluice does not speak passes; what contradicts itself drops.
#[inline(always)]
pub(crate) fn packet<F: Family>(frame: Frame<'_>) -> Result<Packet<'_, F>, Verdict> {
    parse(frame.cursor, frame.link, frame.accept).map_err(verdict)
}

/// Reads the IP header alone.
#[inline(always)]
pub(crate) fn network<F: Family>(frame: Frame<'_>) -> Option<&F::Header> {
    let mut cursor = frame.cursor;
    let (ip, _) = F::Header::read(&mut cursor).ok()?;
    Some(ip)
}

/// A cursor at the start of the frame.
#[inline(always)]
pub(crate) fn cursor<'a>(context: &XdpContext) -> Cursor<'a> {
    // SAFETY: the driver lends the program these bytes until it returns, and they are parsed into
    // one set of headers at a time.
    unsafe { Cursor::from_raw(context.data() as *mut u8, context.data_end() as *mut u8) }
}

#[inline(always)]
fn verdict(unparsed: Unparsed) -> Verdict {
    match unparsed {
        Unparsed::NotOurs => Verdict::Pass,
        Unparsed::Malformed => DropReason::Malformed.into(),
    }
}
