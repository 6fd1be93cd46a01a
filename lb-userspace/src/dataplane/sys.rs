//! System calls that aya does not make. Here those for links: tell which interface a pinned one holds,
//! detach it at once, and tell an interface's MTU.

pub(super) mod map;

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `BPF_OBJ_GET` of `enum bpf_cmd`.
const BPF_OBJ_GET: libc::c_long = 7;

/// `BPF_LINK_DETACH`.
const BPF_LINK_DETACH: libc::c_long = 34;

/// The part of `union bpf_attr` that `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The index of the interface that a pinned XDP link holds; `None` when there is no such pin, and
/// `Some(0)` when the interface is gone.
pub(super) fn link_ifindex(pin: &Path) -> Option<u32> {
    link_info(pin, "ifindex:")
}

/// The kernel's id of the program in a pinned link; `None` when there is no such pin. Unlike interfaces'
/// indices, which each network namespace has of its own, no two programs have the same.
pub(super) fn link_program(pin: &Path) -> Option<u32> {
    link_info(pin, "prog_id:")
}

fn link_info(pin: &Path, field: &str) -> Option<u32> {
    let fd = obj_get(pin).ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    number(&info, field)
}

/// Takes the program off the interface that a pinned link holds. Without this it goes some time
/// after the last reference to the link, which would then still be in a new one's way.
pub(super) fn detach_link(pin: &Path) {
    let Ok(link) = obj_get(pin) else {
        return;
    };
    let fd = link.as_raw_fd();
    // SAFETY: BPF_LINK_DETACH reads one file descriptor, the first member of union bpf_attr.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_LINK_DETACH,
            &raw const fd,
            size_of_val(&fd),
        )
    };
    if result < 0 {
        // Its interface is gone already, or closing it has to do.
        log::debug!(
            "detaching {}: {}",
            pin.display(),
            io::Error::last_os_error()
        );
    }
}

/// The MTU of an interface of the calling thread's network namespace.
pub(super) fn mtu(name: &str) -> Option<u32> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .ok()?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_mtu: 0 },
    };
    // The last byte stays zero.
    let room = request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1);
    for (to, from) in room.zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: SIOCGIFMTU reads the name, which ends in a zero, and writes the MTU into the union; the
    // request lives until after the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) };
    if result < 0 {
        return None;
    }
    // SAFETY: written by the kernel; any bit pattern is a number.
    u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
}

fn number(fdinfo: &str, field: &str) -> Option<u32> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix(field)?.trim().parse().ok())
}

fn obj_get(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attr = ObjGet {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: `attr` is a prefix of union bpf_attr of the size given, and the path it points to
    // lives until after the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET,
            &raw const attr,
            size_of::<ObjGet>(),
        )
    };
    match i32::try_from(fd) {
        // SAFETY: a file descriptor that the kernel just made for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_and_program_are_read_from_fdinfo() {
        let info =
            "pos:\t0\nflags:\t02000002\nlink_type:\txdp\nlink_id:\t4\nprog_id:\t9\nifindex:\t17\n";
        assert_eq!(number(info, "ifindex:"), Some(17));
        assert_eq!(number(info, "prog_id:"), Some(9));
        assert_eq!(number("link_type:\ttracing\n", "ifindex:"), None);
    }

    #[test]
    fn the_loopback_has_an_mtu_and_nobody_has_none() {
        assert!(mtu("lo").is_some_and(|mtu| mtu >= 1280));
        assert_eq!(mtu("none-such"), None);
    }

    #[test]
    fn a_pin_that_is_not_there_is_none() {
        assert_eq!(link_ifindex(Path::new("/sys/fs/bpf/no-such-pin")), None);
    }
}
