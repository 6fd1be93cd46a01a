//! Two frames beside each other, readable: what they are, then their bytes, differences marked.

use std::fmt::Write as _;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Bytes a line.
const WIDTH: usize = 16;

/// A report of two frames that should be equal.
pub(crate) fn difference(expected: &[u8], actual: &[u8]) -> String {
    let mut text = format!(
        "expected ({} bytes): {}\nactual   ({} bytes): {}\n",
        expected.len(),
        describe(expected),
        actual.len(),
        describe(actual)
    );
    let lines = expected.len().max(actual.len()).div_ceil(WIDTH);
    for line in 0..lines {
        let row = |bytes: &[u8]| -> Vec<Option<u8>> {
            (line * WIDTH..(line + 1) * WIDTH)
                .map(|i| bytes.get(i).copied())
                .collect()
        };
        let (wanted, got) = (row(expected), row(actual));
        let _infallible = writeln!(text, "{:04x}  {}", line * WIDTH, hex(&wanted));
        if wanted != got {
            let marks: String = wanted
                .iter()
                .zip(&got)
                .map(|(a, b)| if a == b { "   " } else { "^^ " })
                .collect();
            let _infallible = writeln!(text, "  !=  {}\n      {}", hex(&got), marks.trim_end());
        }
    }
    text
}

fn hex(row: &[Option<u8>]) -> String {
    row.iter()
        .map(|byte| byte.map_or("   ".to_owned(), |b| format!("{b:02x} ")))
        .collect()
}

fn describe(frame: &[u8]) -> String {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return "not a packet that etherparse reads".to_owned();
    };
    let addresses = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            format!(
                "{} > {} ttl {} check {:#06x}",
                header.source_addr(),
                header.destination_addr(),
                header.ttl(),
                header.header_checksum()
            )
        }
        other => format!("{other:?}"),
    };
    let ports = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => format!(
            "tcp {} > {} check {:#06x}",
            tcp.source_port(),
            tcp.destination_port(),
            tcp.checksum()
        ),
        other => format!("{other:?}"),
    };
    format!("{addresses}, {ports}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_that_differ_are_marked() {
        let text = difference(&[1, 2, 3], &[1, 9, 3, 4]);
        assert!(text.contains("0000  01 02 03"), "{text}");
        assert!(text.contains("  !=  01 09 03 04"), "{text}");
        assert!(text.contains("         ^^    ^^"), "{text}");
    }
}
