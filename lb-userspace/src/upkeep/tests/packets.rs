//! What the program does with a packet, as the design says it, in plain Rust.

use std::collections::BTreeMap;

use lb_common::abi::{
    backend::BackendState,
    flow::FlowEntry,
    service::{ServiceId, tracking},
    slot::{LocalBackend, NO_BACKEND, Slot},
};

use crate::plan::{FlowKey, Held, Image, Range};

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syn,
    Data,
    Fin,
    Datagram,
}

/// A backend as flows know it: the same over moves of its entry, another one when its index is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Home {
    pub(super) local: LocalBackend,
    pub(super) generation: u16,
}

/// Rules that can be broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Broken {
    /// What cannot be remembered goes to the current backend.
    pub(super) refused_goes_to_current: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) to: Option<Home>,
    pub(super) effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Insert(FlowEntry),
    Replace(FlowEntry),
    Refused,
}

/// The flow table, budgets and counters.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) flows: BTreeMap<FlowKey, FlowEntry>,
    pub(super) capacity: usize,
    /// Entries that may still be made in this tick.
    pub(super) budget: u32,
    pub(super) last_refused: u64,
    pub(super) broken: Broken,
}

/// The one service of the simulation.
pub(super) const SERVICE: ServiceId = ServiceId(0);

impl Program {
    /// Where a packet goes, and what is remembered of it.
    pub(super) fn decide(&self, image: &Image, key: &FlowKey, kind: Kind, now: u64) -> Decision {
        let Some(held) = image.service(SERVICE) else {
            return Decision {
                to: None,
                effect: Effect::None,
            };
        };
        let hash = key.hash(held.record.hashing());
        let slot = slot(&held, key);
        let resizing = held.record.old_slots_count > 0;
        let alive = |local| alive(image, &held, local);
        let current = alive(slot.current());
        if slot.is_stable() && !resizing {
            return Decision {
                to: current,
                effect: Effect::None,
            };
        }
        let remembers =
            resizing || slot.previous() != NO_BACKEND || held.record.tracking == tracking::ALWAYS;
        let owner = alive(if resizing {
            owner(old_slot(&held, key))
        } else {
            owner(slot)
        });
        let entry = self.flows.get(key).copied().filter(|entry| {
            let backend = backend(image, &held, entry.backend());
            backend.is_none_or(|backend| backend.generation == entry.generation())
        });
        // An entry of a backend that is gone is none, but its place is taken.
        let has_place = self.flows.contains_key(key);
        let remembered = entry.map(|entry| (entry, alive(entry.backend())));
        let flags = match kind {
            Kind::Syn => 0,
            Kind::Data | Kind::Datagram => FlowEntry::ESTABLISHED,
            Kind::Fin => FlowEntry::ESTABLISHED | FlowEntry::CLOSING,
        };
        let new = |home: Home| FlowEntry::new(home.local, home.generation, flags, now);

        match (kind, remembered) {
            (Kind::Syn, Some((_, Some(home)))) if accepts(image, &held, home) => Decision {
                to: Some(home),
                effect: Effect::Replace(new(home)),
            },
            (Kind::Syn, Some(_)) => Decision {
                to: current,
                effect: current.map_or(Effect::None, |home| Effect::Replace(new(home))),
            },
            (_, Some((entry, Some(home)))) => Decision {
                to: Some(home),
                effect: Effect::Replace(FlowEntry::new(
                    home.local,
                    home.generation,
                    entry.flags() | flags,
                    now,
                )),
            },
            // Not rewritten: the backend may come back.
            (_, Some((_, None))) => Decision {
                to: current,
                effect: Effect::None,
            },
            (Kind::Syn, None) => {
                let Some(chosen) = current else {
                    return Decision {
                        to: None,
                        effect: Effect::None,
                    };
                };
                let in_transition = !resizing && slot.previous() != NO_BACKEND;
                let admit = backend(image, &held, chosen.local)
                    .map_or(0, |backend| BackendState(backend.state).admit());
                let owner_takes = owner.is_some_and(|owner| accepts(image, &held, owner));
                if in_transition && owner_takes && (hash.secondary() >> 16) as u16 > admit {
                    return Decision {
                        to: owner,
                        effect: Effect::None,
                    };
                }
                self.remember((remembers, has_place), chosen, owner, new)
            }
            (_, None) => match (owner, current) {
                (Some(owner), _) => self.remember((remembers, has_place), owner, Some(owner), new),
                (None, Some(current)) if kind == Kind::Datagram => {
                    self.remember((remembers, has_place), current, None, new)
                }
                (None, current) => Decision {
                    to: current,
                    effect: Effect::None,
                },
            },
        }
    }

