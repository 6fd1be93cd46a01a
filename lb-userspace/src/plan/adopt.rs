//! Reading the maps of a daemon that died.
//!
//! It may have died between any two writes of a plan. What such a stop can leave is taken as it is:
//! entries, replies and slots that nothing should name, which the next plan cleans up. What it cannot
//! leave (an index out of range, ranges that overlap, a VIP without a service) is somebody else's
//! doing and refused.
//!
//! Whoever adopts waits for a barrier before the first plan: the dead daemon's last writes may have
//! had none.

use std::{collections::BTreeMap, iter};

use lb_common::abi::{
    backend::Backend,
    service::{ServiceId, ServiceRecord, ServiceRef},
    slot::{MAX_LOCAL_BACKEND, Slot},
};

use super::{
    image::Image,
    index::{BackendIndex, Range, RecordIndex},
    keys::{ReplyTarget, VipKey},
};

/// The contents of the maps, as read.
#[derive(Clone, Debug, Default)]
pub struct RawMaps<'a> {
    /// `VIPS_IPV4` and `VIPS_IPV6`.
    pub vips: BTreeMap<VipKey, ServiceId>,
    /// `SERVICES`, all of it.
    pub services: &'a [ServiceRef],
    /// `RECORDS`, all of it.
    pub records: &'a [ServiceRecord],
    /// `SLOTS`, all of it, row after row.
    pub slots: &'a [Slot],
    /// `BACKENDS`, all of it.
    pub backends: &'a [Backend],
    /// `REPLIES_IPV4` and `REPLIES_IPV6`.
    pub replies: BTreeMap<VipKey, ReplyTarget>,
}

/// Why maps cannot be adopted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// A value of `VIPS_IPV4` or `VIPS_IPV6` names no published service.
    #[error("a VIP names service {0}, which is not published", service.0)]
    VipWithoutService {
        /// The id.
        service: ServiceId,
    },
    /// A value of `SERVICES` names no record of that service.
    #[error("service {0} has reference {reference:#x}, which names no record of its own", service.0)]
    NoRecord {
        /// The id.
        service: ServiceId,
        /// The value of `SERVICES`: a record's index and one.
        reference: u64,
    },
    /// A record's range is empty, too large, or reaches outside of its map.
    #[error("the record of service {0} names {range:?} of the {map}, which has {entries} entries", service.0)]
    OutOfRange {
        /// The id.
        service: ServiceId,
        /// Slots or backends.
        map: &'static str,
        /// The range.
        range: Range,
        /// What the map has.
        entries: usize,
    },
    /// Two services, or two ranges of one, share slots or backends.
    #[error("services {0} and {1} share {map}", first.0, second.0)]
    Shared {
        /// Slots or backends.
        map: &'static str,
        /// One id.
        first: ServiceId,
        /// The other.
        second: ServiceId,
    },
}

impl Image {
    /// What a dead daemon's maps hold. Any bytes give an image that can be planned on, or an error.
    pub fn from_maps(maps: RawMaps<'_>) -> Result<Self, AdoptError> {
        let records = published(&maps)?;
        if let Some(service) = maps.vips.values().find(|id| !records.contains_key(id)) {
            return Err(AdoptError::VipWithoutService { service: *service });
        }
        let slots = in_range(&records, "slots", maps.slots.len(), u32::MAX, |record| {
            let old = Some(Range::old_slots(record)).filter(|old| old.count > 0);
            iter::once(Range::slots(record)).chain(old).collect()
        })?;
        in_range(
            &records,
            "backends",
            maps.backends.len(),
            u32::from(MAX_LOCAL_BACKEND),
            |record| vec![Range::backends(record)],
        )?;
        Ok(Self {
            vips: maps.vips,
            replies: maps.replies,
            services: records
                .iter()
                .map(|(id, found)| (*id, found.index))
                .collect(),
            records: records
                .values()
                .map(|found| (found.index, found.record))
                .collect(),
            slots: maps.slots[..slots].to_vec(),
            backends: ever_used(maps.backends),
        })
    }
}

/// A record in force.
#[derive(Clone, Copy)]
struct Found {
    index: RecordIndex,
    record: ServiceRecord,
}

fn published(maps: &RawMaps<'_>) -> Result<BTreeMap<ServiceId, Found>, AdoptError> {
    let mut records = BTreeMap::new();
    for (id, reference) in (0..).map(ServiceId).zip(maps.services) {
        if *reference == ServiceRef::NONE {
            continue;
        }
        let found = find_record(maps.records, *reference)
            .filter(|found| found.record.service == id)
            .ok_or(AdoptError::NoRecord {
                service: id,
                reference: reference.0,
            })?;
        records.insert(id, found);
    }
    Ok(records)
}

/// The record that a reference names; all its bits count, though [`ServiceRef::get`] cuts them off.
fn find_record(records: &[ServiceRecord], reference: ServiceRef) -> Option<Found> {
    let index = u32::try_from(reference.0.checked_sub(1)?).ok()?;
    Some(Found {
        index: RecordIndex(index),
        record: *records.get(index as usize)?,
    })
}

/// Checks one kind of ranges of all records; gives the end of the last one.
fn in_range(
    records: &BTreeMap<ServiceId, Found>,
    map: &'static str,
    entries: usize,
    most: u32,
    ranges_of: fn(&ServiceRecord) -> Vec<Range>,
) -> Result<usize, AdoptError> {
    let mut ranges = BTreeMap::new();
    let all = records.iter().flat_map(|(id, found)| {
        let ranges = ranges_of(&found.record);
        ranges.into_iter().map(move |range| (*id, range))
    });
    for (id, range) in all {
        if range.count == 0 || range.count > most || range.end() > entries as u64 {
            return Err(AdoptError::OutOfRange {
                service: id,
                map,
                range,
                entries,
            });
        }
        if let Some(first) = ranges.insert(range, id) {
            return Err(shared(map, first, id));
        }
    }
    for ((range, first), (next, second)) in ranges.iter().zip(ranges.iter().skip(1)) {
        if range.overlaps(*next) {
            return Err(shared(map, *first, *second));
        }
    }
    let end = ranges.keys().next_back().map_or(0, |range| range.end());
    Ok(usize::try_from(end).unwrap_or(entries))
}

fn shared(map: &'static str, first: ServiceId, second: ServiceId) -> AdoptError {
    AdoptError::Shared { map, first, second }
}

fn ever_used(entries: &[Backend]) -> BTreeMap<BackendIndex, Backend> {
    (0..)
        .map(BackendIndex)
        .zip(entries)
        .filter(|(_, entry)| **entry != Backend::default())
        .map(|(index, entry)| (index, *entry))
        .collect()
}
