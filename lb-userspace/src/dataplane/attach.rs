//! Attaching to an interface: which program, and where in the packet's way.

use std::path::Path;

use aya::programs::{
    ProgramError,
    links::{FdLink, PinnedLink},
    xdp::{XdpError, XdpLink, XdpMode as AyaMode},
};

use super::{
    Error, pins,
    ports::Device,
    program::Programs,
    sys::{link_ifindex, mtu},
};
use crate::model::XdpMode;

/// The largest MTU at which no driver needs more than one buffer for a frame.
const ONE_BUFFER: u32 = 1500;

/// A link, pinned, and the program that it holds.
pub(super) struct Attached {
    pub(super) link: XdpLink,
    /// Whether it is the one for frames in several buffers.
    pub(super) frags: bool,
}

/// One way to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    frags: bool,
    mode: AyaMode,
}

/// Attaches the first of `programs` that the interface takes, and pins the link: the one for frames in one
/// buffer, or where the driver refuses that at the interface's MTU, the other. Where the pin holds the
/// interface already (an earlier daemon's, or with a program that somebody replaced), the program is put
/// into that link, and no packet is missed.
///
/// # Errors
/// [`Error::InterfaceBusy`], [`Error::NoNative`], [`Error::Attach`], a program's that does not load, or the
/// pin's.
pub(super) fn attach(
    programs: &mut Programs<'_>,
    device: &Device,
    mode: XdpMode,
    pin: &Path,
) -> Result<Attached, Error> {
    match adopt(programs, device, pin)? {
        Some(attached) => Ok(attached),
        None => fresh(programs, device, mode, pin),
    }
}

/// The reason that the kernel gave, if it was asked.
pub(super) fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        // Where a link is refused with EINVAL, aya tries without one, and that is refused as well.
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    }
}

/// Takes over a pinned link, if it still holds this very interface.
fn adopt(
    programs: &mut Programs<'_>,
    device: &Device,
    pin: &Path,
) -> Result<Option<Attached>, Error> {
    for frags in [false, true] {
        // Each attempt consumes the link, but not its pin.
        let Ok(pinned) = PinnedLink::from_pin(pin) else {
            return Ok(None);
        };
        if link_ifindex(pin) != Some(device.ifindex) {
            // The interface it held is gone, or lives in another namespace.
            pins::remove_file(pin)?;
            return Ok(None);
        }
        let program = programs.get(frags)?;
        let link = XdpLink::try_from(FdLink::from(pinned))?;
        match program.attach_to_link(link) {
            Ok(id) => {
                let link = program.take_link(id)?;
                return Ok(Some(Attached { link, frags }));
            }
            Err(error) if !frags && may_want_frags(&error, device) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Attaches anew and pins the link.
fn fresh(
    programs: &mut Programs<'_>,
    device: &Device,
    mode: XdpMode,
    pin: &Path,
) -> Result<Attached, Error> {
    let Device { name, ifindex, .. } = device;
    let mut refusal = None;
    for way in ways(mode) {
        if way.frags && !(refusal.as_ref()).is_some_and(|error| may_want_frags(error, device)) {
            continue;
        }
        let program = programs.get(way.frags)?;
        match program.attach_to_if_index(*ifindex, way.mode) {
            Ok(id) => {
                say(name, way, refusal.as_ref());
                let link = FdLink::try_from(program.take_link(id)?)?.pin(pin)?;
                return Ok(Attached {
                    link: XdpLink::try_from(FdLink::from(link))?,
                    frags: way.frags,
                });
            }
            Err(error) if has_no_native(&error) || may_want_frags(&error, device) => {
                refusal = Some(error);
            }
            Err(error) => return Err(refused(name, error)),
        }
    }
    match refusal {
        Some(error) if mode == XdpMode::Native && has_no_native(&error) => {
            Err(Error::NoNative { name: name.clone() })
        }
        Some(error) => Err(refused(name, error)),
        None => Err(Error::Missing("program to attach")),
    }
}

/// Ways to attach, the best first.
fn ways(mode: XdpMode) -> Vec<Way> {
    let native = [false, true].map(|frags| Way {
        frags,
        mode: AyaMode::Driver,
    });
    // In generic mode the kernel puts a frame into one buffer.
    let generic = Way {
        frags: false,
        mode: AyaMode::Skb,
    };
    match mode {
        XdpMode::Auto => native.into_iter().chain([generic]).collect(),
        XdpMode::Native => native.to_vec(),
        XdpMode::Generic => vec![generic],
    }
}

fn has_no_native(error: &ProgramError) -> bool {
    errno(error) == Some(libc::EOPNOTSUPP)
}

/// Whether a driver may have refused because frames of the interface's MTU need several buffers. Drivers
/// have no error of their own for that; a veth looks at its peer's MTU.
fn may_want_frags(error: &ProgramError, device: &Device) -> bool {
    match errno(error) {
        Some(libc::ERANGE | libc::E2BIG) => true,
        Some(libc::EINVAL | libc::EOPNOTSUPP) => {
            mtu(&device.name).is_some_and(|mtu| mtu > ONE_BUFFER)
        }
        _ => false,
    }
}

fn refused(name: &str, error: ProgramError) -> Error {
    let name = name.to_owned();
    match errno(&error) {
        Some(libc::EBUSY | libc::EEXIST) => Error::InterfaceBusy { name },
        _ => Error::Attach {
            name,
            source: Box::new(error),
        },
    }
}

/// Tells of a way that is not the best one. `refusal`: of the way before it.
fn say(name: &str, way: Way, refusal: Option<&ProgramError>) {
    let Some(refusal) = refusal else {
        return;
    };
    match (way.mode, errno(refusal)) {
        (AyaMode::Driver, _) => {
            log::info!("interface {name}: attached the program for frames in several buffers");
        }
        (_, Some(libc::EOPNOTSUPP)) => log::warn!(
            "interface {name}: the driver has no native XDP; attached in generic mode, which is slower"
        ),
        _ => log::warn!(
            "interface {name}: the driver refuses native XDP, likely for the MTU ({refusal}); attached \
             in generic mode, which is slower"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways_of(mode: XdpMode) -> Vec<(bool, AyaMode)> {
        let ways = ways(mode).into_iter();
        ways.map(|way| (way.frags, way.mode)).collect()
    }

    #[test]
    fn generic_mode_is_the_last_resort_and_only_where_it_is_allowed() {
        use AyaMode::{Driver, Skb};
        assert_eq!(
            ways_of(XdpMode::Auto),
            [(false, Driver), (true, Driver), (false, Skb)]
        );
        assert_eq!(ways_of(XdpMode::Native), [(false, Driver), (true, Driver)]);
        assert_eq!(ways_of(XdpMode::Generic), [(false, Skb)]);
    }
}
