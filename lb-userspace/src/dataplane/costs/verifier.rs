//! What aya does not tell of a load that succeeds: the verifier's own figures.
//!
//! The program is relocated onto maps that exist already and loaded once more, with a buffer for
//! the verifier's log (`BPF_LOG_STATS`). aya passes none unless a load has failed.

use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
    io,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

use aya::{Ebpf, EbpfError};
use aya_obj::{Function, Object, ProgramSection};

use super::{Error, descriptors, program::OBJECT};
use crate::dataplane::error::Doing as _;

/// Bytes of an instruction.
pub(super) const INSTRUCTION: u32 = 8;

/// `BPF_PROG_LOAD` of `enum bpf_cmd`.
const BPF_PROG_LOAD: libc::c_long = 5;
/// `BPF_PROG_TYPE_XDP` of `enum bpf_prog_type`.
const BPF_PROG_TYPE_XDP: u32 = 6;
/// `BPF_LOG_STATS` of the kernel's linux/bpf_verifier.h.
const BPF_LOG_STATS: u32 = 4;

/// `BPF_F_XDP_HAS_FRAGS` of linux/bpf.h.
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// Bytes of log: a few lines of figures.
const LOG: usize = 64 * 1024;

/// What only this load tells.
pub(super) struct Verified {
    pub(super) object_instructions: u32,
    pub(super) stack: u32,
}

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
}

const _: () = assert!(size_of::<ProgramLoad>() == 48);

/// Loads the program `name` on the maps of `ebpf`, reads the log and lets the program go.
pub(super) fn load(ebpf: &Ebpf, name: &'static str) -> Result<Verified, Error> {
    let Relocated {
        function,
        license,
        flags,
    } = relocated(ebpf, name)?;
    let log = log(&function, &license, flags)?;
    let stack = stack(&log).ok_or_else(|| Error::Io {
        doing: format!("looking for the stack depth in the verifier's log ({log:?})"),
        source: io::ErrorKind::InvalidData.into(),
    })?;
    Ok(Verified {
        object_instructions: u32::try_from(function.instructions.len()).unwrap_or(u32::MAX),
        stack,
    })
}

/// The program with its subprograms behind it and the maps' descriptors in it.
struct Relocated {
    function: Function,
    license: CString,
    flags: u32,
}

fn relocated(ebpf: &Ebpf, name: &'static str) -> Result<Relocated, Error> {
    let wrong = |error: EbpfError| Error::Load(Box::new(error));
    let mut object = Object::parse(OBJECT).map_err(|error| wrong(error.into()))?;
    let sections: HashSet<usize> = object
        .functions
        .keys()
        .map(|(section, _)| *section)
        .collect();
    let descriptors: HashMap<&str, RawFd> = descriptors(ebpf).collect();
    let maps = std::mem::take(&mut object.maps);
    let maps = maps.iter().filter_map(|(name, map)| {
        let descriptor = *descriptors.get(name.as_str())?;
        Some((name.as_str(), descriptor, map))
    });
    object
        .relocate_maps(maps, &sections)
        .and_then(|()| object.relocate_calls(&sections))
        .map_err(|error| wrong(error.into()))?;
    let program = object.programs.get(name).ok_or(Error::Missing(name))?;
    let flags = match program.section {
        ProgramSection::Xdp { frags: true, .. } => BPF_F_XDP_HAS_FRAGS,
        _ => 0,
    };
    let function = object.functions.remove(&program.function_key());
    Ok(Relocated {
        function: function.ok_or(Error::Missing(name))?,
        license: object.license,
        flags,
    })
}

fn log(function: &Function, license: &CStr, flags: u32) -> Result<String, Error> {
    let mut log = vec![0_u8; LOG];
    let instructions = &function.instructions;
    let attributes = ProgramLoad {
        program_type: BPF_PROG_TYPE_XDP,
        instruction_count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: BPF_LOG_STATS,
        log_size: u32::try_from(LOG).unwrap_or(u32::MAX),
        log_buffer: log.as_mut_ptr() as u64,
        kernel_version: 0,
        flags,
    };
    // SAFETY: `attributes` is a prefix of union bpf_attr of the size given; instructions, licence and
    // log live until after the call, and the kernel writes no more than `log_size` bytes of log.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<ProgramLoad>(),
        )
    };
    match i32::try_from(descriptor) {
        // SAFETY: a descriptor that the kernel just made for us; closed here, the program goes.
        Ok(descriptor) if descriptor >= 0 => drop(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => {
            return Err(io::Error::last_os_error())
                .doing(|| "loading the program for its verifier log".to_owned());
        }
    }
    let text = CStr::from_bytes_until_nul(&log).map_or(&log[..], CStr::to_bytes);
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// What the program and the hungriest of its subprograms use, if it has any: `stack depth 96+0+24`. The
/// subprograms call no others, so that is the deepest chain of calls, which is what the kernel limits.
fn stack(log: &str) -> Option<u32> {
    let depths = log
        .lines()
        .find_map(|line| line.strip_prefix("stack depth "))?;
    let depths: Vec<u32> = depths
        .split('+')
        .map(|depth| depth.trim().parse())
        .collect::<Result<_, _>>()
        .ok()?;
    let (program, others) = depths.split_first()?;
    Some(program + others.iter().max().unwrap_or(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_chain_of_calls_counts() {
        let log = "verification time 812 usec\nstack depth 96+0+24+16\nprocessed 1234 insns (limit \
                   1000000) max_states_per_insn 1 total_states 9 peak_states 9 mark_read 4\n";
        assert_eq!(stack(log), Some(120));
        assert_eq!(stack("stack depth 88\n"), Some(88));
        assert_eq!(stack("processed 3 insns\n"), None);
    }
}
