//! HTTP/1.1 over plain TCP, both sides: the load that tests and the playground send.

mod client;
mod server;

pub use client::{Connection, Reply, Timeouts, get};
pub use server::serve;
