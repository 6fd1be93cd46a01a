//! Plan and upkeep together with a plain model of the packet rules.

mod packets;
mod properties;
mod sim;
