//! Ports: the interfaces that the program is attached to, their links, and what the program knows of
//! them.
//!
//! Published next hops name ports, so an interface keeps its port while it is gone: when it comes
//! back with another index and another MAC address, only the port's own entries are rewritten.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::offset_of,
};

use aya::programs::xdp::XdpLink;
use lb_common::abi::{
    backend::NextHop,
    port::{INGRESS_ROWS, Ingress, MAX_PORTS, Port, ingress_row},
};

use nix::net::if_::if_indextoname;

use super::{
    Error,
    attach::{self, Attached, errno},
    maps::Maps,
    pins::{self, Pins},
    program::Programs,
    sys::detach_link,
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
    by_name: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    port: u16,
    /// `None`: the interface is gone.
    device: Option<Device>,
    /// `None` while the program is not attached.
    link: Option<XdpLink>,
    /// Which program it was attached with: the one for frames in several buffers.
    frags: bool,
}

impl Ports {
    /// The port of an interface.
    pub(super) fn port(&self, ifindex: u32) -> Option<u16> {
        self.by_name
            .values()
            .find(|held| held.ifindex() == Some(ifindex))
            .map(|held| held.port)
    }

    /// The interface that has a port under this name, as it was when the port was assigned.
    pub(super) fn device(&self, name: &str) -> Option<&Device> {
        self.by_name.get(name)?.device.as_ref()
    }

    /// The names of all interfaces with a port.
    pub(super) fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// Gives an interface a port, or rewrites the one it has. One from before a restart is kept, too.
    pub(super) fn assign(&mut self, maps: &mut Maps, device: &Device) -> Result<u16, Error> {
        let port = self.choose(maps, device)?;
        if let Some(before) = self.device(&device.name)
            && before.ifindex != device.ifindex
        {
            clear_ingress(maps, before.ifindex);
        }
        let flags = set_ingress(maps, device, port)?;
        log::debug!("interface {} is port {port}, flags {flags}", device.name);
        let index = u32::from(port);
        // Also where nothing seems to change: the kernel takes a device out that goes.
        maps.devices
            .insert(index, device.ifindex, None, 0)
            .map_err(|source| Error::Devices(Box::new(source)))?;
        let mac = NextHop::new(device.mac, 0).mac();
        if maps.ports.read(index).ifindex == device.ifindex {
            // Packets may be leaving by it.
            maps.ports.store_u64(index, offset_of!(Port, mac), mac);
        } else {
            maps.ports.write(
                index,
                &Port {
                    mac,
                    ifindex: device.ifindex,
                    reserved: 0,
                },
            );
        }
        let held = self.by_name.entry(device.name.clone()).or_insert(Held {
            port,
            device: None,
            link: None,
            frags: false,
        });
        held.device = Some(device.clone());
        Ok(port)
    }

    /// The port that the name has, or the index had in an earlier daemon's time, or a free one.
    fn choose(&self, maps: &Maps, device: &Device) -> Result<u16, Error> {
        if let Some(held) = self.by_name.get(&device.name) {
            return Ok(held.port);
        }
        let taken: BTreeSet<u16> = self.by_name.values().map(|held| held.port).collect();
        let with = |wanted: &dyn Fn(u32) -> bool| {
            (0..MAX_PORTS as u16)
                .filter(|port| !taken.contains(port))
                .find(|port| wanted(maps.ports.read(u32::from(*port)).ifindex))
        };
        with(&|ifindex| ifindex == device.ifindex)
            .or_else(|| with(&|ifindex| ifindex == 0))
            // Left by an earlier daemon, of an interface that went while none ran.
            .or_else(|| with(&|ifindex| if_indextoname(ifindex).is_err()))
            .ok_or(Error::TooManyPorts { limit: MAX_PORTS })
    }

    /// Attaches the program to an interface that has a port, or puts it into the link that holds the
    /// interface already: an earlier daemon's, or one whose program somebody replaced.
    pub(super) fn attach(
        &mut self,
        pins: &Pins,
        programs: &mut Programs<'_>,
        device: &Device,
        mode: XdpMode,
    ) -> Result<(), Error> {
        let Some(held) = self.by_name.get_mut(&device.name) else {
            return Err(Error::Missing("port of the interface"));
        };
        // The pin holds the link; without a pin it must go before a new one can come.
        held.link = None;
        let Attached { link, frags } =
            attach::attach(programs, device, mode, &pins.link(&device.name))?;
        (held.link, held.frags) = (Some(link), frags);
        Ok(())
    }

