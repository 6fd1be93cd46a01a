//! A daemon whose program is run packet by packet (`BPF_PROG_TEST_RUN`): more flows than sockets could
//! be held, with plan, tables and upkeep as ever. Its backends are neighbours set by hand, and nothing
//! asks for their health.

use std::{net::SocketAddrV4, time::Duration};

use anyhow::{Context as _, Result};
use lb_common::{
    bench::{FRAME_MIN, Flows},
    wire::tcp::Flags,
};
use testbed::{
    config::{Backend, Config, Connections, Service},
    daemon::{Daemon, START},
    packets::{CLIENT_MAC, Segment, Side, backend_mac},
    status,
    test_run::PinnedProgram,
    topology::VIP,
};

use super::{
    DRAIN_TIMEOUT, operator,
    script::{Change, Place},
};
use crate::{
    cases::{TWO_PORTS, action},
    rig::Rig,
    world::{FIRST_CLIENT, Net},
};

/// Backends in the network; the last one is not in the file at first.
pub(super) const BACKENDS: usize = 10;

/// The last octet of the first backend's address.
const FIRST_BACKEND: u8 = 11;

/// Where an IPv4 header without options has its addresses, and TCP behind it the source port.
const SOURCE_ADDRESS: usize = 26;
const DESTINATION_ADDRESS: usize = 30;
const SOURCE_PORT: usize = 34;

/// A packet of a client: which one, and from which port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Counted from 0.
    pub(super) client: u32,
    /// Its source port.
    pub(super) port: u16,
    /// TCP flags.
    pub(super) flags: u8,
}

/// The last octet of a backend's address.
pub(super) type Octet = u8;

/// The daemon with its network.
pub(super) struct Bed {
    program: PinnedProgram,
    frames: Frames,
    daemon: Daemon,
    net: Net,
}

/// A frame for each set of flags, from client 0.
struct Frames {
    syn: Vec<u8>,
    ack: Vec<u8>,
    fin: Vec<u8>,
    ifindex: u32,
}

impl Bed {
    /// Starts it, with room for `table` entries; every backend but the last has slots.
    pub(super) fn start(window: Duration, table: Option<u32>) -> Result<Self> {
        let net = Net::build(TWO_PORTS, 1)?;
        for place in 0..BACKENDS {
            let octet = octet(place);
            let address = Side::Back.network(octet);
            net.host
                .set_neighbour("back", address, backend_mac(octet))?;
        }
        let web = Service {
            connections: Connections {
                tracking: Some("transition"),
                transition_window: Some(window),
                flow_idle: Some(window),
                on_death: None,
                drain_timeout: Some(DRAIN_TIMEOUT),
            },
            backends: (0..BACKENDS - 1).map(entry).collect(),
            ..Service::new("web", &format!("tcp://{VIP}"))
        };
        let mut config = Config::serving(&net.name, &["front", "back"], web);
        config.limits.flows_ipv4 = table;
        let daemon = Daemon::start(&net.host, config)?;
        daemon.wait_until("every backend to have slots", START, |status| {
            status.web().backends.iter().all(|one| one.slots > 0)
        })?;
        let front = net.device(Side::Front)?;
        let frame = |flags| {
            let segment = Segment {
                source: SocketAddrV4::new(FIRST_CLIENT.into(), 0).into(),
                destination: VIP.into(),
                ..Segment::new("0.0.0.0:0", "0.0.0.0:0", flags)
            };
            segment.link(CLIENT_MAC, front.mac).bytes()
        };
        Ok(Self {
            program: PinnedProgram::open(&daemon.pins())?,
            frames: Frames {
                syn: frame(Flags::SYN),
                ack: frame(Flags::ACK),
                fin: frame(Flags::FIN | Flags::ACK),
                ifindex: front.ifindex,
            },
            daemon,
            net,
        })
    }

    /// Sends packets one after the other; `sent` gets each with the backend that it went to, if any.
    pub(super) fn send(
        &mut self,
        packets: impl IntoIterator<Item = Packet> + Send,
        mut sent: impl FnMut(Packet, Option<Octet>) + Send,
    ) -> Result<()> {
        let Self {
            program,
            frames,
            net,
            ..
        } = self;
        let ifindex = frames.ifindex;
        net.host.run(|| {
            for packet in packets {
                let (action, out) = program.run(frames.of(packet), ifindex)?;
                let forwarded = action == action::TX || action == action::REDIRECT;
                let octet = out.get(DESTINATION_ADDRESS + 3).copied();
                sent(packet, octet.filter(|_| forwarded));
            }
            Ok(())
        })
    }

    /// A driver of SYNs to the VIP from `sources` clients (a power of two), of which `first` is the
    /// first.
    pub(super) fn rig(&self, first: u32, sources: u32) -> Result<Rig> {
        let vary = Flows {
            mask: sources - 1,
            first,
            address_at: SOURCE_ADDRESS as u32,
            port_at: SOURCE_PORT as u32,
            targets: 1,
            target: (*VIP.ip()).into(),
            target_at: DESTINATION_ADDRESS as u32,
            length: FRAME_MIN as u32,
        };
        let mut frame = self.frames.syn.clone();
        frame.resize(FRAME_MIN, 0);
        let mut rig = Rig::load(vary, &frame, self.frames.ifindex)?;
        rig.aim(self.program.fd()?)?;
        Ok(rig)
    }

    /// Runs packets of a driver, from number `first` on.
    pub(super) fn run(&self, rig: &mut Rig, first: u32, packets: u32) -> Result<()> {
        self.net.host.run(|| rig.run(first, packets).map(drop))
    }

    /// Makes a change of the backends.
    pub(super) fn make(&mut self, change: Change) -> Result<()> {
        operator::carry_out(&mut self.daemon, change, entry(change.place()))
            .with_context(|| self.daemon.log_tail())
    }

    /// What the daemon says of the service.
    pub(super) fn service(&self) -> Result<status::Service> {
        Ok(self.daemon.status()?.web().clone())
    }
}

impl Frames {
    /// The frame of a packet. Its checksums are those of client 0: the program changes checksums by
    /// the difference and looks at none.
    fn of(&mut self, packet: Packet) -> &[u8] {
        let frame = match packet.flags {
            Flags::SYN => &mut self.syn,
            Flags::ACK => &mut self.ack,
            _ => &mut self.fin,
        };
        let address = (FIRST_CLIENT + packet.client).to_be_bytes();
        let fields = [
            (SOURCE_ADDRESS, &address[..]),
            (SOURCE_PORT, &packet.port.to_be_bytes()),
        ];
        for (at, bytes) in fields {
            if let Some(field) = frame.get_mut(at..at + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        }
        frame
    }
}

const fn octet(place: Place) -> Octet {
    FIRST_BACKEND + place as u8
}

/// What a backend is in the file.
fn entry(place: Place) -> Backend {
    let address = SocketAddrV4::new(Side::Back.network(octet(place)), 8080);
    Backend::new(&format!("b{}", place + 1), address)
}
