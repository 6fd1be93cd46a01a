//! What the maps hold, as far as plans need to know.
//!
//! An image begins empty, or is read back from the maps of a daemon that died ([`super::adopt`]), and
//! mirrors every write that was made. Slots outside of a record's range are unspecified.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_common::abi::{
    backend::{Backend, BackendState},
    service::{ServiceId, ServiceRecord},
    slot::Slot,
};

use super::{
    index::{BackendIndex, Range, RecordIndex, SlotIndex},
    keys::{ReplyTarget, VipKey},
    writes::Write,
};

/// What the maps hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub(super) vips: BTreeMap<VipKey, ServiceId>,
    pub(super) replies: BTreeMap<VipKey, ReplyTarget>,
    /// The record in force, of each id that has one.
    pub(super) services: BTreeMap<ServiceId, RecordIndex>,
    /// Those in force, and in the middle of a plan those to come and those that were.
    pub(super) records: BTreeMap<RecordIndex, ServiceRecord>,
    pub(super) slots: Vec<Slot>,
    /// Every entry that was ever used: a freed one keeps its generation.
    pub(super) backends: BTreeMap<BackendIndex, Backend>,
}

/// A published service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Where its record is.
    pub record_index: RecordIndex,
    /// The record in force.
    pub record: ServiceRecord,
    /// Its table.
    pub slots: &'a [Slot],
    /// The table that it leaves; empty where it leaves none.
    pub old_slots: &'a [Slot],
}

impl Image {
    /// Mirrors a write that was made.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Backend { index, entry } => {
                self.backends.insert(*index, **entry);
            }
            Write::BackendState { index, state } => {
                self.backends.entry(*index).or_default().state = state.0;
            }
            Write::NextHop { index, next_hop } => {
                self.backends.entry(*index).or_default().next_hop = next_hop.0;
            }
            Write::Tunnel { index, source, mtu } => {
                let entry = self.backends.entry(*index).or_default();
                (entry.source, entry.mtu) = (*source, *mtu);
            }
            Write::ResetCounters { index: _ } => {}
            Write::Record { index, record } => self.apply_record(*index, record),
            Write::Slots { first, slots } => self.apply_slots(*first, slots),
            Write::Publish { service, record } => {
                match record.get() {
                    Some(index) => self.services.insert(*service, RecordIndex(index)),
                    None => self.services.remove(service),
                };
            }
            Write::InsertVip { key, service } => {
                self.vips.insert(*key, *service);
            }
            Write::DeleteVip { key } => {
                self.vips.remove(key);
            }
            Write::InsertReply { key, reply } => {
                self.replies.insert(*key, *reply);
            }
            Write::DeleteReply { key } => {
                self.replies.remove(key);
            }
        }
    }

    /// `VIPS_IPV4` and `VIPS_IPV6`.
    pub fn vips(&self) -> &BTreeMap<VipKey, ServiceId> {
        &self.vips
    }

    /// `REPLIES_IPV4` and `REPLIES_IPV6`.
    pub fn replies(&self) -> &BTreeMap<VipKey, ReplyTarget> {
        &self.replies
    }

    /// The service that gets the packets for an address, as the program finds it: by the port, else
    /// the one of every port.
    pub fn service_at(&self, vip: SocketAddr, protocol: u8) -> Option<ServiceId> {
        let at = |port| {
            let key = VipKey::new(vip.ip(), port, protocol);
            self.vips.get(&key).copied()
        };
        at(vip.port()).or_else(|| at(0))
    }

    /// The ids of all published services.
    pub fn service_ids(&self) -> impl Iterator<Item = ServiceId> {
        self.services.keys().copied()
    }

    /// A published service.
    pub fn service(&self, id: ServiceId) -> Option<Held<'_>> {
        let record_index = *self.services.get(&id)?;
        let record = *self.records.get(&record_index)?;
        Some(Held {
            record_index,
            record,
            slots: self.slots_in(Range::slots(&record))?,
            old_slots: self.slots_in(Range::old_slots(&record))?,
        })
    }

    /// An entry of `BACKENDS` that was ever used.
    pub fn backend(&self, index: BackendIndex) -> Option<&Backend> {
        self.backends.get(&index)
    }

    /// The entries that name a backend.
    pub fn backends_in_use(&self) -> impl Iterator<Item = (BackendIndex, &Backend)> {
        self.backends
            .iter()
            .filter(|(_, entry)| BackendState(entry.state).is_in_use())
            .map(|(index, entry)| (*index, entry))
    }

    /// The same within a range of entries.
    pub(super) fn backends_in(
        &self,
        range: Range,
    ) -> impl Iterator<Item = (BackendIndex, &Backend)> {
        let end = u32::try_from(range.end()).unwrap_or(u32::MAX);
        self.backends
            .range(BackendIndex(range.first)..BackendIndex(end))
            .filter(|(_, entry)| BackendState(entry.state).is_in_use())
            .map(|(index, entry)| (*index, entry))
    }

    pub(super) fn records(&self) -> &BTreeMap<RecordIndex, ServiceRecord> {
        &self.records
    }

    /// Ids that are published, or that a VIP names.
    pub(super) fn ids_in_use(&self) -> impl Iterator<Item = ServiceId> {
        self.services.keys().chain(self.vips.values()).copied()
    }

    fn slots_in(&self, range: Range) -> Option<&[Slot]> {
        if range.count == 0 {
            return Some(&[]);
        }
        let end = usize::try_from(range.end()).ok()?;
        self.slots.get(range.first as usize..end)
    }

    fn apply_record(&mut self, index: RecordIndex, record: &ServiceRecord) {
        if *record == ServiceRecord::default() {
            self.records.remove(&index);
            return;
        }
        self.records.insert(index, *record);
        self.reach(Range::slots(record).end());
        self.reach(Range::old_slots(record).end());
    }

    fn apply_slots(&mut self, first: SlotIndex, slots: &[Slot]) {
        let first = first.0 as usize;
        let end = first + slots.len();
        self.reach(end as u64);
        self.slots[first..end].copy_from_slice(slots);
    }

    fn reach(&mut self, end: u64) {
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        if end > self.slots.len() {
            self.slots.resize(end, Slot::UNSET);
        }
    }
}
