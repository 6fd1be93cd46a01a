//! What must hold, and that it does not hold where a rule is broken.

use super::sim::{Counted, Lost, Sabotage, Shape, Sim};
use crate::model::{Forward, Tracking};

const SHAPES: [Shape; 4] = [
    // Few flows a slot.
    Shape {
        table_size: 61,
        flows: 60,
        capacity: 1000,
        budget: 1000,
        tracking: Tracking::Transition,
        forward: Forward::Ipip,
        ticks: 150,
        unrest: 40,
        sabotage: Sabotage::None,
    },
    // Many flows a slot, and a table that is full at times.
    Shape {
        table_size: 7,
        flows: 150,
        capacity: 60,
        budget: 20,
        tracking: Tracking::Transition,
        forward: Forward::Dnat,
        ticks: 120,
        unrest: 15,
        sabotage: Sabotage::None,
    },
    // Long rests.
    Shape {
        table_size: 31,
        flows: 100,
        capacity: 200,
        budget: 10,
        tracking: Tracking::Transition,
        forward: Forward::Ipip,
        ticks: 300,
        unrest: 5,
        sabotage: Sabotage::None,
    },
    Shape {
        table_size: 31,
        flows: 80,
        capacity: 1000,
        budget: 40,
        tracking: Tracking::Always,
        forward: Forward::Dnat,
        ticks: 120,
        unrest: 20,
        sabotage: Sabotage::None,
    },
];

fn run(shape: Shape, seed: u64) -> Result<Counted, Lost> {
    let mut sim = Sim::new(shape, seed);
    sim.run()?;
    Ok(sim.counted)
}

/// Whether some run loses a flow.
fn loses(change: impl Fn(Shape) -> Shape) -> bool {
    SHAPES.into_iter().take(3).any(|shape| {
        let shape = change(shape);
        (0..4 * seeds()).any(|seed| run(shape, seed).is_err())
    })
}

fn loses_with(sabotage: Sabotage) -> bool {
    loses(|shape| Shape { sabotage, ..shape })
}

/// `SLUICE_SIM_SEEDS` asks for more.
fn seeds() -> u64 {
    let more = std::env::var("SLUICE_SIM_SEEDS").ok();
    more.and_then(|more| more.parse().ok()).unwrap_or(4)
}

#[test]
fn no_flow_that_speaks_within_the_window_leaves_a_living_backend() {
    let mut sum = Counted::default();
    for shape in SHAPES {
        for seed in 0..seeds() {
            match run(shape, seed) {
                Ok(counted) => sum.add(&counted),
                Err(Lost(text)) => panic!("seed {seed} of {shape:?}: {text}"),
            }
        }
    }
    // A simulation in which nothing happens proves nothing.
    let Counted {
        packets,
        remembered,
        refused,
        swept,
        put_back,
        settled,
        resized,
        rehashed,
        ipv6,
        reseeded,
        adopted_reseeded,
        adopted,
        departed,
        disowned,
    } = sum;
    for (what, count) in [
        ("packets", packets),
        ("remembered", remembered),
        ("refused", refused),
        ("swept", swept),
        ("put back", put_back),
        ("settled", settled),
        ("resized", resized),
        ("rehashed", rehashed),
        ("over IPv6", ipv6),
        ("reseeded", reseeded),
        ("adopted with another seed", adopted_reseeded),
        ("adopted", adopted),
        ("departed", departed),
        ("disowned", disowned),
    ] {
        assert!(count > 0, "{what}");
    }
}

#[test]
fn everything_comes_to_rest() {
    for shape in SHAPES.into_iter().take(3) {
        for seed in 0..4 {
            let mut sim = Sim::new(shape, seed);
            let result = sim.run().and_then(|()| sim.rest(40)).and_then(|()| {
                sim.stop_clients();
                sim.rest(120)
            });
            if let Err(Lost(text)) = result {
                panic!("seed {seed} of {shape:?}: {text}");
            }
            assert_eq!(sim.unrest(), (0, 0), "seed {seed} of {shape:?}");
        }
    }
}

#[test]
fn plain_maglev_loses_flows() {
    let tracking = Tracking::Never;
    assert!(loses(|shape| Shape { tracking, ..shape }));
}

#[test]
fn the_property_notices_a_refused_flow_sent_to_the_current_backend() {
    assert!(loses_with(Sabotage::RefusedGoesToCurrent));
}

#[test]
fn the_property_notices_refusals_that_upkeep_is_not_told() {
    assert!(loses_with(Sabotage::RefusalsAreNotTold));
}

#[test]
fn the_property_notices_a_window_that_ends_at_once() {
    assert!(loses_with(Sabotage::NoWindow));
}

#[test]
fn the_property_notices_a_slot_that_rests_without_a_pass() {
    assert!(loses_with(Sabotage::NoSweep));
}

#[test]
fn the_property_notices_a_sweep_of_slots_in_transition() {
    assert!(loses_with(Sabotage::SweepInTransition));
}

impl Counted {
    fn add(&mut self, other: &Self) {
        let Self {
            packets,
            remembered,
            refused,
            swept,
            put_back,
            settled,
            resized,
            rehashed,
            ipv6,
            reseeded,
            adopted_reseeded,
            adopted,
            departed,
            disowned,
        } = other;
        self.packets += packets;
        self.remembered += remembered;
        self.refused += refused;
        self.swept += swept;
        self.put_back += put_back;
        self.settled += settled;
        self.resized += resized;
        self.rehashed += rehashed;
        self.ipv6 += ipv6;
        self.reseeded += reseeded;
        self.adopted_reseeded += adopted_reseeded;
        self.adopted += adopted;
        self.departed += departed;
        self.disowned += disowned;
    }
}
