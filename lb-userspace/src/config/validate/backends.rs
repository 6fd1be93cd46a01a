//! `[[service.backend]]`.

use compact_str::CompactString;

use super::{
    address,
    words::{self, number},
};
use crate::{
    config::{
        raw::RawBackend,
        report::{Placed, Report, Spot},
    },
    model::Backend,
};

const DEFAULT_WEIGHT: u16 = 1;
const MAX_WEIGHT: u32 = 256;

/// A backend that still knows where it stands.
pub(super) struct DraftBackend {
    /// Itself, at its address.
    pub(super) backend: Placed<Backend>,
    /// Where its name comes from: that, or its address.
    pub(super) at_name: Spot,
}

/// Those that are right.
pub(super) fn backends(
    raws: Vec<Placed<RawBackend>>,
    report: &mut Report<'_>,
) -> Vec<DraftBackend> {
    raws.into_iter()
        .filter_map(|raw| backend(raw, report))
        .collect()
}

fn backend(raw: Placed<RawBackend>, report: &mut Report<'_>) -> Option<DraftBackend> {
    let Placed { value: raw, spot } = raw;
    let RawBackend {
        name,
        address,
        weight,
    } = raw;
    let file = spot.file;

    let name = name.map(|raw| words::name(file.place(raw), report));
    let weight = weight
        .and_then(|raw| number(&file.place(raw), 0..=MAX_WEIGHT, report))
        .and_then(|weight| u16::try_from(weight).ok())
        .unwrap_or(DEFAULT_WEIGHT);
    let Some(text) = address.map(|raw| file.place(raw)) else {
        report.missing(&spot, "address", "missing, write it as in 10.0.1.11:8080");
        return None;
    };
    let endpoint = match address::backend(&text.value) {
        Ok(endpoint) => endpoint,
        Err(message) => {
            report.error(text.spot, message);
            return None;
        }
    };
    let mut backend = Backend {
        name: CompactString::default(),
        address: endpoint.address,
        port: endpoint.port,
        weight,
    };
    let name = name.unwrap_or_else(|| text.with(backend.to_string()));
    backend.name = name.value.into();
    Some(DraftBackend {
        backend: text.with(backend),
        at_name: name.spot,
    })
}
