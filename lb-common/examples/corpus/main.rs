//! Writes the packet parser's fuzz corpus: `cargo run --package lb-common --example corpus`.
//!
//! Frames come from etherparse, an implementation that shares nothing with ours, and from systematic
//! damage to them. The same on every run.

mod ipv4;
mod ipv6;
mod tags;

use std::{fs, io, path::Path};

use etherparse::{Ethernet2Header, PacketBuilder, PacketBuilderStep};

/// A frame and the file that it is kept in.
type Frame = (&'static str, Vec<u8>);

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/packet");
    fs::create_dir_all(&folder)?;
    let frames = ipv4::frames().chain(ipv6::frames()).chain(tags::frames());
    for (name, frame) in frames {
        fs::write(folder.join(name), frame)?;
    }
    Ok(())
}

fn link() -> PacketBuilderStep<Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}
