//! A difference, made smaller while it stays one: fewer packets, fewer mutations and headers, less
//! configuration and state.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    Case, Step,
    coverage::Coverage,
    recipe::{Ip, Network, Recipe, Transport},
    session::{Difference, Session},
    setup::{BackendSetup, HashSetup, Setup, WaySetup},
    site::Site,
};

/// The smallest case found that still shows a difference of the same kind, and that difference.
pub fn shrink(
    site: &Site,
    patience: Duration,
    case: Case,
    difference: Difference,
) -> Result<(Case, Difference)> {
    let mut search = Search {
        site,
        until: Instant::now() + patience,
        kind: difference.kinds.first().copied(),
        best: (case, difference),
    };
    search.steps()?;
    loop {
        let before = search.best.0.clone();
        search.packets()?;
        search.setup()?;
        if search.best.0 == before || Instant::now() > search.until {
            return Ok(search.best);
        }
    }
}

/// Runs a case; what differs first.
pub fn run(site: &Site, case: &Case) -> Result<Option<Difference>> {
    let Some(mut session) = Session::new(site, &case.setup)? else {
        return Ok(None);
    };
    for Step { side, recipe } in &case.steps {
        if let Some(difference) = session.check(*side, &recipe.frame(), &mut Coverage::default())? {
            return Ok(Some(difference));
        }
    }
    session.check_tables()
}

struct Search<'a> {
    site: &'a Site,
    until: Instant,
    kind: Option<&'static str>,
    best: (Case, Difference),
}

impl Search<'_> {
    /// Takes a case if it still shows the difference. False: it does not, or time is over.
    fn accept(&mut self, case: Case) -> Result<bool> {
        if case == self.best.0 || Instant::now() > self.until {
            return Ok(false);
        }
        let found = run(self.site, &case)?;
        let Some(difference) = found.filter(|d| d.kinds.first().copied() == self.kind) else {
            return Ok(false);
        };
        self.best = (case, difference);
        Ok(true)
    }

    /// Fewer packets: the last one alone, or without this half, this quarter ... of those before it.
    fn steps(&mut self) -> Result<()> {
        let mut alone = self.best.0.clone();
        alone.steps.drain(..alone.steps.len().saturating_sub(1));
        if self.accept(alone)? {
            return Ok(());
        }
        let mut length = self.best.0.steps.len() / 2;
        while length > 0 {
            let mut at = 0;
            while at < self.best.0.steps.len().saturating_sub(1) {
                let mut case = self.best.0.clone();
                let end = (at + length).min(case.steps.len() - 1);
                case.steps.drain(at..end);
                if !self.accept(case)? {
                    at += length;
                }
            }
            length /= 2;
        }
        Ok(())
    }

    /// Plainer packets.
    fn packets(&mut self) -> Result<()> {
        for number in 0..self.best.0.steps.len() {
            let mut place = 0;
            while place < self.best.0.steps[number].recipe.mutations.len() {
                let mut case = self.best.0.clone();
                case.steps[number].recipe.mutations.remove(place);
                if !self.accept(case)? {
                    place += 1;
                }
            }
            for change in PACKET_CHANGES {
                let mut case = self.best.0.clone();
                change(&mut case.steps[number].recipe);
                self.accept(case)?;
            }
        }
        Ok(())
    }

    /// Less of a setup.
    fn setup(&mut self) -> Result<()> {
        self.fewer(|setup| &mut setup.flows)?;
        self.each(|setup| setup.services.len(), remove_service)?;
        self.fewer(|setup| &mut setup.tunnel_sources)?;
        for number in 0..self.best.0.setup.services.len() {
            self.fewer(|setup| &mut setup.services[number].listen)?;
            self.fewer(|setup| &mut setup.services[number].backends)?;
            self.fewer(|setup| &mut setup.services[number].slots)?;
            let backends = |setup: &Setup| setup.services[number].backends.len();
            self.each(backends, |setup, n| {
                make_well(&mut setup.services[number].backends[n]);
            })?;
            self.change(|setup| setup.services[number].old = None)?;
            self.change(|setup| setup.services[number].hash = HashSetup::FiveTuple)?;
        }
        self.change(|setup| setup.vlan = false)
    }

    fn change(&mut self, change: impl FnOnce(&mut Setup)) -> Result<()> {
        let mut case = self.best.0.clone();
        change(&mut case.setup);
        self.accept(case)?;
        Ok(())
    }

    /// Tries without each element of a list.
    fn fewer<T>(&mut self, of: impl Fn(&mut Setup) -> &mut Vec<T>) -> Result<()> {
        let count = of(&mut self.best.0.setup).len();
        self.each(
            |_| count,
            |setup, place| {
                of(setup).remove(place);
            },
        )
    }

    /// Tries a change at each place from the last to the first.
    fn each(
        &mut self,
        count: impl Fn(&Setup) -> usize,
        change: impl Fn(&mut Setup, usize),
    ) -> Result<()> {
        for place in (0..count(&self.best.0.setup)).rev() {
            let mut case = self.best.0.clone();
            change(&mut case.setup, place);
            self.accept(case)?;
        }
        Ok(())
    }
}

/// Each makes a packet plainer.
const PACKET_CHANGES: [fn(&mut Recipe); 11] = [
    |recipe| recipe.padding = 0,
    |recipe| recipe.tags.clear(),
    |recipe| recipe.tags.truncate(1),
    |recipe| of_ip(recipe, |ip| ip.payload = 0),
    |recipe| of_ip(recipe, |ip| ip.payload /= 2),
    |recipe| of_ip(recipe, |ip| ip.options.clear()),
    |recipe| of_ip(recipe, |ip| ip.extensions.clear()),
    |recipe| of_ip(recipe, |ip| drop(ip.extensions.pop())),
    |recipe| of_ip(recipe, |ip| ip.fragment = None),
    |recipe| {
        of_ip(recipe, |ip| {
            ip.hops = 64;
            ip.traffic_class = 0;
        });
    },
    |recipe| {
        of_ip(recipe, |ip| {
            if let Transport::Tcp { options, .. } = &mut ip.transport {
                options.clear();
            }
        });
    },
];

fn of_ip(recipe: &mut Recipe, change: impl FnOnce(&mut Ip)) {
    if let Network::Ip(ip) = &mut recipe.network {
        change(ip);
    }
}

/// Flows name services by their place.
fn remove_service(setup: &mut Setup, place: usize) {
    setup.services.remove(place);
    setup.flows.retain(|flow| flow.service != place);
    for flow in &mut setup.flows {
        flow.service -= usize::from(flow.service > place);
    }
}

fn make_well(backend: &mut BackendSetup) {
    backend.way = WaySetup::Back;
    backend.dead = false;
    backend.drained = false;
    backend.freed = false;
    backend.admit = 0xffff;
}
