//! Ports: the interfaces that the program is attached to, their links, and what the program knows of
//! them.

use std::collections::{BTreeMap, BTreeSet};

use aya::programs::{
    ProgramError, Xdp,
    links::{FdLink, PinnedLink},
    xdp::{XdpLink, XdpMode as AyaMode},
};
use lb_common::abi::{
    backend::NextHop,
    port::{INGRESS_ROWS, Ingress, MAX_PORTS, Port, ingress_row},
};

use super::{
    Error,
    maps::Maps,
    pins::{self, Pins},
    sys::link_ifindex,
};
use crate::model::XdpMode;

/// An interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Kernel name.
    pub name: String,
    /// Kernel index.
    pub ifindex: u32,
    /// Link-layer address.
    pub mac: [u8; 6],
}

/// Owns the links; one a port.
#[derive(Debug, Default)]
pub(super) struct Ports {
    by_ifindex: BTreeMap<u32, Held>,
}

#[derive(Debug)]
struct Held {
    port: u16,
    name: String,
    /// `None` before the program is attached, and while it is being replaced.
    link: Option<XdpLink>,
}

impl Ports {
    /// The port of an interface.
    pub(super) fn port(&self, ifindex: u32) -> Option<u16> {
        self.by_ifindex.get(&ifindex).map(|held| held.port)
    }

    /// Gives an interface a port, keeping the one that it had before a restart: published next hops
    /// name ports.
    pub(super) fn assign(&mut self, maps: &mut Maps, device: &Device) -> Result<u16, Error> {
        let ports: Vec<Port> = (0..MAX_PORTS).map(|index| maps.ports.read(index)).collect();
        let same = ports.iter().position(|port| port.ifindex == device.ifindex);
        let free = || ports.iter().position(|port| port.ifindex == 0);
        let index = same
            .or_else(free)
            .ok_or(Error::TooManyPorts { limit: MAX_PORTS })? as u32;
        let port = index as u16;

        let flags = set_ingress(maps, device, port)?;
        log::debug!("interface {} is port {port}, flags {flags}", device.name);
        maps.devices
            .set(index, device.ifindex, None, 0)
            .map_err(|source| Error::Devices(Box::new(source)))?;
        let mac = NextHop::new(device.mac, 0).mac();
        maps.ports.write(
            index,
            &Port {
                mac,
                ifindex: device.ifindex,
                reserved: 0,
            },
        );
        self.by_ifindex
            .entry(device.ifindex)
            .or_insert_with(|| Held {
                port,
                name: device.name.clone(),
                link: None,
            });
        Ok(port)
    }

    /// Attaches the program, or puts it into the link that an earlier daemon left.
    pub(super) fn attach(
        &mut self,
        pins: &Pins,
        program: &mut Xdp,
        device: &Device,
        port: u16,
        mode: XdpMode,
    ) -> Result<(), Error> {
        let link = match adopt(pins, program, device)? {
            Some(link) => link,
            None => fresh(pins, program, device, mode)?,
        };
        let name = device.name.clone();
        let held = Held {
            port,
            name,
            link: Some(link),
        };
        self.by_ifindex.insert(device.ifindex, held);
        Ok(())
    }

    /// Puts another program into every link, one atomic exchange each.
    pub(super) fn replace_program(&mut self, program: &mut Xdp) -> Result<(), Error> {
        for held in self.by_ifindex.values_mut() {
            if let Some(link) = held.link.take() {
                let id = program.attach_to_link(link)?;
                held.link = Some(program.take_link(id)?);
            }
        }
        Ok(())
    }

    /// Detaches an interface that the configuration no longer names.
    pub(super) fn detach(
        &mut self,
        maps: &mut Maps,
        pins: &Pins,
        ifindex: u32,
    ) -> Result<(), Error> {
        let Some(held) = self.by_ifindex.remove(&ifindex) else {
            return Ok(());
        };
        pins::remove_file(&pins.link(&held.name))?;
        drop(held.link);
        maps.ports.write(u32::from(held.port), &Port::default());
        clear_ingress(maps, ifindex);
        // DEVICES has no way to delete in aya; an entry that no port names is not used.
        Ok(())
    }