    /// What cannot be remembered goes to the owner if alive.
    fn remember(
        &self,
        (remembers, has_place): (bool, bool),
        chosen: Home,
        owner: Option<Home>,
        new: impl Fn(Home) -> FlowEntry,
    ) -> Decision {
        if !remembers {
            return Decision {
                to: Some(chosen),
                effect: Effect::None,
            };
        }
        if has_place {
            return Decision {
                to: Some(chosen),
                effect: Effect::Replace(new(chosen)),
            };
        }
        if self.budget > 0 && self.flows.len() < self.capacity {
            return Decision {
                to: Some(chosen),
                effect: Effect::Insert(new(chosen)),
            };
        }
        Decision {
            to: if self.broken.refused_goes_to_current {
                Some(chosen)
            } else {
                owner.or(Some(chosen))
            },
            effect: Effect::Refused,
        }
    }

    /// Makes a decision's effect.
    pub(super) fn carry_out(&mut self, key: FlowKey, effect: Effect, now: u64) {
        match effect {
            Effect::None => {}
            Effect::Insert(entry) => {
                self.budget = self.budget.saturating_sub(1);
                self.flows.entry(key).or_insert(entry);
            }
            Effect::Replace(entry) => {
                if let Some(word) = self.flows.get_mut(&key) {
                    *word = entry;
                }
            }
            Effect::Refused => self.last_refused = now.max(1),
        }
    }
}

/// The flow's slot in the table in force.
pub(super) fn slot(held: &Held<'_>, key: &FlowKey) -> Slot {
    let hash = key.hash(held.record.hashing());
    held.slots[hash.slot(held.record.slots_count) as usize]
}

/// The flow's slot in the table that is left; there must be one.
pub(super) fn old_slot(held: &Held<'_>, key: &FlowKey) -> Slot {
    let hash = key.hash(held.record.old_hashing());
    held.old_slots[hash.slot(held.record.old_slots_count) as usize]
}

/// Whether a backend that flows know is there and alive.
pub(super) fn is_alive(image: &Image, home: Home) -> bool {
    let held = image.service(SERVICE);
    held.and_then(|held| alive(image, &held, home.local)) == Some(home)
}

fn owner(slot: Slot) -> LocalBackend {
    if slot.is_stable() || slot.previous() == NO_BACKEND {
        slot.current()
    } else {
        slot.previous()
    }
}

fn backend<'a>(
    image: &'a Image,
    held: &Held<'_>,
    local: LocalBackend,
) -> Option<&'a lb_common::abi::backend::Backend> {
    image.backend(Range::backends(&held.record).backend(local)?)
}

fn alive(image: &Image, held: &Held<'_>, local: LocalBackend) -> Option<Home> {
    let backend = backend(image, held, local)?;
    let state = BackendState(backend.state);
    (state.is_in_use() && !state.is_dead()).then_some(Home {
        local,
        generation: backend.generation,
    })
}

fn accepts(image: &Image, held: &Held<'_>, home: Home) -> bool {
    backend(image, held, home.local)
        .is_some_and(|backend| backend.state & BackendState::NO_NEW_FLOWS == 0)
}
