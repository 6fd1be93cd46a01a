//! TCP and UDP headers, as far as they are looked at (rules 4 to 6).

use super::{
    checksum,
    link::word,
    parse::End,
    verdict::{Reason, Verdict, drop},
};

/// IANA protocol numbers.
pub mod protocol {
    /// IPv4 in IP.
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
}

/// TCP's flags, RFC 9293 section 3.1.
mod flag {
    pub(super) const FIN: u8 = 0x01;
    pub(super) const SYN: u8 = 0x02;
    pub(super) const RST: u8 = 0x04;
    pub(super) const ACK: u8 = 0x10;
}

/// Whether packets of a protocol are looked at.
pub const fn is_looked_at(number: u8, udp: bool) -> bool {
    number == protocol::TCP || (udp && number == protocol::UDP)
}

/// A transport header with all that follows it in the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// [`protocol::TCP`] or [`protocol::UDP`].
    pub protocol: u8,
    /// Header and payload.
    pub bytes: Vec<u8>,
}

impl Transport {
    /// Takes header and payload, of `length` bytes as the IP header says, off what the frame has there.
    /// Gives back what is behind them, too.
    ///
    /// # Errors
    /// They are not all there, or contradict themselves; a first fragment may end within the header.
    pub fn parse(
        number: u8,
        is_first_fragment: bool,
        length: usize,
        frame: &[u8],
    ) -> Result<(Self, &[u8]), Verdict> {
        let malformed = || drop(Reason::Malformed);
        let header = if number == protocol::TCP { 20 } else { 8 };
        if length < header {
            return Err(if is_first_fragment {
                Verdict::Pass
            } else {
                malformed()
            });
        }
        let (bytes, padding) = frame.split_at_checked(length).ok_or_else(malformed)?;
        if number == protocol::UDP {
            let datagram = usize::from(word(&bytes[4..6]));
            if datagram < header || (datagram > length && !is_first_fragment) {
                return Err(malformed());
            }
        }
        let transport = Self {
            protocol: number,
            bytes: bytes.to_vec(),
        };
        Ok((transport, padding))
    }

    /// Where it comes from.
    pub fn source_port(&self) -> u16 {
        word(&self.bytes[0..2])
    }

    /// Where it goes.
    pub fn destination_port(&self) -> u16 {
        word(&self.bytes[2..4])
    }

    /// A SYN without an ACK: the first segment of a connection.
    pub fn opens(&self) -> bool {
        self.has(flag::SYN) && !self.has(flag::ACK)
    }

    /// A FIN or RST.
    pub fn closes(&self) -> bool {
        self.has(flag::FIN) || self.has(flag::RST)
    }

    /// Flags that nobody sends together.
    pub fn contradicts_itself(&self) -> bool {
        self.has(flag::SYN) && self.closes()
    }

    /// The same with another port at one end. The checksum covers the IP addresses too (the pseudo header),
    /// of which one changed from `before` to `after`.
    pub fn readdressed(mut self, end: End, port: u16, before: &[u8], after: &[u8]) -> Self {
        let at = match end {
            End::Source => 0,
            End::Destination => 2,
        };
        let before = [before, &self.bytes[at..at + 2]].concat();
        let after = [after, &port.to_be_bytes()].concat();
        let is_udp = self.protocol == protocol::UDP;
        let field = if is_udp { 6 } else { 16 };
        let check = word(&self.bytes[field..field + 2]);
        let check = if is_udp {
            checksum::changed_udp(check, &before, &after)
        } else {
            checksum::changed(check, &before, &after)
        };
        self.bytes[at..at + 2].copy_from_slice(&port.to_be_bytes());
        self.bytes[field..field + 2].copy_from_slice(&check.to_be_bytes());
        self
    }

