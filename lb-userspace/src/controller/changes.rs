//! What a new configuration changes: in words, and for whom there is something to plan.

use std::{collections::BTreeMap, num::NonZero, panic::resume_unwind, thread};

use super::touched::Touched;
use crate::{
    model::{Backend, Daemon, Interface, Model, Service},
    plan::Endpoint,
};

/// A service before and after.
type Pair<'m> = (&'m Service, &'m Service);

/// The services that a thread compares at least.
const PART: usize = 64;

/// From one configuration to the next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes {
    /// A line each.
    pub(super) lines: Vec<String>,
    /// The services that differ, where a plan for those is enough: no service, listener, table or
    /// interface comes, goes or becomes another.
    pub(super) touched: Touched,
}

impl Changes {
    /// Compares two configurations that are the same in what cannot change while the daemon runs.
    pub(super) fn between(old: &Model, new: &Model) -> Self {
        let mut changes = Self {
            lines: Vec::new(),
            touched: Touched::default(),
        };
        let Model {
            daemon,
            limits: _,
            interfaces,
            services,
        } = old;
        changes.in_services(services, &new.services);
        changes.in_interfaces(interfaces, &new.interfaces);
        changes.in_daemon(daemon, &new.daemon);
        changes
    }

    /// In one line.
    pub(super) fn summary(&self) -> String {
        if self.lines.is_empty() {
            "no change".to_owned()
        } else {
            self.lines.join(", ")
        }
    }

    fn in_services(&mut self, old: &[Service], new: &[Service]) {
        let (old, new) = (by_name(old), by_name(new));
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.for_all(format!("service {name} removed"));
        }
        let pairs: Vec<Pair<'_>> = (new.iter())
            .filter_map(|(name, after)| Some((*old.get(name)?, *after)))
            .collect();
        let mut differing = differing(&pairs).into_iter().peekable();
        for (name, service) in new {
            if !old.contains_key(name) {
                self.for_all(format!("service {name} added"));
            }
            if let Some((before, after)) =
                differing.next_if(|(_, after)| after.name == service.name)
            {
                self.in_service(before, after);
            }
        }
    }

    fn in_service(&mut self, before: &Service, after: &Service) {
        let Service {
            name,
            listeners,
            forward,
            table_size,
            hash,
            connections,
            health,
            backends,
        } = before;
        self.touched.add(&after.name);
        let whole = (listeners, forward, table_size, hash)
            != (
                &after.listeners,
                &after.forward,
                &after.table_size,
                &after.hash,
            );
        if whole {
            self.touched.all();
        }
        if whole || (connections, health) != (&after.connections, &after.health) {
            self.lines.push(format!("service {name} changed"));
        }
        let (old, new) = (by_place(backends), by_place(&after.backends));
        for backend in backends {
            if !new.contains_key(&backend.into()) {
                let line = format!("backend {name}/{} removed", backend.name);
                self.lines.push(line);
            }
        }
        for backend in &after.backends {
            let what = match old.get(&backend.into()) {
                None => "added",
                Some(old) if *old != backend => "changed",
                Some(_) => continue,
            };
            let line = format!("backend {name}/{} {what}", backend.name);
            self.lines.push(line);
        }
    }

    fn in_interfaces(&mut self, old: &[Interface], new: &[Interface]) {
        let find = |among: &[Interface], name: &str| among.iter().find(|i| i.name == name).cloned();
        for interface in old {
            let name = &interface.name;
            match find(new, name) {
                None => self.for_all(format!("interface {name} detached")),
                Some(other) if other != *interface => {
                    self.for_all(format!("interface {name} changed"));
                }
                Some(_) => {}
            }
        }
        for Interface { name, .. } in new {
            if find(old, name).is_none() {
                self.for_all(format!("interface {name} attached"));
            }
        }
    }

    fn in_daemon(&mut self, old: &Daemon, new: &Daemon) {
        let Daemon {
            instance: _,
            admin_socket: _,
            bpffs: _,
            state_dir: _,
            on_stop,
            seed,
            tunnel_source_ipv4,
            tunnel_source_ipv6,
        } = old;
        if *on_stop != new.on_stop {
            self.lines.push("daemon.on_stop changed".to_owned());
        }
        for (differs, key) in [
            (*seed != new.seed, "seed"),
            (
                *tunnel_source_ipv4 != new.tunnel_source_ipv4,
                "tunnel_source_ipv4",
            ),
            (
                *tunnel_source_ipv6 != new.tunnel_source_ipv6,
                "tunnel_source_ipv6",
            ),
        ] {
            if differs {
                self.for_all(format!("daemon.{key} changed"));
            }
        }
    }

    fn for_all(&mut self, line: String) {
        self.lines.push(line);
        self.touched.all();
    }
}

/// Those of the pairs that are not the same, in their order. Comparing many waits for memory more than
/// for anything else, and several threads wait for it at the same time; this one among them, so that
/// where others keep the CPUs busy there is little to wait for.
fn differing<'m>(pairs: &[Pair<'m>]) -> Vec<Pair<'m>> {
    let differ = |pairs: &[Pair<'m>]| -> Vec<_> {
        let differ = pairs.iter().filter(|(before, after)| before != after);
        differ.copied().collect()
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let part = pairs.len().div_ceil(threads).max(PART);
    let Some((own, others)) = pairs.split_at_checked(part) else {
        return differ(pairs);
    };
    thread::scope(|scope| {
        let parts: Vec<_> = (others.chunks(part))
            .map(|part| scope.spawn(move || differ(part)))
            .collect();
        let own = differ(own);
        let found = |part: thread::ScopedJoinHandle<'_, _>| {
            part.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        own.into_iter()
            .chain(parts.into_iter().flat_map(found))
            .collect()
    })
}

