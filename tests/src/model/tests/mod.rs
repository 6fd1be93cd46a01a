//! The model against expectations made by hand. Packets are built by etherparse, before and after, with
//! their checksums computed in full.

mod example;
mod forward;
mod motion;
mod reply;
mod rules;
mod tunnels;
