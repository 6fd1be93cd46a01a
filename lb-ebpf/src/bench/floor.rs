//! Floors: programs that do nothing, or one thing that cannot be done without.

use aya_ebpf::{
    bindings::{BPF_FIB_LKUP_RET_SUCCESS, xdp_action},
    helpers::{bpf_fib_lookup, bpf_xdp_adjust_head},
    macros::xdp,
    programs::XdpContext,
};

/// Bytes of an IPv4 header.
const PUSH: usize = 20;

/// `AF_INET`.
const AF_INET: u64 = 2;

/// Ethernet header and an IPv4 header without options, then a TCP header.
const HEADERS: usize = 14 + 20 + 20;

/// Does nothing.
#[xdp]
fn floor(_context: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// The cheapest push of 20 bytes: room is made and filled. The driver takes it back.
#[xdp]
fn floor_push(context: XdpContext) -> u32 {
    // SAFETY: the context is the program's own; the frame is looked at anew below.
    if unsafe { bpf_xdp_adjust_head(context.ctx, -(PUSH as i32)) } < 0 {
        return xdp_action::XDP_ABORTED;
    }
    let data = context.data();
    if data + PUSH > context.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: inside the frame, whose bounds were just checked.
    unsafe {
        (data as *mut u64).write_unaligned(0x4500_0054_0000_4000);
        ((data + 8) as *mut u64).write_unaligned(0x4004_0000_0a00_0001);
        ((data + 16) as *mut u32).write_unaligned(0x0a00_0002);
    }
    xdp_action::XDP_TX
}

/// What the driver does once more for each packet whose program has moved the frame's head: move it back.
#[xdp]
fn floor_restore(context: XdpContext) -> u32 {
    // SAFETY: the context is the program's own, and the frame is not looked at.
    if unsafe { bpf_xdp_adjust_head(context.ctx, 0) } < 0 {
        return xdp_action::XDP_ABORTED;
    }
    xdp_action::XDP_TX
}

/// Nothing but the question to the kernel's routes that a reply cannot do without.
#[xdp]
fn floor_fib(context: XdpContext) -> u32 {
    let data = context.data();
    if data + HEADERS > context.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // The kernel's `struct bpf_fib_lookup`, word by word as the program under test does it.
    let mut query = core::mem::MaybeUninit::<[u64; 8]>::uninit();
    let words = query.as_mut_ptr().cast::<u64>();
    // SAFETY: the frame's bounds were checked above; eight words, every one written before the
    // helper reads them.
    let answer = unsafe {
        let ports = u64::from(((data + 34) as *const u32).read_unaligned());
        let source = ((data + 26) as *const u32).read_unaligned();
        let destination = ((data + 30) as *const u32).read_unaligned();
        words.write_volatile(AF_INET | 6 << 8 | ports << 16 | 50 << 48);
        words
            .add(1)
            .write_volatile(context.ingress_ifindex() as u64);
        words.add(2).write_volatile(u64::from(source));
        words.add(3).write_volatile(0);
        words.add(4).write_volatile(u64::from(destination));
        words.add(5).write_volatile(0);
        words.add(6).write_volatile(0);
        words.add(7).write_volatile(0);
        bpf_fib_lookup(context.ctx.cast(), words.cast(), 64, 0)
    };
    if answer as u32 == BPF_FIB_LKUP_RET_SUCCESS {
        xdp_action::XDP_TX
    } else {
        xdp_action::XDP_ABORTED
    }
}
