//! The maps of the running program, typed, and how each write of a plan reaches them.

use std::{collections::BTreeMap, io, mem::offset_of};

use aya::{
    Ebpf, Pod,
    maps::{Array, ArrayOfMaps, DevMapHash, Map, MapData, MapError, PerCpuArray, PerCpuValues},
};
use lb_common::abi::{
    backend::Backend,
    counters::{BackendCounters, Counter},
    names,
    port::{IngressRow, Port},
    reply::{ReplyV4, ReplyV6},
    service::{ServiceId, ServiceRecord, ServiceRef},
    slot::{Slot, SlotRow},
    vip::{Vip, VipKeyV4, VipKeyV6},
};

use super::{Error, lookup::Lookup, mapped::MappedArray};
use crate::plan::{BackendIndex, RecordIndex, ReplyTarget, SlotIndex, VipKey, Write};

/// Everything that the maps hold, as read back from the kernel.
pub(super) struct Contents {
    pub(super) vips: BTreeMap<VipKey, ServiceId>,
    pub(super) replies: BTreeMap<VipKey, ReplyTarget>,
    pub(super) services: Vec<ServiceRef>,
    pub(super) records: Vec<ServiceRecord>,
    pub(super) slots: Vec<Slot>,
    pub(super) backends: Vec<Backend>,
}

/// Every map that the daemon works on.
pub(super) struct Maps {
    ipv4: Keyed<VipKeyV4, ReplyV4>,
    ipv6: Keyed<VipKeyV6, ReplyV6>,
    services: MappedArray<u64>,
    records: MappedArray<ServiceRecord>,
    slots: MappedArray<SlotRow>,
    backends: MappedArray<Backend>,
    backend_counters: PerCpuArray<MapData, BackendCounters>,
    counters: PerCpuArray<MapData, u64>,
    pub(super) ports: MappedArray<Port>,
    pub(super) ingress: MappedArray<IngressRow>,
    pub(super) devices: DevMapHash<MapData>,
    barrier: Barrier,
}

/// What is looked up by address, for one version of IP.
struct Keyed<K, R> {
    vips: Lookup<K, Vip>,
    replies: Lookup<K, R>,
}

/// What waiting for running programs takes.
struct Barrier {
    map: ArrayOfMaps<MapData, Array<MapData, u32>>,
    entry: Array<MapData, u32>,
}

