//! Any bytes as a frame.

#![no_main]

use lb_common::wire::{Accept, Cursor, ipv4::Ipv4, parse};
use libfuzzer_sys::fuzz_target;

#[path = "../properties/packet.rs"]
mod property;

fuzz_target!(|frame: &[u8]| property::holds(frame));