fn by_name(services: &[Service]) -> BTreeMap<&str, &Service> {
    services.iter().map(|s| (&*s.name, s)).collect()
}

fn by_place(backends: &[Backend]) -> BTreeMap<Endpoint, &Backend> {
    backends.iter().map(|b| (b.into(), b)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::parse;

    const BASE: &str = r#"
        [daemon]
        seed = "test"
        [[interface]]
        name = "eth0"
        [[service]]
        name = "web"
        listen = ["tcp://203.0.113.80:80"]
        [[service.backend]]
        name = "one"
        address = "10.0.1.11:8080"
        [[service.backend]]
        name = "two"
        address = "10.0.1.12:8080"
        [[service]]
        name = "mail"
        listen = ["tcp://203.0.113.25:25"]
        backend = [{ name = "one", address = "10.0.1.11:2525" }]
    "#;

    fn model(edit: impl Fn(&str) -> String) -> Model {
        parse("test.toml", &edit(BASE)).unwrap().model
    }

    /// What changes where one text takes another's place.
    fn replacing(from: &str, to: &str) -> Changes {
        let (old, new) = (
            model(str::to_owned),
            model(|text| text.replacen(from, to, 1)),
        );
        Changes::between(&old, &new)
    }

    fn web() -> Touched {
        Touched::Services(["web".into()].into())
    }

    #[test]
    fn what_changed_is_told_line_by_line() {
        let old = model(str::to_owned);
        assert_eq!(Changes::between(&old, &old).summary(), "no change");
        let new = model(|text| {
            text.replace("10.0.1.12:8080", "10.0.1.13:8080")
                .replace("\"two\"", "\"three\"")
        });
        let changes = Changes::between(&old, &new);
        assert_eq!(
            changes.lines,
            ["backend web/two removed", "backend web/three added"]
        );
        assert_eq!(changes.touched, web());
        let renamed = replacing("\"web\"", "\"shop\"");
        assert_eq!(renamed.summary(), "service web removed, service shop added");
    }

    #[test]
    fn what_concerns_one_service_touches_no_other() {
        for (from, to, line) in [
            (
                "10.0.1.12:8080\"",
                "10.0.1.12:8080\"\nweight = 7",
                "backend web/two changed",
            ),
            ("\"two\"", "\"second\"", "backend web/second changed"),
            (
                "80:80\"]",
                "80:80\"]\ndrain_timeout = \"1m\"",
                "service web changed",
            ),
            (
                "80:80\"]",
                "80:80\"]\nhealth = [{ type = \"tcp\" }]",
                "service web changed",
            ),
        ] {
            let changes = replacing(from, to);
            assert_eq!((changes.summary().as_str(), changes.touched), (line, web()));
        }
    }

    #[test]
    fn what_differs_is_found_among_many() {
        let [one, other] = ["one", "other"].map(|name| Service {
            name: name.into(),
            ..model(str::to_owned).services[0].clone()
        });
        for count in [1, PART, PART + 1, 10 * PART + 7] {
            let mut pairs = vec![(&one, &one); count];
            assert!(differing(&pairs).is_empty());
            let places = BTreeSet::from([0, count / 2, count - 1]);
            for place in &places {
                pairs[*place].1 = &other;
            }
            let found = differing(&pairs);
            assert_eq!(found.len(), places.len(), "{count}");
            assert!(found.iter().all(|pair| *pair == (&one, &other)));
        }
    }

    #[test]
    fn the_order_of_services_is_no_change() {
        let old = model(str::to_owned);
        let mut new = old.clone();
        new.services.reverse();
        let changes = Changes::between(&old, &new);
        assert_eq!(
            (changes.lines, changes.touched),
            (vec![], Touched::default())
        );
    }

    #[test]
    fn the_rest_is_planned_for_all_and_the_seed_is_not_told() {
        for (from, to, line) in [
            ("80:80\"]", "80:81\"]", "service web changed"),
            (
                "80:80\"]",
                "80:80\"]\ntable_size = 251",
                "service web changed",
            ),
            (
                "\"eth0\"",
                "\"eth0\"\nxdp = \"native\"",
                "interface eth0 changed",
            ),
            (
                "\"eth0\"",
                "\"eth0\"\n[[interface]]\nname = \"eth1\"",
                "interface eth1 attached",
            ),
            ("\"test\"", "\"other\"", "daemon.seed changed"),
            (
                "seed =",
                "tunnel_source_ipv4 = \"10.64.0.1/16\"\nseed =",
                "daemon.tunnel_source_ipv4 changed",
            ),
            (
                "80:80\"]",
                "80:80\"]\nhash = \"source\"",
                "service web changed",
            ),
            (
                "\"eth0\"",
                "\"eth0\"\nvlan = true",
                "interface eth0 changed",
            ),
        ] {
            let changes = replacing(from, to);
            assert_eq!(
                (changes.summary().as_str(), changes.touched),
                (line, Touched::All)
            );
        }
    }
}