impl Maps {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            ipv4: Keyed {
                vips: Lookup::take(ebpf, names::VIPS_IPV4)?,
                replies: Lookup::take(ebpf, names::REPLIES_IPV4)?,
            },
            ipv6: ipv6(ebpf)?,
            services: MappedArray::take(ebpf, names::SERVICES)?,
            records: MappedArray::take(ebpf, names::RECORDS)?,
            slots: MappedArray::take(ebpf, names::SLOTS)?,
            backends: MappedArray::take(ebpf, names::BACKENDS)?,
            backend_counters: typed(ebpf, names::BACKEND_COUNTERS)?,
            counters: typed(ebpf, names::COUNTERS)?,
            ports: MappedArray::take(ebpf, names::PORTS)?,
            ingress: MappedArray::take(ebpf, names::INGRESS)?,
            devices: typed(ebpf, names::DEVICES)?,
            barrier: Barrier {
                map: typed(ebpf, names::BARRIER)?,
                entry: Array::create(1, 0).map_err(in_map(names::BARRIER))?,
            },
        })
    }

    /// Takes those maps that a program with other settings has in another size.
    pub(super) fn retake(&mut self, ebpf: &mut Ebpf) -> Result<(), Error> {
        self.ipv6 = ipv6(ebpf)?;
        Ok(())
    }

    /// What the maps hold, as read back.
    pub(super) fn read(&self) -> Contents {
        let (v4, v6) = (self.ipv4.vips.iter(), self.ipv6.vips.iter());
        let vips = v4
            .map(|(key, vip)| (VipKey::V4(key), vip.service))
            .chain(v6.map(|(key, vip)| (VipKey::V6(key), vip.service)))
            .collect();
        let (v4, v6) = (self.ipv4.replies.iter(), self.ipv6.replies.iter());
        let replies = v4
            .map(|(key, reply)| (VipKey::V4(key), ReplyTarget::V4(reply)))
            .chain(v6.map(|(key, reply)| (VipKey::V6(key), ReplyTarget::V6(reply))))
            .collect();
        Contents {
            vips,
            replies,
            services: values(&self.services).map(ServiceRef).collect(),
            records: values(&self.records).skip(1).collect(),
            slots: values(&self.slots).flat_map(|row| row.0).collect(),
            backends: values(&self.backends).collect(),
        }
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
            Write::Tunnel {
                index: BackendIndex(index),
                source,
                mtu,
            } => {
                let (first, last) = source.raw();
                let place = offset_of!(Backend, source);
                self.backends.store_u64(*index, place, first);
                self.backends
                    .store_u64(*index, place + size_of::<u64>(), last);
                self.backends
                    .store_u32(*index, offset_of!(Backend, mtu), *mtu);
            }
            Write::ResetCounters { index } => return self.reset_counters(*index),
            Write::Record {
                index: RecordIndex(index),
                record,
            } => {
                self.records
                    .write(ServiceRef::record(*index).place(), record);
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
            Write::InsertVip { key, service } => return self.insert_vip(key, *service),
            Write::DeleteVip { key } => {
                return match key {
                    VipKey::V4(key) => self.ipv4.vips.remove(key),
                    VipKey::V6(key) => self.ipv6.vips.remove(key),
                };
            }
            Write::InsertReply { key, reply } => return self.insert_reply(key, reply),
            Write::DeleteReply { key } => {
                return match key {
                    VipKey::V4(key) => self.ipv4.replies.remove(key),
                    VipKey::V6(key) => self.ipv6.replies.remove(key),
                };
            }
        }
        Ok(())
    }

    fn insert_vip(&mut self, key: &VipKey, service: ServiceId) -> Result<(), Error> {
        let vip = Vip {
            service,
            reserved: 0,
        };
        let settle = || self.barrier.wait();
        match key {
            VipKey::V4(key) => self.ipv4.vips.insert(key, &vip, settle),
            VipKey::V6(key) => self.ipv6.vips.insert(key, &vip, settle),
        }
    }

    fn insert_reply(&mut self, key: &VipKey, reply: &ReplyTarget) -> Result<(), Error> {
        let settle = || self.barrier.wait();
        match (key, reply) {
            (VipKey::V4(key), ReplyTarget::V4(reply)) => {
                self.ipv4.replies.insert(key, reply, settle)
            }
            (VipKey::V6(key), ReplyTarget::V6(reply)) => {
                self.ipv6.replies.insert(key, reply, settle)
            }
            // Plans have none such.
            (VipKey::V4(_), _) => Err(refused(names::REPLIES_IPV4, io::ErrorKind::InvalidInput)),
            (VipKey::V6(_), _) => Err(refused(names::REPLIES_IPV6, io::ErrorKind::InvalidInput)),
        }
    }

    /// Waits until no program runs that could have seen what was before.
    pub(super) fn barrier(&mut self) -> Result<(), Error> {
        self.barrier.wait()
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

impl Barrier {
    /// The kernel ends an update of a map of maps with an RCU grace period
    /// (`maybe_wait_bpf_programs`).
    fn wait(&mut self) -> Result<(), Error> {
        self.map
            .set(0, &self.entry, 0)
            .map_err(in_map(names::BARRIER))
    }
}

/// What a map refuses that is in this process's memory.
pub(super) fn refused(map: &'static str, kind: io::ErrorKind) -> Error {
    in_map(map)(MapError::IoError(kind.into()))
}

fn ipv6(ebpf: &mut Ebpf) -> Result<Keyed<VipKeyV6, ReplyV6>, Error> {
    Ok(Keyed {
        vips: Lookup::take(ebpf, names::VIPS_IPV6)?,
        replies: Lookup::take(ebpf, names::REPLIES_IPV6)?,
    })
}

/// Takes a map by its name, as the type that the name stands for.
pub(super) fn typed<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, Error> {
    let map = ebpf.take_map(name).ok_or(Error::Missing(name))?;
    M::try_from(map).map_err(in_map(name))
}

fn values<T: Pod>(array: &MappedArray<T>) -> impl Iterator<Item = T> {
    (0..array.len()).map(|index| array.read(index))
}

/// Names the map in an error.
pub(super) fn in_map(map: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map { map, source }
}
