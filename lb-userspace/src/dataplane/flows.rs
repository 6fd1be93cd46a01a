//! The flow tables as the daemon sees them: read in batches, cleaned entry by entry, while the program
//! goes on inserting and changing entries. Which entries go is not decided here.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, MapError, PerCpuArray, PerCpuValues},
};
use lb_common::abi::{
    flow::{self, FlowCounters, FlowEntry},
    names,
    service::ServiceId,
};

use super::{
    Dataplane, Error,
    maps::{in_map, typed},
    sys::map as calls,
};
use crate::plan::FlowKey;

/// Which table of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `FLOWS_IPV4` and `FLOWS_IPV6`: flows of slots in motion.
    Transition,
    /// `ALWAYS_FLOWS_IPV4` and `ALWAYS_FLOWS_IPV6`: flows of services that are always tracked.
    Always,
}

/// A version of IP: there is a table of each kind for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One map of flows, on a walk over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// What it is for.
    pub table: Table,
    /// Whose flows it has.
    pub version: IpVersion,
}

/// Where a pass over a table goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(u32);

impl Cursor {
    /// To go on from what [`Self::raw`] gave.
    pub const fn from_raw(bucket: u32) -> Self {
        Self(bucket)
    }

    /// For keeping it where this type is not known.
    pub const fn raw(self) -> u32 {
        let Self(bucket) = self;
        bucket
    }
}

/// Some entries of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// As they were when they were read; the program may have changed them since.
    pub entries: Vec<(FlowKey, FlowEntry)>,
    /// `None`: the pass is complete.
    pub next: Option<Cursor>,
}

/// The maps.
pub(super) struct Flows {
    ipv4: Tables,
    ipv6: Tables,
    counters: PerCpuArray<MapData, FlowCounters>,
}

/// Those of one version of IP.
struct Tables {
    transition: MapData,
    always: MapData,
}

impl Flows {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            ipv4: Tables {
                transition: data(ebpf, names::FLOWS_IPV4)?,
                always: data(ebpf, names::ALWAYS_FLOWS_IPV4)?,
            },
            ipv6: Tables {
                transition: data(ebpf, names::FLOWS_IPV6)?,
                always: data(ebpf, names::ALWAYS_FLOWS_IPV6)?,
            },
            counters: typed(ebpf, names::FLOW_COUNTERS)?,
        })
    }

    fn map(&self, Walked { table, version }: Walked) -> BorrowedFd<'_> {
        let tables = match version {
            IpVersion::V4 => &self.ipv4,
            IpVersion::V6 => &self.ipv6,
        };
        match table {
            Table::Transition => tables.transition.fd().as_fd(),
            Table::Always => tables.always.fd().as_fd(),
        }
    }
}

impl Dataplane {
    /// Reads about `most` entries of a table, from where an earlier call ended. A bucket of the
    /// table is read whole, so there can be fewer, or more where one bucket alone holds more; none
    /// at all does not mean that the pass is complete. An entry that is there during a whole pass
    /// is seen in it; one that comes meanwhile may be.
    ///
    /// # Errors
    /// The map's.
    pub fn flows(&self, walked: Walked, from: Option<Cursor>, most: u32) -> Result<Batch, Error> {
        match walked.version {
            IpVersion::V4 => self.read(walked, from, most, FlowKey::V4),
            IpVersion::V6 => self.read(walked, from, most, FlowKey::V6),
        }
    }

