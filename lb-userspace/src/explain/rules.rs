//! The rules: a slot, what is remembered, and who is alive in; who gets the packet and why out.
//!
//! The invariant behind them: a flow without an entry belongs to its slot's *owner*, the backend
//! before the move in transition, and the slot's own otherwise.

use std::fmt;

use lb_common::abi::slot::{LocalBackend, NO_BACKEND, Slot};

/// What sort of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// The first of a TCP connection.
    Syn,
    /// Any other of it.
    Segment,
    /// Of UDP.
    Datagram,
}

/// A backend that may get the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What slots name it by.
    pub local: LocalBackend,
    /// Packets may be sent there.
    pub alive: bool,
    /// New connections, too.
    pub takes_new: bool,
    /// This connection is in the part that it takes while it starts slowly.
    pub admits: bool,
}

/// What is remembered of the connection. An entry of an earlier holder of a backend's index is
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// At a backend that lives.
    Living(Candidate),
    /// At one that is dead.
    Dead,
}

/// All that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The connection's slot.
    pub slot: Slot,
    /// Whether the program looks for entries at all.
    pub looks: bool,
    /// The slot's own backend; `None`: nobody.
    pub current: Option<Candidate>,
    /// Who flows without an entry belong to; `None`: nobody.
    pub owner: Option<Candidate>,
    /// What is remembered.
    pub held: Option<Held>,
    /// The service remembers every connection.
    pub always: bool,
    /// The service's table changes its size or seed: the owner is that of the table before.
    pub resizing: bool,
}

/// Who gets the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// `None`: nobody, it is dropped.
    pub backend: Option<LocalBackend>,
    /// Why.
    pub rule: Rule,
    /// Whether it is remembered there afterwards, where it was not before.
    pub remembered: bool,
}

/// Why somebody gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The slot is at rest.
    AtRest,
    /// It is remembered.
    Remembered,
    /// It is remembered at a backend that is dead.
    RememberedDead,
    /// It is not remembered, so it belongs to the owner.
    Owner,
    /// The same in a slot that moved.
    OwnerBefore,
    /// The same while the table changes.
    OwnerInOldTable,
    /// It is not remembered, and its owner is dead.
    OwnerDead,
    /// A new connection.
    New,
    /// A new connection on a port whose old one is at a backend that takes no new ones.
    NewInsteadOfOld,
    /// A new connection that waits for the slot's own backend to have started.
    SlowStart,
}

impl Facts {
    /// Who gets such a packet.
    pub fn choose(&self, packet: Packet) -> Choice {
        if self.slot.is_stable() || !self.looks {
            return self.at_current(Rule::AtRest, false);
        }
        let syn = packet == Packet::Syn;
        match self.held {
            Some(Held::Living(backend)) if !syn || backend.takes_new => Choice {
                backend: Some(backend.local),
                rule: Rule::Remembered,
                remembered: false,
            },
            Some(_) if syn => self.at_current(Rule::NewInsteadOfOld, true),
            Some(_) => self.at_current(Rule::RememberedDead, false),
            None if syn => self.new_connection(),
            None => self.unknown(packet),
        }
    }

    fn new_connection(&self) -> Choice {
        let waits = |current: Candidate, owner: Candidate| {
            current.alive && !current.admits && owner.takes_new && owner.local != current.local
        };
        if let (Some(current), Some(owner)) = (self.current, self.owner)
            && waits(current, owner)
        {
            return Choice {
                backend: Some(owner.local),
                rule: Rule::SlowStart,
                remembered: false,
            };
        }
        self.at_current(Rule::New, self.remembers())
    }

    fn unknown(&self, packet: Packet) -> Choice {
        match self.owner {
            Some(owner) if owner.alive => Choice {
                backend: Some(owner.local),
                rule: if self.resizing {
                    Rule::OwnerInOldTable
                } else if self.slot.previous() == NO_BACKEND {
                    Rule::Owner
                } else {
                    Rule::OwnerBefore
                },
                remembered: self.remembers(),
            },
            _ => self.at_current(
                Rule::OwnerDead,
                self.remembers() && packet == Packet::Datagram,
            ),
        }
    }

    fn at_current(&self, rule: Rule, remembered: bool) -> Choice {
        let alive = self.current.filter(|current| current.alive);
        Choice {
            backend: alive.map(|current| current.local),
            rule,
            remembered: remembered && alive.is_some(),
        }
    }

