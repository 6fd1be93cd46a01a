//! A frame in readable form.

use std::fmt::Write as _;

/// Bytes a line.
const WIDTH: usize = 16;

/// The frame's bytes, in lines.
pub(super) fn frame(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, row) in bytes.chunks(WIDTH).enumerate() {
        let _infallible = writeln!(text, "{:04x}  {}", line * WIDTH, hex(row));
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
