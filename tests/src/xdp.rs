//! Somebody else's XDP program, the smallest there is, and what others can do to a link of ours.

use std::{
    ffi::{CStr, CString},
    io,
    mem::size_of,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use anyhow::{Context, Result};

// linux/bpf.h
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;
const BPF_PROG_TYPE_XDP: u32 = 6;
// Links insist on it.
const BPF_XDP: u32 = 37;
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
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

const _: () = assert!(size_of::<ProgramLoad>() == 72);

/// The same for `BPF_OBJ_GET`.
#[repr(C)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The same for `BPF_LINK_UPDATE`.
#[repr(C)]
struct LinkUpdate {
    link: RawFd,
    program: RawFd,
    flags: u32,
    old_program: RawFd,
}

/// The same for `BPF_LINK_DETACH`.
#[repr(C)]
struct Descriptor(RawFd);

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
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
        interface: 0,
        expected_attach_type: BPF_XDP,
    };
    // The instructions and the licence outlive the call; without a log nothing is written.
    let fd = bpf(BPF_PROG_LOAD, &attributes).context("loading an XDP program")?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What `bpftool link detach pinned PIN` does: the link stays, and holds no interface any more.
pub fn detach_link(pin: &Path) -> Result<()> {
    let link = open_pin(pin)?;
    bpf(BPF_LINK_DETACH, &Descriptor(link.as_raw_fd())).context("detaching a link")?;
    Ok(())
}

/// Puts another program into a link.
pub fn replace_in_link(pin: &Path, program: BorrowedFd<'_>) -> Result<()> {
    let link = open_pin(pin)?;
    let attributes = LinkUpdate {
        link: link.as_raw_fd(),
        program: program.as_raw_fd(),
        flags: 0,
        old_program: 0,
    };
    bpf(BPF_LINK_UPDATE, &attributes).context("updating a link")?;
    Ok(())
}

fn open_pin(pin: &Path) -> Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes = ObjectGet {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    let fd = bpf(BPF_OBJ_GET, &attributes).with_context(|| format!("opening {}", pin.display()))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the attributes are a prefix of `union bpf_attr` of the size given; what they point to
    // lives in the callers until after the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    match RawFd::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