    /// Whether a flow without an entry gets one: in a tracked slot it goes where it belongs without.
    fn remembers(&self) -> bool {
        self.always || self.resizing || self.slot.previous() != NO_BACKEND
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtRest => "its slot is at rest, so nothing else is asked",
            Self::Remembered => "it is remembered there",
            Self::RememberedDead => {
                "the backend that it is remembered at is dead, so the slot's own answers for it"
            }
            Self::Owner => "it is not remembered, so it belongs to the slot's own backend",
            Self::OwnerBefore => {
                "it is not remembered, so it belongs to the backend that its slot had before"
            }
            Self::OwnerInOldTable => {
                "it is not remembered, so it belongs to the backend of the table before"
            }
            Self::OwnerDead => {
                "it is not remembered, and the backend that it belonged to is dead, so the slot's \
                 own answers for it"
            }
            Self::New => "a new connection goes to the slot's own backend",
            Self::NewInsteadOfOld => {
                "the backend that it is remembered at takes no new connections, so it is one of the \
                 slot's own"
            }
            Self::SlowStart => {
                "the slot's own backend starts slowly, and this is not yet in its part"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LocalBackend = 1;
    const B: LocalBackend = 2;
    const C: LocalBackend = 3;

    fn alive(local: LocalBackend) -> Candidate {
        Candidate {
            local,
            alive: true,
            takes_new: true,
            admits: true,
        }
    }

    fn drained(local: LocalBackend) -> Candidate {
        Candidate {
            takes_new: false,
            ..alive(local)
        }
    }

    fn dead(local: LocalBackend) -> Candidate {
        Candidate {
            alive: false,
            ..drained(local)
        }
    }

    /// A slot that moved from A to B.
    fn moved() -> Facts {
        Facts {
            slot: Slot::transition(B, A),
            looks: true,
            current: Some(alive(B)),
            owner: Some(alive(A)),
            held: None,
            always: false,
            resizing: false,
        }
    }

    fn tracked() -> Facts {
        Facts {
            slot: Slot::tracked(B),
            owner: Some(alive(B)),
            ..moved()
        }
    }

    #[track_caller]
    fn gives(facts: Facts, packet: Packet, backend: LocalBackend, rule: Rule, remembered: bool) {
        let backend = Some(backend).filter(|b| *b != 0);
        assert_eq!(
            facts.choose(packet),
            Choice {
                backend,
                rule,
                remembered
            }
        );
    }

    use Packet::{Datagram, Segment, Syn};

    #[test]
    fn a_slot_at_rest_asks_for_nothing() {
        let at_rest = Facts {
            slot: Slot::stable(B),
            held: Some(Held::Living(alive(C))),
            ..moved()
        };
        for packet in [Syn, Segment, Datagram] {
            gives(at_rest, packet, B, Rule::AtRest, false);
            let program_without_tables = Facts {
                looks: false,
                held: None,
                ..moved()
            };
            gives(program_without_tables, packet, B, Rule::AtRest, false);
            let dead = Facts {
                current: Some(dead(B)),
                ..at_rest
            };
            gives(dead, packet, 0, Rule::AtRest, false);
        }
    }

    #[test]
    fn what_is_remembered_stays() {
        let facts = Facts {
            held: Some(Held::Living(alive(C))),
            ..moved()
        };
        for packet in [Syn, Segment, Datagram] {
            gives(facts, packet, C, Rule::Remembered, false);
        }
        // A drained backend keeps its connections and gets no new ones.
        let facts = Facts {
            held: Some(Held::Living(drained(C))),
            ..moved()
        };
        gives(facts, Segment, C, Rule::Remembered, false);
        gives(facts, Datagram, C, Rule::Remembered, false);
        gives(facts, Syn, B, Rule::NewInsteadOfOld, true);
        let facts = Facts {
            held: Some(Held::Dead),
            ..moved()
        };
        gives(facts, Segment, B, Rule::RememberedDead, false);
        gives(facts, Syn, B, Rule::NewInsteadOfOld, true);
        // Also in a slot that would not remember a new one.
        let facts = Facts {
            held: Some(Held::Dead),
            ..tracked()
        };
        gives(facts, Syn, B, Rule::NewInsteadOfOld, true);
    }

    #[test]
    fn what_is_not_remembered_belongs_to_the_owner() {
        gives(moved(), Segment, A, Rule::OwnerBefore, true);
        gives(moved(), Datagram, A, Rule::OwnerBefore, true);
        gives(moved(), Syn, B, Rule::New, true);
        gives(tracked(), Segment, B, Rule::Owner, false);
        gives(tracked(), Syn, B, Rule::New, false);
        let always = Facts {
            always: true,
            ..tracked()
        };
        gives(always, Segment, B, Rule::Owner, true);
        gives(always, Syn, B, Rule::New, true);
        let resizing = Facts {
            resizing: true,
            owner: Some(alive(A)),
            ..tracked()
        };
        gives(resizing, Segment, A, Rule::OwnerInOldTable, true);
        gives(resizing, Syn, B, Rule::New, true);
    }

    #[test]
    fn the_dead_are_answered_for() {
        let facts = Facts {
            owner: Some(dead(A)),
            ..moved()
        };
        gives(facts, Segment, B, Rule::OwnerDead, false);
        gives(facts, Datagram, B, Rule::OwnerDead, true);
        gives(facts, Syn, B, Rule::New, true);
        let nobody = Facts {
            owner: None,
            current: Some(dead(B)),
            ..facts
        };
        for packet in [Segment, Datagram] {
            gives(nobody, packet, 0, Rule::OwnerDead, false);
        }
        gives(nobody, Syn, 0, Rule::New, false);
    }

    #[test]
    fn all_drained_drops_what_is_new_alone() {
        let facts = Facts {
            slot: Slot::transition(0, A),
            current: None,
            owner: Some(drained(A)),
            ..moved()
        };
        gives(facts, Segment, A, Rule::OwnerBefore, true);
        gives(facts, Syn, 0, Rule::New, false);
    }

    #[test]
    fn a_slow_start_leaves_new_connections_to_an_owner_who_takes_them() {
        let starting = Candidate {
            admits: false,
            ..alive(B)
        };
        let facts = Facts {
            current: Some(starting),
            ..moved()
        };
        gives(facts, Syn, A, Rule::SlowStart, false);
        let facts = Facts {
            owner: Some(drained(A)),
            ..facts
        };
        gives(facts, Syn, B, Rule::New, true);
        let facts = Facts {
            owner: Some(starting),
            current: Some(starting),
            ..tracked()
        };
        gives(facts, Syn, B, Rule::New, false);
    }
}
