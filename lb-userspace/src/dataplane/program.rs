//! Loading the XDP program onto its maps: sizes, read-only settings, pins.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, MapInfo},
    programs::Xdp,
};
use lb_common::abi::{
    ABI_VERSION, AbiStamp,
    backend::Backend,
    counters::{BackendCounters, Counter},
    flow::{FlowCounters, FlowEntry, FlowKeyV4, FlowKeyV6},
    lookup::{Row, Rows},
    names,
    port::{INGRESS_ROWS, IngressRow, MAX_PORTS, Port},
    reply::{ReplyV4, ReplyV6},
    service::{ServiceRecord, ServiceRef},
    settings::{Settings, feature},
    slot::{SLOTS_PER_ROW, SlotRow},
    vip::{Vip, VipKeyV4, VipKeyV6},
};

use super::{
    Error,
    maps::in_map,
    pins::{self, Pins},
    refusal,
};
use crate::{model::Limits, plan::Capacity};

/// The program's object file, built by the build script.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sluice.bpf.o"));

/// The smallest ring buffer: a page.
const SMALLEST_RING: u32 = 4096;

/// Loads the object: maps are taken from their pins, or made and pinned; no program is loaded yet.
/// A table for services that are always tracked, pinned while there was none, gives way to a full
/// one; the running program keeps its own.
pub(super) fn open(
    pins: &Pins,
    limits: Limits,
    settings: &Settings,
    traced: bool,
) -> Result<Ebpf, Error> {
    let rows = rows(limits, settings);
    let mut loader = sized(limits, settings, &rows, traced);
    for shape in shapes(limits) {
        let pin = pins.map(shape.name);
        if shape.is_optional() && shape.is_used(settings) && pin.exists() {
            let info = MapInfo::from_pin(&pin).map_err(in_map(shape.name))?;
            if info.max_entries() != shape.entries {
                pins::remove_file(&pin)?;
            }
        }
        loader.map_pin_path(shape.name, pin);
    }
    loader
        .load(OBJECT)
        .map_err(|error| Error::Load(Box::new(error)))
}

/// Loads the object on maps of its own, which go with it.
pub(super) fn open_apart(limits: Limits, settings: &Settings, traced: bool) -> Result<Ebpf, Error> {
    sized(limits, settings, &rows(limits, settings), traced)
        .load(OBJECT)
        .map_err(|error| Error::Load(Box::new(error)))
}

fn sized<'a>(
    limits: Limits,
    settings: &'a Settings,
    rows: &'a Rows,
    traced: bool,
) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.override_global(names::SETTINGS, settings, true);
    loader.override_global(names::ROWS, rows, true);
    for shape in shapes(limits) {
        loader.map_max_entries(shape.name, shape.entries_with(settings));
    }
    if !traced {
        // The log buffer belongs to the tracing program alone.
        loader.map_max_entries("AYA_LOGS", SMALLEST_RING);
    }
    loader
}

/// The programs of one object that stand for each other: which of them an interface gets depends on
/// whether its frames may lie in several buffers.
pub(super) struct Programs<'a> {
    ebpf: &'a mut Ebpf,
    pair: &'static Pair,
}

/// Their names.
pub(super) struct Pair {
    pub(super) plain: &'static str,
    pub(super) frags: &'static str,
}

/// Those that carry traffic.
pub(super) static ORDINARY: Pair = Pair {
    plain: names::PROGRAM,
    frags: names::FRAGS_PROGRAM,
};

/// Those that take their place while somebody traces.
pub(super) static TRACED: Pair = Pair {
    plain: names::TRACED_PROGRAM,
    frags: names::TRACED_FRAGS_PROGRAM,
};

impl<'a> Programs<'a> {
    pub(super) const fn new(ebpf: &'a mut Ebpf, pair: &'static Pair) -> Self {
        Self { ebpf, pair }
    }

