//! What becomes of a connection's packets, and why: the rules by which the XDP program steers, once
//! more, in words. `controller` gathers the facts and has a copy of the program check the answer.
//!
//! Written from the rules and not from the program, so that one can be held against the other. No
//! I/O: [`rules`] decides, [`frame`] builds the packets that the copy is asked with.

pub mod frame;
pub mod rules;

pub use self::{
    frame::Frame,
    rules::{Candidate, Choice, Facts, Held, Packet, Rule},
};
