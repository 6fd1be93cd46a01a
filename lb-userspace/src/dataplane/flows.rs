//! The flow tables as the daemon sees them: read in batches, cleaned entry by entry, while the program
//! goes on inserting and changing entries. Which entries go is not decided here.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, PerCpuArray, PerCpuValues},
};
use lb_common::abi::{
    flow::{self, FlowCounters, FlowEntry, FlowKeyV4},
    names,
    service::ServiceId,
};

use super::{
    Dataplane, Error,
    maps::{in_map, typed},
    sys::map as calls,
};

/// Which table of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `FLOWS_IPV4`: flows of slots in motion.
    Transition,
    /// `ALWAYS_FLOWS_IPV4`: flows of services that are always tracked.
    Always,
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
    pub entries: Vec<(FlowKeyV4, FlowEntry)>,
    /// `None`: the pass is complete.
    pub next: Option<Cursor>,
}

/// The maps.
pub(super) struct Flows {
    transition: MapData,
    always: MapData,
    counters: PerCpuArray<MapData, FlowCounters>,
}

impl Flows {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            transition: data(ebpf, names::FLOWS_IPV4)?,
            always: data(ebpf, names::ALWAYS_FLOWS_IPV4)?,
            counters: typed(ebpf, names::FLOW_COUNTERS)?,
        })
    }

    fn table(&self, table: Table) -> BorrowedFd<'_> {
        match table {
            Table::Transition => self.transition.fd().as_fd(),
            Table::Always => self.always.fd().as_fd(),
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
    pub fn flows(&self, table: Table, from: Option<Cursor>, most: u32) -> Result<Batch, Error> {
        let map = self.flows.table(table);
        let mut room = most.max(1);
        loop {
            match calls::lookup_batch(map, from.map(|Cursor(bucket)| bucket), room) {
                Ok(read) => {
                    return Ok(Batch {
                        entries: read.elements,
                        next: read.next.map(Cursor),
                    });
                }
                // Ends: no bucket holds more than the map.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    room = room.saturating_mul(2);
                }
                Err(error) => return Err(in_map(table.name())(MapError::IoError(error))),
            }
        }
    }

    /// One flow's entry, if there is one.
    ///
    /// # Errors
    /// The map's.
    pub fn flow(&self, table: Table, key: &FlowKeyV4) -> Result<Option<FlowEntry>, Error> {
        match calls::lookup(self.flows.table(table), key) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(in_map(table.name())(MapError::IoError(error))),
        }
    }

    /// Takes an entry out. `None`: there was none.
    ///
    /// # Errors
    /// The map's.
    pub fn take_flow(&self, table: Table, key: &FlowKeyV4) -> Result<Option<FlowEntry>, Error> {
        match calls::lookup_and_delete(self.flows.table(table), key) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(in_map(table.name())(MapError::IoError(error))),
        }
    }

    /// Puts back an entry that turned out to be in use. False: the program has made one since, which
    /// stays.
    ///
    /// # Errors
    /// The map's; a full table (`E2BIG`) too: the entry's place was taken meanwhile.
    pub fn put_flow_back(
        &self,
        table: Table,
        key: &FlowKeyV4,
        entry: FlowEntry,
    ) -> Result<bool, Error> {
        match calls::insert(self.flows.table(table), key, &entry) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(in_map(table.name())(MapError::IoError(error))),
        }
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

impl Table {
    /// The map's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Transition => names::FLOWS_IPV4,
            Self::Always => names::ALWAYS_FLOWS_IPV4,
        }
    }
}

fn data(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, Error> {
    match ebpf.take_map(name) {
        Some(Map::HashMap(data) | Map::LruHashMap(data)) => Ok(data),
        _ => Err(Error::Missing(name)),
    }
}