    /// The one for frames in one buffer, or in several; loaded when it is first asked for.
    pub(super) fn get(&mut self, frags: bool) -> Result<&mut Xdp, Error> {
        let Pair {
            plain,
            frags: in_several,
        } = self.pair;
        loaded(self.ebpf, if frags { in_several } else { plain })
    }
}

/// One of the object's programs; loaded into the kernel when it is first asked for.
pub(super) fn loaded<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    let program: &mut Xdp = ebpf
        .program_mut(name)
        .ok_or(Error::Missing(name))?
        .try_into()?;
    if program.fd().is_err() {
        program
            .load()
            .map_err(|error| refusal::explain(name, error))?;
    }
    Ok(program)
}

/// Whether the pinned maps can be taken over.
pub(super) enum Found {
    /// None, or unfinished ones.
    Nothing,
    /// Complete, of this version, of these sizes.
    Adoptable,
}

/// Compares what is pinned with what this daemon would make. Reusing a pinned map compares nothing
/// by itself.
pub(super) fn inspect(pins: &Pins, limits: Limits) -> Result<Found, Error> {
    // The stamp is pinned last, so without it the maps were never finished.
    if !pins.abi().exists() {
        return Ok(Found::Nothing);
    }
    let instance = || pins.instance().to_owned();
    let stamp = MapData::from_pin(pins.abi())
        .and_then(|data| Array::<_, AbiStamp>::try_from(aya::maps::Map::Array(data)))
        .and_then(|map| map.get(&0, 0))
        .map_err(in_map(names::ABI))?;
    if stamp.version != ABI_VERSION {
        return Err(Error::OtherAbi {
            instance: instance(),
            found: stamp.version,
            expected: ABI_VERSION,
        });
    }
    for shape in shapes(limits) {
        let map = shape.name;
        let info = MapInfo::from_pin(pins.map(map)).map_err(in_map(map))?;
        if (info.key_size(), info.value_size()) != (shape.key, shape.value) {
            return Err(Error::OtherLayout {
                instance: instance(),
                map,
            });
        }
        let unused = shape.is_optional() && info.max_entries() == UNUSED;
        if info.max_entries() != shape.entries && !unused {
            return Err(Error::OtherLimits {
                instance: instance(),
                map,
                found: info.max_entries(),
                expected: shape.entries,
            });
        }
    }
    Ok(Found::Adoptable)
}

/// Whether an earlier daemon's table of services that are always tracked is there in full: flows may be
/// remembered in it and nowhere else.
pub(super) fn has_always_table(pins: &Pins) -> Result<bool, Error> {
    let pin = pins.map(names::ALWAYS_FLOWS_IPV4);
    let info = MapInfo::from_pin(pin).map_err(in_map(names::ALWAYS_FLOWS_IPV4))?;
    Ok(info.max_entries() != UNUSED)
}

/// Marks the maps as complete and of this version.
pub(super) fn stamp(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    let map = ebpf
        .take_map(names::ABI)
        .ok_or(Error::Missing(names::ABI))?;
    let mut array: Array<MapData, AbiStamp> = map.try_into().map_err(in_map(names::ABI))?;
    array
        .set(
            0,
            AbiStamp {
                version: ABI_VERSION,
                reserved: 0,
            },
            0,
        )
        .map_err(in_map(names::ABI))?;
    array.pin(pins.abi())?;
    Ok(())
}

/// What a pinned map looks like.
struct Shape {
    name: &'static str,
    key: u32,
    value: u32,
    /// Entries where it is used.
    entries: u32,
    /// The features that use it; 0: it is always used.
    needs: u32,
}

/// Entries of a map that nothing uses.
const UNUSED: u32 = 1;

impl Shape {
    const fn new<K, V>(name: &'static str, entries: u32) -> Self {
        Self {
            name,
            key: size_of::<K>() as u32,
            value: size_of::<V>() as u32,
            entries,
            needs: 0,
        }
    }

    /// The same, made with one entry where one of these features is off.
    const fn used_with(self, needs: u32) -> Self {
        Self { needs, ..self }
    }

