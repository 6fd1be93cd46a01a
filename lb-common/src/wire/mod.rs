//! Packet parsing: Ethernet, VLAN tags, IPv4, IPv6, TCP, UDP; and the headers that tunnels put before.
//!
//! One [`Cursor`] owns the position and the end of a packet; its [`read`](Cursor::read) is the only
//! bounds check. The kernel program and the tests on the host run the same code.

pub mod cursor;
pub mod ethernet;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod link;
pub mod outer;
pub mod packet;
pub mod ports;
pub mod tcp;
pub mod transport;
pub mod tunnel;
pub mod udp;

pub use cursor::{Cursor, Header};
pub use ip::Ip;
pub use link::Link;
pub use packet::{Accept, Packet, Unparsed, parse};
pub use transport::Transport;

#[cfg(test)]
mod corpus;
