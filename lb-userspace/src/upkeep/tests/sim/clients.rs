//! The clients: flows that begin, speak, are silent and end; and what they were promised.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Flow, Lost, SILENCE, Sim,
    setup::{VIP, vips},
};
use crate::{
    plan::{FlowKey, motion},
    upkeep::tests::packets::{Decision, Effect, Home, Kind, SERVICE, is_alive, old_slot, slot},
};

impl Sim {
    pub(super) fn clients(&mut self) -> Result<(), Lost> {
        while self.flows.len() < self.shape.flows {
            if !self.begin() {
                break;
            }
        }
        let keys: Vec<FlowKey> = self.flows.keys().copied().collect();
        for key in keys {
            let silent = self.now - self.flows[&key].last;
            // Most speak in time; some are silent for too long.
            let must = silent >= SILENCE && !self.random.one_in(20);
            if must || self.random.one_in(3) {
                self.speak(key);
            }
        }
        self.check("a tick")
    }

    pub(super) fn begin(&mut self) -> bool {
        let udp = self.random.one_in(4);
        let port = if udp {
            // A datagram does not say that it is the first: old entries would speak for it.
            self.fresh_port = self.fresh_port.wrapping_add(1).max(20_000);
            self.fresh_port
        } else {
            1000 + self.random.below(2 * self.shape.flows as u64 + 1) as u16
        };
        let vip = if self.random.one_in(2) {
            VIP
        } else {
            *vips(self.shape.forward).last().expect("there is one")
        };
        let key = FlowKey::new(client(vip, port), vip, if udp { 17 } else { 6 });
        let key = key.expect("the client is of the VIP's family");
        if self.flows.contains_key(&key) {
            return true;
        }
        let kind = if udp { Kind::Datagram } else { Kind::Syn };
        let Some((to, promised)) = self.packet(key, kind) else {
            return false;
        };
        let flow = Flow {
            home: to,
            last: self.now,
            promised,
        };
        self.flows.insert(key, flow);
        true
    }

    /// One more packet of a flow.
    pub(super) fn speak(&mut self, key: FlowKey) {
        let flow = self.flows[&key];
        let fin = key.protocol() == 6 && self.random.one_in(12);
        let kind = match (key.protocol(), fin) {
            (17, _) => Kind::Datagram,
            (_, true) => Kind::Fin,
            (_, false) => Kind::Data,
        };
        let result = self.packet(key, kind);
        let ended = fin || (key.protocol() == 17 && self.random.one_in(12));
        match result {
            Some((to, promised)) if to == flow.home && !ended => {
                let flow = self.flows.get_mut(&key).expect("looked up above");
                flow.last = self.now;
                flow.promised &= promised;
            }
            // Closed; or reset by another backend, its own being dead or it having been silent.
            _ => {
                self.flows.remove(&key);
            }
        }
    }

    /// Sends a packet: where it goes, and whether a promise can be made.
    pub(super) fn packet(&mut self, key: FlowKey, kind: Kind) -> Option<(Home, bool)> {
        let Decision { to, effect } = self.program.decide(&self.image, &key, kind, self.now);
        self.counted.packets += 1;
        self.counted.ipv6 += u64::from(matches!(key, FlowKey::V6(_)));
        let mut promised = true;
        match effect {
            Effect::Insert(entry) => {
                self.counted.remembered += 1;
                if self.random.one_in(8) && !self.late.iter().any(|(late, _)| *late == key) {
                    self.late.push((key, entry));
                    return to.map(|to| (to, promised));
                }
            }
            Effect::Refused => {
                self.counted.refused += 1;
                let held = self.image.service(SERVICE)?;
                // The two gaps: see the module, and the test of the second.
                let owner_is_alive = self.owner_is_alive(&key);
                promised =
                    !self.is_planning && (held.record.old_slots_count == 0 || owner_is_alive);
            }
            Effect::None | Effect::Replace(_) => {}
        }
        self.program.carry_out(key, effect, self.now);
        to.map(|to| (to, promised))
    }

    pub(super) fn owner_is_alive(&self, key: &FlowKey) -> bool {
        let Some(held) = self.image.service(SERVICE) else {
            return false;
        };
        let slot = if held.old_slots.is_empty() {
            slot(&held, key)
        } else {
            old_slot(&held, key)
        };
        let owner = motion::owner(slot);
        let index = crate::plan::Range::backends(&held.record).backend(owner);
        index
            .and_then(|index| self.image.backend(index))
            .is_some_and(|backend| {
                let home = Home {
                    local: owner,
                    generation: backend.generation,
                };
                is_alive(&self.image, home)
            })
    }

    /// Packets that were on their way are through.
    pub(super) fn flush(&mut self) {
        for (key, entry) in std::mem::take(&mut self.late) {
            self.program.flows.entry(key).or_insert(entry);
        }
    }

    /// The next packet of every flow that was promised something goes to its backend.
    pub(super) fn check(&self, when: &str) -> Result<(), Lost> {
        for (key, flow) in &self.flows {
            let spoke = self.now - flow.last <= SILENCE;
            let on_its_way = self.late.iter().any(|(late, _)| late == key);
            if !spoke || !flow.promised || on_its_way {
                continue;
            }
            if self.doomed.contains(&flow.home) || !is_alive(&self.image, flow.home) {
                continue;
            }
            let kind = if key.protocol() == 17 {
                Kind::Datagram
            } else {
                Kind::Data
            };
            let Decision { to, .. } = self.program.decide(&self.image, key, kind, self.now);
            if to != Some(flow.home) {
                return Err(Lost(self.describe(key, flow, to, when)));
            }
        }
        Ok(())
    }

    fn describe(&self, key: &FlowKey, flow: &Flow, to: Option<Home>, when: &str) -> String {
        let slot = self.image.service(SERVICE).map(|held| {
            let state = motion::state(slot(&held, key));
            (state, held.record.old_slots_count)
        });
        format!(
            "{when}, tick {}: {key:?} of {flow:?} would go to {to:?}; slot and old range {slot:?}; \
             entry {:?}; last refused {}",
            self.now,
            self.program.flows.get(key),
            self.program.last_refused,
        )
    }
}

/// Who speaks from a port: eight clients in four pairs of neighbours.
fn client(vip: SocketAddr, port: u16) -> SocketAddr {
    let number = port % 8;
    let address: IpAddr = match vip {
        SocketAddr::V4(_) => Ipv4Addr::new(10, 77, 1, number as u8 * 2).into(),
        SocketAddr::V6(_) => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number * 2).into(),
    };
    SocketAddr::new(address, port)
}
