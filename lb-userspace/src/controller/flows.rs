//! The flows that are remembered, with the names that people know.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::flow::{FlowEntry, TICK_SHIFT};

use super::{
    names::{Names, Occupant},
    state::Controller,
};
use crate::{
    admin::{
        FlowCursor, FlowPage, FlowsQuery, Refusal,
        flows::{Flow, FlowState, FlowTable},
        status,
    },
    config::nearest,
    dataplane::{Batch, Cursor, Dataplane, IpVersion, Table, Walked},
    model::{Model, Protocol, Service, Tracking},
    plan::{BackendStatus, FlowKey, ServiceStatus},
};

/// Entries that are read at a time: a millisecond or so, in which nothing else is done.
const PAGE: u32 = 4096;

impl Controller {
    /// Some of the flows that are asked for, from where the page before ended.
    ///
    /// # Errors
    /// Names that are none, or a table that cannot be read.
    pub(super) fn flow_page(
        &self,
        query: &FlowsQuery,
        from: Option<FlowCursor>,
    ) -> Result<FlowPage, Refusal> {
        if from.is_none() {
            known(&self.model, query)?;
        }
        let FlowCursor {
            table,
            ipv6,
            bucket,
        } = from.unwrap_or(FlowCursor {
            table: FlowTable::Transition,
            ipv6: false,
            bucket: None,
        });
        let walked = Walked {
            table: table.into(),
            version: if ipv6 { IpVersion::V6 } else { IpVersion::V4 },
        };
        let Batch { entries, next } = self
            .dataplane
            .flows(walked, bucket.map(Cursor::from_raw), PAGE)
            .map_err(|error| Refusal::unavailable(error.to_string()))?;
        let names = Names::new(&self.image, &self.model);
        let now = Dataplane::now_ticks();
        let asked =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let flows = entries
            .iter()
            .map(|(key, entry)| named(&names, key, *entry, table, now))
            .filter(|flow| asked(&query.service, &flow.service))
            .filter(|flow| asked(&query.backend, &flow.backend));
        Ok(FlowPage {
            flows: flows.collect(),
            next: match next {
                Some(next) => Some(FlowCursor {
                    table,
                    ipv6,
                    bucket: Some(next.raw()),
                }),
                None => walked.next().map(|Walked { table, version }| FlowCursor {
                    table: table.into(),
                    ipv6: version == IpVersion::V6,
                    bucket: None,
                }),
            },
        })
    }

    /// A service's figures for the status.
    pub(super) fn flow_figures(
        &self,
        service: &Service,
        held: Option<&ServiceStatus>,
    ) -> Option<status::Flows> {
        if service.connections.tracking == Tracking::Never {
            return None;
        }
        let id = held?.id;
        let counted = match self.dataplane.flow_counters(id) {
            Ok(counted) => counted,
            Err(error) => {
                log::error!("{error}");
                return None;
            }
        };
        Some(status::Flows {
            entries: self.upkeep.entries(id),
            lookups: counted.lookups,
            misses: counted.misses,
            inserts: counted.inserts,
            refused: counted.refused,
        })
    }

    /// How many flows of a backend are remembered, where that is known.
    pub(super) fn flows_of(&self, service: &Service, held: Option<&BackendStatus>) -> Option<u64> {
        // What no packet looks for, or nothing could name, is not remembered.
        let (Some(held), true) = (held, service.connections.tracking != Tracking::Never) else {
            return Some(0);
        };
        let id = self.image.service_id(service)?;
        self.upkeep.entries(id)?;
        Some(self.upkeep.gauges(id, held.local).entries)
    }

    /// Whether a backend has no flows left that packets could still bring it; `None`: not known, or not
    /// yet. `named`: by a slot.
    pub(super) fn drained(
        &self,
        service: &Service,
        held: Option<&BackendStatus>,
        named: bool,
    ) -> Option<bool> {
        let (Some(held), false) = (held, named) else {
            return Some(!named);
        };
        if service.connections.tracking == Tracking::Never {
            return Some(true);
        }
        let id = self.image.service_id(service)?;
        let backend = self.upkeep.gauges(id, held.local);
        match (self.upkeep.entries(id), backend) {
            (_, backend) if backend.is_drained => Some(true),
            (Some(_), backend) if backend.entries > 0 => Some(false),
            _ => None,
        }
    }
}

/// An entry, told by names.
fn named(names: &Names<'_>, key: &FlowKey, entry: FlowEntry, table: FlowTable, now: u64) -> Flow {
    let service = names.service(key.protocol(), key.vip());
    let backend = service.and_then(|(_, record)| names.backend(&record, entry.backend()));
    let (backend, state) = holder(backend, entry);
    Flow {
        protocol: if key.protocol() == Protocol::Udp.number() {
            Protocol::Udp.to_string()
        } else {
            Protocol::Tcp.to_string()
        },
        source: key.client().to_string(),
        destination: key.vip().to_string(),
        service: service.map(|(service, _)| service.name.to_string()),
        backend,
        state,
        idle_s: idle(entry, now),
        table,
    }
}

