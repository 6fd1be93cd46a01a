//! The maps of the running program, typed, and how each write of a plan reaches them.

use std::{collections::BTreeMap, mem::offset_of};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, ArrayOfMaps, DevMap, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues,
    },
};
use lb_common::abi::{
    backend::Backend,
    counters::{BackendCounters, Counter},
    names,
    port::{IngressRow, Port},
    reply::ReplyV4,
    service::{ServiceId, ServiceRecord, ServiceRef},
    slot::{Slot, SlotRow},
    vip::VipKeyV4,
};

use super::{Error, mapped::MappedArray};
use crate::plan::{BackendIndex, RecordIndex, SlotIndex, Write};

/// `BPF_NOEXIST`: an entry is inserted, never updated.
const NOEXIST: u64 = 1;

/// Everything that the maps hold, as read back from the kernel.
pub(super) struct Contents {
    pub(super) vips: BTreeMap<VipKeyV4, ServiceId>,
    pub(super) replies: BTreeMap<VipKeyV4, ReplyV4>,
    pub(super) services: Vec<ServiceRef>,
    pub(super) records: Vec<ServiceRecord>,
    pub(super) slots: Vec<Slot>,
    pub(super) backends: Vec<Backend>,
}

/// Every map that the daemon works on.
pub(super) struct Maps {
    vips: HashMap<MapData, VipKeyV4, ServiceId>,
    replies: HashMap<MapData, VipKeyV4, ReplyV4>,
    services: MappedArray<u64>,
    records: MappedArray<ServiceRecord>,
    slots: MappedArray<SlotRow>,
    backends: MappedArray<Backend>,
    backend_counters: PerCpuArray<MapData, BackendCounters>,
    counters: PerCpuArray<MapData, u64>,
    pub(super) ports: MappedArray<Port>,
    pub(super) ingress: MappedArray<IngressRow>,
    pub(super) devices: DevMap<MapData>,
    barrier: ArrayOfMaps<MapData, Array<MapData, u32>>,
    barrier_entry: Array<MapData, u32>,
}