    const fn is_used(&self, settings: &Settings) -> bool {
        settings.features & self.needs == self.needs
    }

    /// Entries that it is made with.
    const fn entries_with(&self, settings: &Settings) -> u32 {
        if self.is_used(settings) {
            self.entries
        } else {
            UNUSED
        }
    }

    /// Whether there are configurations that do not use it.
    const fn is_optional(&self) -> bool {
        self.needs != 0
    }
}

/// How many rows the look-up tables have that a program with these settings reads.
fn rows(limits: Limits, settings: &Settings) -> Rows {
    let shapes = shapes(limits);
    let rows = |name| {
        let shape = shapes.iter().find(|shape| shape.name == name);
        shape.map_or(UNUSED, |shape| shape.entries_with(settings))
    };
    Rows {
        vips_ipv4: rows(names::VIPS_IPV4),
        vips_ipv6: rows(names::VIPS_IPV6),
        replies_ipv4: rows(names::REPLIES_IPV4),
        replies_ipv6: rows(names::REPLIES_IPV6),
    }
}

/// Every pinned map, sized by the limits; a look-up table has a row for each key.
fn shapes(limits: Limits) -> [Shape; names::PINNED_MAPS.len()] {
    let Capacity {
        services,
        records,
        vips,
        replies,
        backends,
        slots,
        flows_ipv4,
        flows_ipv6,
    } = Capacity::from(&limits);
    [
        Shape::new::<u32, Row<VipKeyV4, Vip>>(names::VIPS_IPV4, vips),
        Shape::new::<u32, Row<VipKeyV6, Vip>>(names::VIPS_IPV6, vips).used_with(feature::IPV6),
        Shape::new::<u32, ServiceRef>(names::SERVICES, services),
        Shape::new::<u32, ServiceRecord>(names::RECORDS, records + 1),
        Shape::new::<u32, SlotRow>(names::SLOTS, slots.div_ceil(SLOTS_PER_ROW)),
        Shape::new::<u32, Backend>(names::BACKENDS, backends),
        Shape::new::<u32, BackendCounters>(names::BACKEND_COUNTERS, backends),
        Shape::new::<u32, u64>(names::COUNTERS, Counter::COUNT),
        Shape::new::<u32, Row<VipKeyV4, ReplyV4>>(names::REPLIES_IPV4, replies),
        Shape::new::<u32, Row<VipKeyV6, ReplyV6>>(names::REPLIES_IPV6, replies)
            .used_with(feature::IPV6),
        Shape::new::<u32, Port>(names::PORTS, MAX_PORTS),
        Shape::new::<u32, [u32; 2]>(names::DEVICES, MAX_PORTS),
        Shape::new::<u32, IngressRow>(names::INGRESS, INGRESS_ROWS),
        Shape {
            name: names::PUNTS,
            key: 0,
            value: 0,
            entries: PUNT_BYTES,
            needs: 0,
        },
        Shape::new::<FlowKeyV4, FlowEntry>(names::FLOWS_IPV4, flows_ipv4),
        Shape::new::<FlowKeyV4, FlowEntry>(names::ALWAYS_FLOWS_IPV4, flows_ipv4)
            .used_with(feature::ALWAYS),
        Shape::new::<FlowKeyV6, FlowEntry>(names::FLOWS_IPV6, flows_ipv6).used_with(feature::IPV6),
        Shape::new::<FlowKeyV6, FlowEntry>(names::ALWAYS_FLOWS_IPV6, flows_ipv6)
            .used_with(feature::IPV6 | feature::ALWAYS),
        Shape::new::<u32, FlowCounters>(names::FLOW_COUNTERS, services),
    ]
}

/// Bytes of the ring buffer of punted packets: 31 of them. Small on purpose, see `maps.rs` of the
/// program.
const PUNT_BYTES: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_map_has_a_shape() {
        let shapes = shapes(Limits::default());
        let names: Vec<_> = shapes.iter().map(|shape| shape.name).collect();
        assert_eq!(names, names::PINNED_MAPS);
    }
}