/// Who an entry is for and how far its flow is, given who has the place that it names.
pub(super) fn holder(found: Option<Occupant>, entry: FlowEntry) -> (Option<String>, FlowState) {
    match found {
        Some(Occupant { generation, name }) if generation == entry.generation() => {
            let state = if entry.flags() & FlowEntry::CLOSING != 0 {
                FlowState::Closing
            } else if entry.flags() & FlowEntry::ESTABLISHED != 0 {
                FlowState::Established
            } else {
                FlowState::Syn
            };
            (Some(name), state)
        }
        _ => (None, FlowState::Stale),
    }
}

/// Seconds since an entry's last packet; `now` in ticks.
pub(super) fn idle(entry: FlowEntry, now: u64) -> u64 {
    (u64::from(entry.age(now)) << TICK_SHIFT) / 1_000_000_000
}

/// Refuses names that are not configured, so that a slip of the finger is not taken for silence.
fn known(model: &Model, query: &FlowsQuery) -> Result<(), Refusal> {
    let FlowsQuery {
        service,
        backend,
        limit: _,
        count: _,
    } = query;
    let names: Vec<&str> = model.services.iter().map(|s| &*s.name).collect();
    if let Some(name) = service
        && !names.contains(&name.as_str())
    {
        return Err(unknown("service", name, &names));
    }
    let within = model.services.iter().filter(|one| match service {
        Some(name) => *one.name == **name,
        None => true,
    });
    let names: Vec<&str> = within
        .flat_map(|one| one.backends.iter().map(|b| &*b.name))
        .collect();
    // One that left the configuration is known by its address.
    let is_address =
        |name: &str| name.parse::<SocketAddr>().is_ok() || name.parse::<IpAddr>().is_ok();
    match backend {
        Some(name) if !names.contains(&name.as_str()) && !is_address(name) => {
            Err(unknown("backend", name, &names))
        }
        _ => Ok(()),
    }
}

fn unknown(what: &str, name: &str, names: &[&str]) -> Refusal {
    let hint = nearest(name, names).map(|near| format!(", did you mean `{near}`?"));
    Refusal::bad_request(format!(
        "there is no {what} `{name}`{}",
        hint.unwrap_or_default()
    ))
}

impl From<Table> for FlowTable {
    fn from(table: Table) -> Self {
        match table {
            Table::Transition => Self::Transition,
            Table::Always => Self::Always,
        }
    }
}

impl From<FlowTable> for Table {
    fn from(table: FlowTable) -> Self {
        match table {
            FlowTable::Transition => Self::Transition,
            FlowTable::Always => Self::Always,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn an_entry_tells_how_far_its_flow_is() {
        let state = |flags, generation: Option<u16>| {
            let entry = FlowEntry::new(1, 7, flags, 0);
            let (name, state) = holder(
                generation.map(|generation| Occupant {
                    generation,
                    name: "b1".to_owned(),
                }),
                entry,
            );
            assert_eq!(name.is_none(), state == FlowState::Stale);
            state
        };
        let both = FlowEntry::ESTABLISHED | FlowEntry::CLOSING;
        assert_eq!(state(0, Some(7)), FlowState::Syn);
        assert_eq!(
            state(FlowEntry::ESTABLISHED, Some(7)),
            FlowState::Established
        );
        assert_eq!(state(both, Some(7)), FlowState::Closing);
        assert_eq!(state(both, Some(8)), FlowState::Stale, "another's by now");
        assert_eq!(state(both, None), FlowState::Stale, "nobody's");
    }

    #[test]
    fn ticks_are_told_in_seconds() {
        let entry = FlowEntry::new(1, 0, 0, 1000);
        assert_eq!(idle(entry, 1000), 0);
        assert_eq!(idle(entry, 1100), 107);
        assert_eq!(idle(entry, 999), 0, "another CPU's clock");
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let text = "[[service]]\nname = 'web'\nlisten = ['tcp://203.0.113.80:80']\n\
                    backend = [{ name = 'web-1', address = '10.0.1.1' }]\n\
                    [[service]]\nname = 'mail'\nlisten = ['tcp://203.0.113.25:25']\n\
                    backend = [{ name = 'mail-1', address = '10.0.2.1' }]";
        let model = parse("s.toml", text).unwrap().model;
        let ask = |service: Option<&str>, backend: Option<&str>| {
            let query = FlowsQuery {
                service: service.map(str::to_owned),
                backend: backend.map(str::to_owned),
                ..FlowsQuery::default()
            };
            known(&model, &query).map_err(|refusal| refusal.message)
        };
        assert_eq!(ask(None, None), Ok(()));
        assert_eq!(ask(Some("web"), Some("web-1")), Ok(()));
        assert_eq!(ask(None, Some("mail-1")), Ok(()));
        for gone in ["10.0.9.9:80", "10.0.9.9", "[fd77::9]:80", "fd77::9"] {
            assert_eq!(ask(Some("web"), Some(gone)), Ok(()));
        }
        assert_eq!(
            ask(Some("wep"), None).unwrap_err(),
            "there is no service `wep`, did you mean `web`?"
        );
        assert_eq!(
            ask(Some("web"), Some("mail-1")).unwrap_err(),
            "there is no backend `mail-1`"
        );
    }
}
