//! `hash`, and the prefix lengths that go with `hash = "source"`.

use super::words::{Words, number};
use crate::{
    config::report::{Placed, Report},
    model::FlowHash,
};

const DEFAULT_PREFIX_IPV4: u8 = 32;
const DEFAULT_PREFIX_IPV6: u8 = 128;

#[derive(Clone, Copy)]
enum Covers {
    FiveTuple,
    Source,
}

const HASH: Words<Covers> = Words {
    known: &[("5-tuple", Covers::FiveTuple), ("source", Covers::Source)],
    later: &[],
};

/// The keys as the file gives them.
pub(super) struct Keys {
    pub(super) hash: Option<Placed<String>>,
    pub(super) source_prefix_ipv4: Option<Placed<i64>>,
    pub(super) source_prefix_ipv6: Option<Placed<i64>>,
}

/// What the keys mean together.
pub(super) fn hash(keys: Keys, report: &mut Report<'_>) -> FlowHash {
    let Keys {
        hash,
        source_prefix_ipv4,
        source_prefix_ipv6,
    } = keys;
    let covers = hash.map_or(Some(Covers::FiveTuple), |word| HASH.read(&word, report));
    if matches!(covers, Some(Covers::FiveTuple)) {
        for raw in [source_prefix_ipv4, source_prefix_ipv6]
            .into_iter()
            .flatten()
        {
            let message = "means something with hash = \"source\" only, remove it or write that";
            report.error(raw.spot, message);
        }
        return FlowHash::FiveTuple;
    }
    let mut prefix = |raw: Option<Placed<i64>>, most: u8| {
        let length = raw.and_then(|raw| number(&raw, 1..=most.into(), report));
        length
            .and_then(|length| u8::try_from(length).ok())
            .unwrap_or(most)
    };
    FlowHash::Source {
        prefix_ipv4: prefix(source_prefix_ipv4, DEFAULT_PREFIX_IPV4),
        prefix_ipv6: prefix(source_prefix_ipv6, DEFAULT_PREFIX_IPV6),
    }
}
