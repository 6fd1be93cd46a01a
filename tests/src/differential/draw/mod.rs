//! What is drawn at random: configurations with their state, and packets for them.
//!
//! Everything follows from a seed. Most of what is drawn is ordinary, so that it gets far; each odd
//! thing is rare, but there are many of them.

mod bytes;
mod packet;
mod setup;
mod state;

use fastrand::Rng;

pub use self::{packet::packet, setup::setup};

/// True with this chance, in per mille.
fn chance(rng: &mut Rng, per_mille: u32) -> bool {
    rng.u32(0..1000) < per_mille
}

/// One of them; there must be one.
fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(0..of.len())].clone()
}

/// One of them, each as often as its weight says.
fn weighted<T: Clone>(rng: &mut Rng, of: &[(u32, T)]) -> T {
    let total = of.iter().map(|(weight, _)| weight).sum();
    let mut left = rng.u32(0..total);
    for (weight, choice) in of {
        match left.checked_sub(*weight) {
            None => return choice.clone(),
            Some(rest) => left = rest,
        }
    }
    unreachable!("the weights sum up")
}
