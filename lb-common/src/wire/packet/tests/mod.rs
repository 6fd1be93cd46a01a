//! Frames that another implementation built, or that were written by hand, and what becomes of them.

mod any_bytes;
mod buffers;
mod chain;
mod extensions;
mod fragments;
mod ipv4;
mod ipv6;
mod tags;
mod udp;

use etherparse::{Ethernet2Header, PacketBuilder, PacketBuilderStep};

use super::*;
use crate::family::{V4, V6};

const EVERYTHING: Accept = Accept {
    udp: true,
    frame_length: None,
};

const CLIENT: [u8; 4] = [10, 77, 1, 10];
const VIP: [u8; 4] = [10, 77, 0, 80];

/// Offset of the network header in a frame without tags.
const IP: usize = 14;

fn ethernet() -> PacketBuilderStep<Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

fn built(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame);
    frame
}

/// A SYN over IPv4.
fn syn_v4(payload: &[u8]) -> Vec<u8> {
    let builder = ethernet().ipv4(CLIENT, VIP, 64);
    let builder = builder.tcp(40_000, 80, 1, 64_000).syn();
    built(|frame| builder.write(frame, payload).unwrap())
}

/// A SYN over IPv6.
fn syn_v6(payload: &[u8]) -> Vec<u8> {
    let [client, vip] = [0x10, 0x80].map(chain::address);
    let builder = ethernet().ipv6(client, vip, 64);
    let builder = builder.tcp(40_000, 80, 1, 64_000).syn();
    built(|frame| builder.write(frame, payload).unwrap())
}

/// Reads a frame that carries this family.
fn read<F: Family>(frame: &mut [u8]) -> Result<Packet<'_, F>, Unparsed> {
    read_with(frame, EVERYTHING)
}

fn read_with<F: Family>(frame: &mut [u8], accept: Accept) -> Result<Packet<'_, F>, Unparsed> {
    let mut cursor = Cursor::new(frame);
    let link = Link::read(&mut cursor, true)?;
    assert!(link.ether_type.is(F::ETHER_TYPE), "{:?}", link.ether_type);
    parse(cursor, link, accept)
}

/// Whether the frame is a packet, or why not.
fn verdict<F: Family>(mut frame: Vec<u8>) -> Result<(), Unparsed> {
    read::<F>(&mut frame).map(|_| ())
}

/// The same frame with one byte another.
fn with(mut frame: Vec<u8>, offset: usize, value: u8) -> Vec<u8> {
    frame[offset] = value;
    frame
}
