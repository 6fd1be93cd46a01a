//! IPv6 packets put together header by header, legal or not.

use super::IP;

pub(super) const HOP_BY_HOP: u8 = 0;
pub(super) const ROUTING: u8 = 43;
pub(super) const DESTINATION: u8 = 60;

const FRAGMENT: u8 = 44;

/// `fd77::` with this last byte.
pub(super) fn address(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[..2].copy_from_slice(&[0xfd, 0x77]);
    address[15] = last;
    address
}

/// A frame that grows at its end.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    bytes: Vec<u8>,
    /// Where the last header says what follows it.
    announced_at: usize,
}

impl Chain {
    pub(super) fn new() -> Self {
        let mut bytes = vec![2; 12];
        bytes.extend([0x86, 0xdd]);
        bytes.extend([0x60, 0, 0, 0, 0, 0, 0, 64]);
        bytes.extend(address(0x10));
        bytes.extend(address(0x80));
        Self {
            bytes,
            announced_at: IP + 6,
        }
    }

    /// Bytes so far.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Announces a protocol and puts this behind.
    pub(super) fn payload(mut self, protocol: u8, bytes: &[u8]) -> Self {
        self.bytes[self.announced_at] = protocol;
        self.bytes.extend(bytes);
        self
    }

    /// An extension header of this many units of 8 bytes.
    pub(super) fn extension(mut self, number: u8, units: u8) -> Self {
        let here = self.length();
        let mut bytes = vec![0xee; usize::from(units) * 8];
        bytes[1] = units - 1;
        self = self.payload(number, &bytes);
        self.announced_at = here;
        self
    }

    /// A fragment header; the offset is in units of 8 bytes.
    pub(super) fn fragment(mut self, offset: u16, more: bool) -> Self {
        let here = self.length();
        // What is reserved is set: it is to be ignored.
        let field = offset << 3 | 0b110 | u16::from(more);
        let [high, low] = field.to_be_bytes();
        self = self.payload(FRAGMENT, &[0xee, 0xff, high, low, 1, 2, 3, 4]);
        self.announced_at = here;
        self
    }

    /// A SYN from port 40000 to port 80.
    pub(super) fn syn(self) -> Self {
        let mut tcp = [0; 20];
        tcp[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        tcp[12..14].copy_from_slice(&[0x50, 2]);
        self.payload(6, &tcp)
    }

    /// A datagram from port 40000 to port 53.
    pub(super) fn datagram(self, payload: u8) -> Self {
        let mut udp = vec![0x9c, 0x40, 0, 53, 0, 8 + payload, 0, 1];
        udp.resize(8 + usize::from(payload), 0xdd);
        self.payload(17, &udp)
    }

    /// The frame, whose header claims what there is.
    pub(super) fn frame(self) -> Vec<u8> {
        let claim = self.length() - IP - 40;
        self.claiming(claim)
    }

    /// The frame, whose header claims this many bytes behind it.
    pub(super) fn claiming(mut self, length: usize) -> Vec<u8> {
        let length = u16::try_from(length).unwrap();
        self.bytes[IP + 4..IP + 6].copy_from_slice(&length.to_be_bytes());
        self.bytes
    }
}
