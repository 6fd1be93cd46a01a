//! Attaching to an interface: which program, and where in the packet's way.

use std::path::Path;

use aya::programs::{
    ProgramError, Xdp,
    links::{FdLink, PinnedLink},
    xdp::{XdpError, XdpLink, XdpMode as AyaMode},
};

use super::{Error, pins, ports::Device, sys::link_ifindex};
use crate::model::XdpMode;

/// A link, pinned, and the program that it holds.
pub(super) struct Attached {
    pub(super) link: XdpLink,
    /// Which of the programs it is.
    pub(super) program: usize,
}

/// One way to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    program: usize,
    mode: AyaMode,
}

/// Attaches the first of `programs` that the interface takes, and pins the link. Where the pin holds the
/// interface already (an earlier daemon's, or with a program that somebody replaced), the program is put
/// into that link, and no packet is missed.
///
/// All are loaded and do the same; a later one can also have frames that lie in several buffers, which
/// drivers ask for where the MTU is large.
///
/// # Errors
/// [`Error::InterfaceBusy`], [`Error::NoNative`], [`Error::Attach`], or the pin's.
pub(super) fn attach(
    programs: &mut [&mut Xdp],
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
    programs: &mut [&mut Xdp],
    device: &Device,
    pin: &Path,
) -> Result<Option<Attached>, Error> {
    if PinnedLink::from_pin(pin).is_err() {
        return Ok(None);
    }
    if link_ifindex(pin) != Some(device.ifindex) {
        // The interface it held is gone, or lives in another namespace.
        pins::remove_file(pin)?;
        return Ok(None);
    }
    let mut refusal = None;
    for (number, program) in programs.iter_mut().enumerate() {
        // Each attempt consumes the link, but not its pin.
        let link = XdpLink::try_from(FdLink::from(PinnedLink::from_pin(pin)?))?;
        match program.attach_to_link(link) {
            Ok(id) => {
                return Ok(Some(Attached {
                    link: program.take_link(id)?,
                    program: number,
                }));
            }
            Err(error) if is_no_to_the_program(&error) => refusal = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    refusal.map_or(Ok(None), |error| Err(error.into()))
}

/// Attaches anew and pins the link.
fn fresh(
    programs: &mut [&mut Xdp],
    device: &Device,
    mode: XdpMode,
    pin: &Path,
) -> Result<Attached, Error> {
    let Device { name, ifindex, .. } = device;
    let mut refusal = None;
    for way in ways(mode, programs.len()) {
        let Some(program) = programs.get_mut(way.program) else {
            break;
        };
        match program.attach_to_if_index(*ifindex, way.mode) {
            Ok(id) => {
                say(name, way, refusal.as_ref());
                let link = FdLink::try_from(program.take_link(id)?)?.pin(pin)?;
                return Ok(Attached {
                    link: XdpLink::try_from(FdLink::from(link))?,
                    program: way.program,
                });
            }
            Err(error) if is_no_to_the_program(&error) => refusal = Some(error),
            Err(error) => return Err(refused(name, error)),
        }
    }
    match refusal {
        Some(error) if mode == XdpMode::Native && errno(&error) == Some(libc::EOPNOTSUPP) => {
            Err(Error::NoNative { name: name.clone() })
        }
        Some(error) => Err(refused(name, error)),
        None => Err(Error::Missing("program to attach")),
    }
}

/// Ways to attach, the best first.
fn ways(mode: XdpMode, programs: usize) -> Vec<Way> {
    let native = (0..programs).map(|program| Way {
        program,
        mode: AyaMode::Driver,
    });
    // In generic mode the kernel puts a frame into one buffer.
    let generic = Way {
        program: 0,
        mode: AyaMode::Skb,
    };
    match mode {
        XdpMode::Auto => native.chain([generic]).collect(),
        XdpMode::Native => native.collect(),
        XdpMode::Generic => vec![generic],
    }
}

/// Whether another program, or the same elsewhere, may be taken: the driver has no native XDP, or none
/// for this MTU without frames in several buffers (veth says `ERANGE`, others one of the two).
fn is_no_to_the_program(error: &ProgramError) -> bool {
    matches!(
        errno(error),
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE)
    )
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

    fn ways_of(mode: XdpMode, programs: usize) -> Vec<(usize, AyaMode)> {
        let ways = ways(mode, programs).into_iter();
        ways.map(|way| (way.program, way.mode)).collect()
    }

    #[test]
    fn generic_mode_is_the_last_resort_and_only_where_it_is_allowed() {
        use AyaMode::{Driver, Skb};
        assert_eq!(
            ways_of(XdpMode::Auto, 2),
            [(0, Driver), (1, Driver), (0, Skb)]
        );
        assert_eq!(ways_of(XdpMode::Auto, 1), [(0, Driver), (0, Skb)]);
        assert_eq!(ways_of(XdpMode::Native, 2), [(0, Driver), (1, Driver)]);
        assert_eq!(ways_of(XdpMode::Generic, 2), [(0, Skb)]);
    }
}
