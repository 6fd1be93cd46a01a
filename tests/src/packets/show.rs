//! Two frames beside each other, readable: what they are, then their bytes, differences marked.

use std::fmt::Write as _;

use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};

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

/// What a frame is, in a line.
pub(super) fn describe(frame: &[u8]) -> String {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return format!("{} bytes that etherparse does not read", frame.len());
    };
    let mut words = Vec::new();
    for tag in &packet.link_exts {
        if let LinkExtSlice::Vlan(tag) = tag {
            words.push(format!("vlan {}", tag.vlan_identifier().value()));
        }
    }
    words.push(match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            format!(
                "{} > {} ttl {} class {:#04x} length {} check {:#06x}",
                header.source_addr(),
                header.destination_addr(),
                header.ttl(),
                header.dcp().value() << 2 | header.ecn().value(),
                header.total_len(),
                header.header_checksum()
            )
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            format!(
                "{} > {} ttl {} class {:#04x} label {:#07x} length 40 + {}",
                header.source_addr(),
                header.destination_addr(),
                header.hop_limit(),
                header.traffic_class(),
                header.flow_label().value(),
                header.payload_length()
            )
        }
        other => format!("{other:?}"),
    });
    words.push(match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => format!(
            "tcp {} > {} check {:#06x}",
            tcp.source_port(),
            tcp.destination_port(),
            tcp.checksum()
        ),
        Some(TransportSlice::Udp(udp)) => format!(
            "udp {} > {} length {} check {:#06x}",
            udp.source_port(),
            udp.destination_port(),
            udp.length(),
            udp.checksum()
        ),
        _ => match packet.ip_payload() {
            Some(payload) => format!("{:?}", payload.ip_number),
            None => "no IP".to_owned(),
        },
    });
    words.join(", ")
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
