//! TCP segments and UDP datagrams in Ethernet frames, built by etherparse with their checksums computed
//! in full.

use std::net::SocketAddrV4;

use etherparse::{IpHeaders, Ipv4Extensions, Ipv4Header, Ipv4Options, PacketBuilder};
use lb_common::wire::tcp::Flags;

/// A TCP segment, or a UDP datagram, over IPv4; everything that the program may change is a field.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Source and destination MAC.
    pub link: [[u8; 6]; 2],
    /// Source address and port.
    pub source: SocketAddrV4,
    /// Destination address and port.
    pub destination: SocketAddrV4,
    /// Time to live.
    pub ttl: u8,
    /// The TCP flags; `None` makes it a UDP datagram.
    pub flags: Option<u8>,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IP options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// What follows the transport header.
    pub payload: Vec<u8>,
}

impl Segment {
    /// A segment without options and payload.
    ///
    /// # Panics
    /// When an address is not `a.b.c.d:port`.
    pub fn new(source: &str, destination: &str, flags: u8) -> Self {
        let parse = |text: &str| -> SocketAddrV4 { text.parse().expect("an address and a port") };
        Self {
            link: [[0; 6]; 2],
            source: parse(source),
            destination: parse(destination),
            ttl: 64,
            flags: Some(flags),
            traffic_class: 0,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// A datagram with a payload.
    ///
    /// # Panics
    /// As [`Segment::new`].
    pub fn datagram(source: &str, destination: &str, payload: &[u8]) -> Self {
        Self {
            flags: None,
            ..Self::new(source, destination, 0).payload(payload)
        }
    }

    /// The same between these stations.
    pub fn link(mut self, from: [u8; 6], to: [u8; 6]) -> Self {
        self.link = [from, to];
        self
    }

    /// The same with a payload.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// The same with a time to live.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Bytes from the IP header on.
    pub fn ip_length(&self) -> u64 {
        let transport = if self.flags.is_some() { 20 } else { 8 };
        (20 + self.options.len() + transport + self.payload.len()) as u64
    }

    /// The frame.
    ///
    /// # Panics
    /// When the fields do not make a packet: too long, or options of a wrong length.
    pub fn bytes(&self) -> Vec<u8> {
        let Self {
            link: [from, to],
            source,
            destination,
            ttl,
            flags,
            traffic_class,
            options,
            payload,
        } = self;
        let header = Ipv4Header {
            dscp: (traffic_class >> 2).try_into().expect("6 bits"),
            ecn: (traffic_class & 3).try_into().expect("2 bits"),
            identification: 0xbeef,
            time_to_live: *ttl,
            source: source.ip().octets(),
            destination: destination.ip().octets(),
            options: Ipv4Options::try_from(options.as_slice()).expect("options in words"),
            ..Ipv4Header::default()
        };
        let headers = IpHeaders::Ipv4(header, Ipv4Extensions::default());
        let builder = PacketBuilder::ethernet2(*from, *to).ip(headers);
        let mut bytes = Vec::new();
        let Some(flags) = flags else {
            let udp = builder.udp(source.port(), destination.port());
            udp.write(&mut bytes, payload).expect("a packet that fits");
            return bytes;
        };
        let mut tcp = builder.tcp(source.port(), destination.port(), 0x0102_0304, 0xffff);
        let has = |flag: u8| flags & flag != 0;
        if has(Flags::SYN) {
            tcp = tcp.syn();
        }
        if has(Flags::FIN) {
            tcp = tcp.fin();
        }
        if has(Flags::RST) {
            tcp = tcp.rst();
        }
        if has(Flags::ACK) {
            tcp = tcp.ack(0x0506_0708);
        }
        tcp.write(&mut bytes, payload).expect("a packet that fits");
        bytes
    }
}
