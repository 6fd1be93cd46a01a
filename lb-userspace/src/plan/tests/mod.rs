//! Whole plans: examples, and random sequences against what must hold after every write.

mod adoption;
mod behaviour;
mod features;
mod fixture;
mod random;
mod reseeding;
mod tunnels;
mod widening;
mod world;
