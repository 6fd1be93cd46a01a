//! Packet fixtures: one packet in, its verdict, exact bytes and every counter out.
//!
//! A [`Bed`] is a host whose interfaces lead nowhere, with the program loaded on maps that a plan
//! filled, as the daemon does it. Packets are built by etherparse, before and after, so that what
//! the program wrote is compared with what another implementation writes. The program runs through
//! `BPF_PROG_TEST_RUN`, attached to nothing.

mod bed;
mod decap;
mod fixture;
mod frame;
mod motion;
mod outer;
mod show;
pub mod strict;
pub mod tunnel;
mod way;

pub use bed::{Bed, CLIENT_MAC, Outcome, Ran, Setup, Side, WEB, backend_mac};
pub use decap::DecapBed;
pub use fixture::{Expect, Fixture};
pub use frame::{Extension, Segment};
pub use motion::{
    ALIVE, Counts, DEAD, DRAINING, Entry, FREE, Kind, Motion, OLD_COUNT, Old, ROW, Row, Stamp,
};
pub use outer::{GUE_PORT, Outer};
pub(crate) use show::difference;
pub use way::Way;
