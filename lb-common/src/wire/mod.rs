//! Packet parsing: Ethernet, IPv4, TCP.
//!
//! One [`Cursor`] owns the position and the end of a packet; its [`read`](Cursor::read) is the only
//! bounds check. The kernel program and the tests on the host run the same code.

pub mod cursor;
pub mod ethernet;
pub mod ipv4;
pub mod packet;
pub mod tcp;

pub use cursor::{Cursor, Header};
pub use packet::{Packet, Unparsed, parse};
