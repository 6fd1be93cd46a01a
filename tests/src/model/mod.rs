//! A model of the data path: what becomes of one packet, in plain Rust.
//!
//! Written from `docs/DATA_PATH.md`, from CONFIGURATION.md and from the RFCs, and from no line of the
//! program, so that one can be held against the other. It is meant to be obviously right and not to be
//! fast: bytes are copied, headers are taken apart into structs and put together again. The numbers in
//! the comments are those of the rules in `docs/DATA_PATH.md`.
//!
//! [`judge`] is the whole walk. [`world`] is all that it takes as given: services, slots, backends,
//! interfaces, routes; the flow tables in it are what a packet changes. [`parse`] (with [`link`],
//! [`ipv4`], [`ipv6`], [`transport`]) takes a frame apart, [`service`] finds whose it is, [`steer`] and
//! [`connections`] choose the backend, [`forward`] and [`tunnel`] send the packet there, [`reply`] turns
//! a backend's answer back.

pub mod checksum;
pub mod connections;
pub mod flows;
pub mod forward;
pub mod ipv4;
pub mod ipv6;
pub mod link;
pub mod parse;
pub mod reply;
pub mod service;
pub mod steer;
pub mod transport;
pub mod tunnel;
pub mod verdict;
pub mod world;

#[cfg(test)]
mod tests;

use self::{parse::Packet, verdict::Counts};
pub use self::{
    verdict::{BackendCount, FlowCount, Outcome, Reason, Verdict},
    world::World,
};

/// A frame that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The index of the interface that it came in by.
    pub interface: u32,
    /// The frame, from its Ethernet header on.
    pub frame: Vec<u8>,
}

/// What becomes of a frame. The flow tables and the budgets in `world` change as the packet says.
pub fn judge(world: &mut World, arrival: &Arrival) -> Outcome {
    let mut counts = Counts::default();
    // A verdict that comes early leaves the frame as it came in.
    let (verdict, frame) = walk(world, arrival, &mut counts)
        .unwrap_or_else(|verdict| (verdict, arrival.frame.clone()));
    let Counts { backend, flow } = counts;
    Outcome {
        verdict,
        frame,
        backend,
        flow,
    }
}

fn walk(
    world: &mut World,
    arrival: &Arrival,
    counts: &mut Counts,
) -> Result<(Verdict, Vec<u8>), Verdict> {
    let packet = Packet::parse(&arrival.frame, &world.features)?;
    let Some(service) = service::find(world, &packet) else {
        return reply::turn_back(world, arrival.interface, packet);
    };
    service::check(&packet)?;
    let choice = steer::choose(world, service, &packet, counts)?;
    forward::forward(world, arrival.interface, service, choice, packet, counts)
}
