//! Somebody else's XDP program: the smallest there is, for tests of politeness.

use std::{
    ffi::CStr,
    io,
    mem::size_of,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result};

// linux/bpf.h
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TYPE_XDP: u32 = 6;
const MOV64_IMM_R0: u64 = 0xb7;
const EXIT: u64 = 0x95;
const XDP_PASS: u64 = 2;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero.
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
}

const _: () = assert!(size_of::<ProgramLoad>() == 40);

/// Loads a program that passes every packet; it lives as long as its descriptor or an attachment.
pub fn load_passing_program() -> Result<OwnedFd> {
    // r0 = XDP_PASS; exit. An instruction is opcode, registers, offset, then 32 bits of immediate.
    let instructions: [u64; 2] = [MOV64_IMM_R0 | XDP_PASS << 32, EXIT];
    let license: &CStr = c"GPL";
    let attributes = ProgramLoad {
        program_type: BPF_PROG_TYPE_XDP,
        instruction_count: 2,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
    };
    // SAFETY: the kernel reads the attributes, the instructions and the licence, all of which
    // outlive the call, and writes nothing without a log.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<ProgramLoad>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("loading an XDP program");
    }
    let fd = RawFd::try_from(fd)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
