//! What a daemon's pinned maps hold, read past the daemon.

use aya::{
    Pod,
    maps::{Array, Map, MapData},
};

use anyhow::{Context, Result};
use lb_common::abi::{
    names,
    slot::{Slot, SlotRow},
};

use crate::daemon::Daemon;

/// Every value of the array `name`, one of [`names`].
pub fn array<T: Pod>(daemon: &Daemon, name: &str) -> Result<Vec<T>> {
    let path = daemon.pins().join("maps").join(name);
    let read = || -> Result<Vec<T>> {
        let array: Array<_, T> = Map::Array(MapData::from_pin(&path)?).try_into()?;
        let values = (0..array.len()).map(|index| array.get(&index, 0));
        Ok(values.collect::<Result<_, _>>()?)
    };
    read().with_context(|| format!("reading {}", path.display()))
}

/// Every slot, of all services.
pub fn slots(daemon: &Daemon) -> Result<Vec<Slot>> {
    let rows: Vec<SlotRow> = array(daemon, names::SLOTS)?;
    Ok(rows.into_iter().flat_map(|row| row.0).collect())
}
