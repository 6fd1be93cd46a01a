//! Any bytes as a frame.

#![no_main]

use lb_common::{
    family::{Family, V4, V6},
    wire::{Accept, Cursor, Ip, Link, Packet, Unparsed, parse},
};
use libfuzzer_sys::fuzz_target;

#[path = "../properties/packet.rs"]
mod property;

fuzz_target!(|frame: &[u8]| property::holds(frame));