    fn has(&self, flag: u8) -> bool {
        self.protocol == protocol::TCP && self.bytes[13] & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(flags: u8) -> Vec<u8> {
        let mut bytes = vec![0x9c, 0x40, 0x00, 0x50];
        bytes.extend([0; 9]);
        bytes.push(flags);
        bytes.extend([0, 0, 0x12, 0x34, 0, 0]);
        bytes
    }

    fn udp(length: u16, checksum: u16) -> Vec<u8> {
        let mut bytes = vec![0x9c, 0x40, 0x00, 0x35];
        bytes.extend(length.to_be_bytes());
        bytes.extend(checksum.to_be_bytes());
        bytes.extend(*b"data");
        bytes
    }

    fn parse(number: u8, first: bool, length: usize, frame: &[u8]) -> Result<Vec<u8>, Verdict> {
        Transport::parse(number, first, length, frame).map(|(transport, _)| transport.bytes)
    }

    const MALFORMED: Result<Vec<u8>, Verdict> = Err(drop(Reason::Malformed));
    const PASS: Result<Vec<u8>, Verdict> = Err(Verdict::Pass);

    #[test]
    fn padding_is_told_from_payload() {
        let frame = [tcp(0x10), vec![1, 2, 3]].concat();
        let (transport, padding) = Transport::parse(6, false, 21, &frame).unwrap();
        assert_eq!(transport.bytes, frame[..21]);
        assert_eq!(padding, [2, 3]);
        assert_eq!(
            (transport.source_port(), transport.destination_port()),
            (40_000, 80)
        );
    }

    #[test]
    fn a_header_is_all_there() {
        let frame = tcp(0x10);
        assert_eq!(parse(6, false, 19, &frame), MALFORMED);
        assert_eq!(parse(6, true, 19, &frame), PASS);
        assert_eq!(parse(6, false, 21, &frame), MALFORMED);
        assert_eq!(parse(6, true, 21, &frame), MALFORMED);
        assert_eq!(parse(17, false, 7, &frame), MALFORMED);
        assert_eq!(parse(17, true, 7, &frame), PASS);
    }

    #[test]
    fn udp_has_a_length_of_its_own() {
        for (length, whole, first) in [
            (7, false, false),
            (8, true, true),
            (12, true, true),
            (13, false, true),
            (0, false, false),
        ] {
            let frame = udp(length, 0);
            assert_eq!(parse(17, false, 12, &frame).is_ok(), whole, "{length}");
            assert_eq!(parse(17, true, 12, &frame).is_ok(), first, "{length}");
        }
    }

    #[test]
    fn flags_are_tcps_alone() {
        let of = |flags| Transport {
            protocol: 6,
            bytes: tcp(flags),
        };
        for (flags, opens, closes, contradicts) in [
            (0x02, true, false, false),
            (0xc2, true, false, false),
            (0x12, false, false, false),
            (0x10, false, false, false),
            (0x11, false, true, false),
            (0x04, false, true, false),
            (0x03, true, true, true),
            (0x06, true, true, true),
            (0x16, false, true, true),
            (0x00, false, false, false),
        ] {
            let segment = of(flags);
            assert_eq!(segment.opens(), opens, "{flags:#x}");
            assert_eq!(segment.closes(), closes, "{flags:#x}");
            assert_eq!(segment.contradicts_itself(), contradicts, "{flags:#x}");
        }
        let datagram = Transport {
            protocol: 17,
            bytes: [udp(8, 0), vec![0xff; 8]].concat(),
        };
        assert!(!datagram.opens() && !datagram.closes());
    }

    #[test]
    fn a_checksum_of_udp_may_be_absent() {
        let with = |checksum| Transport {
            protocol: 17,
            bytes: udp(12, checksum),
        };
        let rewritten = |datagram: Transport| {
            datagram.readdressed(End::Destination, 8080, &[10, 0, 0, 1], &[10, 0, 0, 2])
        };
        assert_eq!(rewritten(with(0)).bytes[2..8], [0x1f, 0x90, 0, 12, 0, 0]);
        let check = word(&rewritten(with(0x1234)).bytes[6..8]);
        // The address is one more and the port 8080 - 53 = 0x1f5b more.
        assert_eq!(check, 0x1234_u16.wrapping_sub(1 + 0x1f5b) - 1);
    }
}