    /// Says on which ports replies of `dnat` backends come in.
    pub(super) fn face_backends(&self, maps: &Maps, facing: &BTreeSet<u16>) {
        for (ifindex, held) in &self.by_ifindex {
            let flags = if facing.contains(&held.port) {
                Ingress::FACES_BACKENDS
            } else {
                0
            };
            let row = maps.ingress.read(ingress_row(*ifindex));
            if let Some(way) = row.0.iter().position(|way| way.ifindex() == *ifindex) {
                let word = Ingress::new(*ifindex, held.port, flags).0;
                if row.0[way].0 != word {
                    maps.ingress
                        .store_u64(ingress_row(*ifindex), way * size_of::<u64>(), word);
                }
            }
        }
    }
}

/// Enters the interface into its row, keeping the flags that it had.
fn set_ingress(maps: &Maps, device: &Device, port: u16) -> Result<u16, Error> {
    let number = ingress_row(device.ifindex);
    let row = maps.ingress.read(number);
    let same = row.0.iter().position(|way| way.ifindex() == device.ifindex);
    let way = same
        .or_else(|| row.0.iter().position(|way| way.ifindex() == 0))
        .ok_or_else(|| Error::IngressRowFull {
            name: device.name.clone(),
            rows: INGRESS_ROWS,
        })?;
    let flags = if row.0[way].faces_backends() {
        Ingress::FACES_BACKENDS
    } else {
        0
    };
    let word = Ingress::new(device.ifindex, port, flags).0;
    maps.ingress.store_u64(number, way * size_of::<u64>(), word);
    Ok(flags)
}

fn clear_ingress(maps: &Maps, ifindex: u32) {
    let number = ingress_row(ifindex);
    let row = maps.ingress.read(number);
    if let Some(way) = row.0.iter().position(|way| way.ifindex() == ifindex) {
        maps.ingress.store_u64(number, way * size_of::<u64>(), 0);
    }
}

/// Takes over a pinned link, if it still holds this very interface.
fn adopt(pins: &Pins, program: &mut Xdp, device: &Device) -> Result<Option<XdpLink>, Error> {
    let path = pins.link(&device.name);
    let Ok(pinned) = PinnedLink::from_pin(&path) else {
        return Ok(None);
    };
    if link_ifindex(&path) == Some(device.ifindex) {
        let link = XdpLink::try_from(FdLink::from(pinned))?;
        let id = program.attach_to_link(link)?;
        return Ok(Some(program.take_link(id)?));
    }
    // The interface it held is gone, or lives in another namespace.
    pins::remove_file(&path)?;
    Ok(None)
}

/// Attaches anew and pins the link.
fn fresh(pins: &Pins, program: &mut Xdp, device: &Device, mode: XdpMode) -> Result<XdpLink, Error> {
    let id = match mode {
        XdpMode::Generic => program.attach_to_if_index(device.ifindex, AyaMode::Skb),
        XdpMode::Native => program.attach_to_if_index(device.ifindex, AyaMode::Driver),
        XdpMode::Auto => program
            .attach_to_if_index(device.ifindex, AyaMode::Driver)
            .or_else(|error| match errno(&error) {
                Some(libc::EOPNOTSUPP) => {
                    log::warn!(
                        "interface {}: the driver has no native XDP; attached in generic mode, \
                         which is slower",
                        device.name
                    );
                    program.attach_to_if_index(device.ifindex, AyaMode::Skb)
                }
                _ => Err(error),
            }),
    };
    let id = id.map_err(|error| {
        let name = device.name.clone();
        match errno(&error) {
            Some(libc::EBUSY | libc::EEXIST) => Error::InterfaceBusy { name },
            Some(libc::EOPNOTSUPP) if mode == XdpMode::Native => Error::NoNative { name },
            _ => Error::Attach {
                name,
                source: Box::new(error),
            },
        }
    })?;
    let link = FdLink::try_from(program.take_link(id)?)?;
    let pinned = link.pin(pins.link(&device.name))?;
    Ok(XdpLink::try_from(FdLink::from(pinned))?)
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}