    /// Whether an interface has the program for frames in several buffers.
    pub(super) fn takes_frags(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|held| held.frags)
    }

    /// Loads what [`Self::replace_program`] is going to need, so that it does not fail half-way.
    pub(super) fn load_for_all(&self, programs: &mut Programs<'_>) -> Result<(), Error> {
        for held in self.by_name.values() {
            programs.get(held.frags)?;
        }
        Ok(())
    }

    /// Puts another program into every link, one atomic exchange each. A link whose interface is
    /// gone, or that somebody detached, stays without.
    pub(super) fn replace_program(&mut self, programs: &mut Programs<'_>) -> Result<(), Error> {
        for (name, held) in &mut self.by_name {
            let Some(link) = held.link.take() else {
                continue;
            };
            let program = programs.get(held.frags)?;
            match program.attach_to_link(link) {
                Ok(id) => held.link = Some(program.take_link(id)?),
                Err(error) if errno(&error) == Some(libc::ENOLINK) => {
                    log::debug!("interface {name}: its link is detached");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The interface is gone: its link goes, too; its port waits for it.
    pub(super) fn lose(&mut self, maps: &Maps, pins: &Pins, name: &str) -> Result<(), Error> {
        let Some(held) = self.by_name.get_mut(name) else {
            return Ok(());
        };
        detach_link(&pins.link(name));
        held.link = None;
        if let Some(device) = held.device.take() {
            clear_ingress(maps, device.ifindex);
        }
        pins::remove_file(&pins.link(name))
    }

    /// Detaches an interface that the configuration no longer names.
    pub(super) fn detach(&mut self, maps: &Maps, pins: &Pins, name: &str) -> Result<(), Error> {
        self.lose(maps, pins, name)?;
        if let Some(held) = self.by_name.remove(name) {
            maps.ports.write(u32::from(held.port), &Port::default());
            // Its entry in DEVICES stays: one that no port names is not used.
        }
        Ok(())
    }

    /// Routes that lead out of these interfaces lead out of these ports from now on. Of other interfaces
    /// than these and those with a port nothing is known any more: an earlier daemon had them.
    pub(super) fn alias(&self, maps: &Maps, aliases: &BTreeMap<u32, u16>) -> Result<(), Error> {
        let rows = (0..INGRESS_ROWS).flat_map(|number| maps.ingress.read(number).0);
        let known: BTreeMap<u32, u32> = rows.map(|way| (way.ifindex(), way.port())).collect();
        for ifindex in known.keys().filter(|ifindex| **ifindex != 0) {
            if self.port(*ifindex).is_none() && !aliases.contains_key(ifindex) {
                clear_ingress(maps, *ifindex);
            }
        }
        for (ifindex, port) in aliases {
            if known.get(ifindex) != Some(&u32::from(*port)) {
                enter(maps, Ingress::new(*ifindex, *port, 0)).ok_or_else(|| {
                    let name = if_indextoname(*ifindex);
                    Error::IngressRowFull {
                        name: name
                            .map_or_else(|_| ifindex.to_string(), |n| n.to_string_lossy().into()),
                        rows: INGRESS_ROWS,
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Says on which ports replies of `dnat` backends come in.
    pub(super) fn face_backends(&self, maps: &Maps, facing: &BTreeSet<u16>) {
        for held in self.by_name.values() {
            let Some(ifindex) = held.ifindex() else {
                continue;
            };
            let flags = if facing.contains(&held.port) {
                Ingress::FACES_BACKENDS
            } else {
                0
            };
            let row = maps.ingress.read(ingress_row(ifindex));
            if let Some(way) = row.0.iter().position(|way| way.ifindex() == ifindex) {
                let word = Ingress::new(ifindex, held.port, flags).0;
                if row.0[way].0 != word {
                    maps.ingress
                        .store_u64(ingress_row(ifindex), way * size_of::<u64>(), word);
                }
            }
        }
    }
}

impl Held {
    fn ifindex(&self) -> Option<u32> {
        self.device.as_ref().map(|device| device.ifindex)
    }
}

/// Enters the interface into its row, keeping the flags that it had.
fn set_ingress(maps: &Maps, device: &Device, port: u16) -> Result<u16, Error> {
    let row = maps.ingress.read(ingress_row(device.ifindex));
    let same = row.0.iter().find(|way| way.ifindex() == device.ifindex);
    let flags = if same.is_some_and(|way| way.faces_backends()) {
        Ingress::FACES_BACKENDS
    } else {
        0
    };
    enter(maps, Ingress::new(device.ifindex, port, flags)).ok_or_else(|| {
        Error::IngressRowFull {
            name: device.name.clone(),
            rows: INGRESS_ROWS,
        }
    })?;
    Ok(flags)
}

/// Writes over what is known of an interface, or where its row has room; `None`: it has none.
fn enter(maps: &Maps, ingress: Ingress) -> Option<()> {
    let number = ingress_row(ingress.ifindex());
    let ways = maps.ingress.read(number).0;
    let with = |ifindex| ways.iter().position(|way| way.ifindex() == ifindex);
    let way = with(ingress.ifindex()).or_else(|| with(0))?;
    maps.ingress
        .store_u64(number, way * size_of::<u64>(), ingress.0);
    Some(())
}

fn clear_ingress(maps: &Maps, ifindex: u32) {
    let number = ingress_row(ifindex);
    let row = maps.ingress.read(number);
    if let Some(way) = row.0.iter().position(|way| way.ifindex() == ifindex) {
        maps.ingress.store_u64(number, way * size_of::<u64>(), 0);
    }
}