    fn read<K: Pod + Default>(
        &self,
        walked: Walked,
        from: Option<Cursor>,
        most: u32,
        key: fn(K) -> FlowKey,
    ) -> Result<Batch, Error> {
        let map = self.flows.map(walked);
        let mut room = most.max(1);
        loop {
            match calls::lookup_batch(map, from.map(|Cursor(bucket)| bucket), room) {
                Ok(read) => {
                    return Ok(Batch {
                        entries: (read.elements.into_iter())
                            .map(|(raw, entry)| (key(raw), entry))
                            .collect(),
                        next: read.next.map(Cursor),
                    });
                }
                // Ends: no bucket holds more than the map.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    room = room.saturating_mul(2);
                }
                Err(error) => return Err(in_map(walked.name())(MapError::IoError(error))),
            }
        }
    }

    /// One flow's entry, if there is one.
    ///
    /// # Errors
    /// The map's.
    pub fn flow(&self, table: Table, key: &FlowKey) -> Result<Option<FlowEntry>, Error> {
        let walked = Walked::with(table, key);
        let map = self.flows.map(walked);
        let found = match key {
            FlowKey::V4(key) => calls::lookup(map, key),
            FlowKey::V6(key) => calls::lookup(map, key),
        };
        unless(libc::ENOENT, found, walked)
    }

    /// Takes an entry out. `None`: there was none.
    ///
    /// # Errors
    /// The map's.
    pub fn take_flow(&self, table: Table, key: &FlowKey) -> Result<Option<FlowEntry>, Error> {
        let walked = Walked::with(table, key);
        let map = self.flows.map(walked);
        let taken = match key {
            FlowKey::V4(key) => calls::lookup_and_delete(map, key),
            FlowKey::V6(key) => calls::lookup_and_delete(map, key),
        };
        unless(libc::ENOENT, taken, walked)
    }

    /// Puts back an entry that turned out to be in use. False: the program has made one since, which
    /// stays.
    ///
    /// # Errors
    /// The map's; a full table (`E2BIG`) too: the entry's place was taken meanwhile.
    pub fn put_flow_back(
        &self,
        table: Table,
        key: &FlowKey,
        entry: FlowEntry,
    ) -> Result<bool, Error> {
        let walked = Walked::with(table, key);
        let map = self.flows.map(walked);
        let put = match key {
            FlowKey::V4(key) => calls::insert(map, key, &entry),
            FlowKey::V6(key) => calls::insert(map, key, &entry),
        };
        Ok(unless(libc::EEXIST, put, walked)?.is_some())
    }

    /// What became of a service's look-ups: sums over the CPUs, and the latest refusal on any.
    ///
    /// # Errors
    /// The map's.
    pub fn flow_counters(&self, service: ServiceId) -> Result<FlowCounters, Error> {
        let values = self
            .flows
            .counters
            .get(&service.0, 0)
            .map_err(in_map(names::FLOW_COUNTERS))?;
        Ok(values.iter().fold(FlowCounters::default(), |sum, cpu| {
            let FlowCounters {
                lookups,
                misses,
                inserts,
                refused,
                last_refused,
            } = *cpu;
            FlowCounters {
                lookups: sum.lookups + lookups,
                misses: sum.misses + misses,
                inserts: sum.inserts + inserts,
                refused: sum.refused + refused,
                last_refused: sum.last_refused.max(last_refused),
            }
        }))
    }

    /// Begins a service's counters anew: its id is given to another. Only while no packet reaches
    /// the id.
    ///
    /// # Errors
    /// The map's.
    pub fn reset_flow_counters(&mut self, service: ServiceId) -> Result<(), Error> {
        let cpus = aya::util::nr_cpus().map_err(|(doing, source)| Error::Io {
            doing: format!("reading {doing}"),
            source,
        })?;
        PerCpuValues::try_from(vec![FlowCounters::default(); cpus])
            .map_err(MapError::IoError)
            .and_then(|zeros| self.flows.counters.set(service.0, zeros, 0))
            .map_err(in_map(names::FLOW_COUNTERS))
    }

    /// Ticks since boot by the clock that entries are stamped with. The program's may be some
    /// milliseconds behind.
    pub fn now_ticks() -> u64 {
        flow::ticks(calls::monotonic_nanoseconds())
    }
}

impl Walked {
    /// Where a walk begins.
    pub const FIRST: Self = Self {
        table: Table::Transition,
        version: IpVersion::V4,
    };

    /// Where it goes on; `None`: it is over.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        let (table, version) = match (self.table, self.version) {
            (table, IpVersion::V4) => (table, IpVersion::V6),
            (Table::Transition, IpVersion::V6) => (Table::Always, IpVersion::V4),
            (Table::Always, IpVersion::V6) => return None,
        };
        Some(Self { table, version })
    }

    /// The map of a kind that a flow would be in.
    const fn with(table: Table, key: &FlowKey) -> Self {
        let version = match key {
            FlowKey::V4(_) => IpVersion::V4,
            FlowKey::V6(_) => IpVersion::V6,
        };
        Self { table, version }
    }

    /// The map's name.
    const fn name(self) -> &'static str {
        match (self.table, self.version) {
            (Table::Transition, IpVersion::V4) => names::FLOWS_IPV4,
            (Table::Transition, IpVersion::V6) => names::FLOWS_IPV6,
            (Table::Always, IpVersion::V4) => names::ALWAYS_FLOWS_IPV4,
            (Table::Always, IpVersion::V6) => names::ALWAYS_FLOWS_IPV6,
        }
    }
}

/// `None` where a call failed with `errno`, which is an answer.
fn unless<T>(errno: i32, result: io::Result<T>, map: Walked) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error() == Some(errno) => Ok(None),
        Err(error) => Err(in_map(map.name())(MapError::IoError(error))),
    }
}

fn data(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, Error> {
    match ebpf.take_map(name) {
        Some(Map::HashMap(data) | Map::LruHashMap(data)) => Ok(data),
        _ => Err(Error::Missing(name)),
    }
}