impl Maps {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            vips: typed(ebpf, names::VIPS_IPV4)?,
            replies: typed(ebpf, names::REPLIES_IPV4)?,
            services: mapped(ebpf, names::SERVICES)?,
            records: mapped(ebpf, names::RECORDS)?,
            slots: mapped(ebpf, names::SLOTS)?,
            backends: mapped(ebpf, names::BACKENDS)?,
            backend_counters: typed(ebpf, names::BACKEND_COUNTERS)?,
            counters: typed(ebpf, names::COUNTERS)?,
            ports: mapped(ebpf, names::PORTS)?,
            ingress: mapped(ebpf, names::INGRESS)?,
            devices: typed(ebpf, names::DEVICES)?,
            barrier: typed(ebpf, names::BARRIER)?,
            barrier_entry: Array::create(1, 0).map_err(in_map(names::BARRIER))?,
        })
    }

    /// What the maps hold, as read back.
    pub(super) fn read(&self) -> Result<Contents, Error> {
        let vips = self
            .vips
            .iter()
            .collect::<Result<_, _>>()
            .map_err(in_map(names::VIPS_IPV4))?;
        let replies = self
            .replies
            .iter()
            .collect::<Result<_, _>>()
            .map_err(in_map(names::REPLIES_IPV4))?;
        Ok(Contents {
            vips,
            replies,
            services: values(&self.services).map(ServiceRef).collect(),
            records: values(&self.records).collect(),
            slots: values(&self.slots).flat_map(|row| row.0).collect(),
            backends: values(&self.backends).collect(),
        })
    }

    /// Carries out one write.
    pub(super) fn write(&mut self, write: &Write) -> Result<(), Error> {
        match write {
            Write::Backend {
                index: BackendIndex(index),
                entry,
            } => {
                self.backends.write(*index, entry);
            }
            Write::BackendState {
                index: BackendIndex(index),
                state,
            } => {
                self.backends
                    .store_u32(*index, offset_of!(Backend, state), state.0);
            }
            Write::NextHop {
                index: BackendIndex(index),
                next_hop,
            } => {
                self.backends
                    .store_u64(*index, offset_of!(Backend, next_hop), next_hop.0);
            }
            Write::ResetCounters { index } => return self.reset_counters(*index),
            Write::Record {
                index: RecordIndex(index),
                record,
            } => {
                self.records.write(*index, record);
            }
            Write::Slots {
                first: SlotIndex(first),
                slots,
            } => {
                // Rows follow each other without a gap, so slots do.
                self.slots
                    .store_words(*first, slots.iter().map(|Slot(word)| *word));
            }
            Write::Publish { service, record } => self.services.store_u64(service.0, 0, record.0),
            Write::InsertVip { key, service } => {
                return self
                    .vips
                    .insert(key, service, NOEXIST)
                    .map_err(in_map(names::VIPS_IPV4));
            }
            Write::DeleteVip { key } => {
                return self.vips.remove(key).map_err(in_map(names::VIPS_IPV4));
            }
            Write::InsertReply { key, reply } => {
                return self
                    .replies
                    .insert(key, reply, NOEXIST)
                    .map_err(in_map(names::REPLIES_IPV4));
            }
            Write::DeleteReply { key } => {
                return self
                    .replies
                    .remove(key)
                    .map_err(in_map(names::REPLIES_IPV4));
            }
        }
        Ok(())
    }

    /// Waits until no program runs that could have seen what was before: the kernel ends an update
    /// of a map of maps with an RCU grace period (`maybe_wait_bpf_programs`).
    pub(super) fn barrier(&mut self) -> Result<(), Error> {
        self.barrier
            .set(0, &self.barrier_entry, 0)
            .map_err(in_map(names::BARRIER))
    }

    /// A counter, summed over the CPUs.
    pub(super) fn counter(&self, counter: Counter) -> Result<u64, Error> {
        let values = self
            .counters
            .get(&counter.index(), 0)
            .map_err(in_map(names::COUNTERS))?;
        Ok(values.iter().sum())
    }

    /// A backend's counters, summed over the CPUs.
    pub(super) fn backend_counters(
        &self,
        BackendIndex(index): BackendIndex,
    ) -> Result<BackendCounters, Error> {
        let values = self
            .backend_counters
            .get(&index, 0)
            .map_err(in_map(names::BACKEND_COUNTERS))?;
        Ok(values
            .iter()
            .fold(BackendCounters::default(), |sum, cpu| BackendCounters {
                packets: sum.packets + cpu.packets,
                bytes: sum.bytes + cpu.bytes,
                new_flows: sum.new_flows + cpu.new_flows,
            }))
    }

    fn reset_counters(&mut self, BackendIndex(index): BackendIndex) -> Result<(), Error> {
        let cpus = aya::util::nr_cpus().map_err(|(doing, source)| Error::Io {
            doing: format!("reading {doing}"),
            source,
        })?;
        PerCpuValues::try_from(vec![BackendCounters::default(); cpus])
            .map_err(MapError::IoError)
            .and_then(|zeros| self.backend_counters.set(index, zeros, 0))
            .map_err(in_map(names::BACKEND_COUNTERS))
    }
}

/// Takes a map by its name, as the type that the name stands for.
pub(super) fn typed<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, Error> {
    let map = ebpf.take_map(name).ok_or(Error::Missing(name))?;
    M::try_from(map).map_err(in_map(name))
}

fn mapped<T: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<MappedArray<T>, Error> {
    MappedArray::new(name, ebpf.take_map(name).ok_or(Error::Missing(name))?)
}

fn values<T: Pod>(array: &MappedArray<T>) -> impl Iterator<Item = T> {
    (0..array.len()).map(|index| array.read(index))
}

/// Names the map in an error.
pub(super) fn in_map(map: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map { map, source }
}
