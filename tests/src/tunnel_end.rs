//! A backend that has a VIP, and a host beside it that sends it frames as a load balancer would.
//!
//! ```text
//! balancer eth0 10.77.2.1, fd77:2::1 ---- eth0 10.77.2.11, fd77:2::11 backend, lo 203.0.113.80 ...
//! ```
//!
//! The backend's way to everybody leads back to the balancer.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    decap::Decap, host::Host, packet_socket::PacketSocket, packets::tunnel::Tunnel, sweep,
};

/// The VIPs, with the port that datagrams go to.
pub const VIPS: [&str; 2] = ["203.0.113.80:53", "[2001:db8:80::1]:53"];
/// Clients, of either family.
pub const CLIENTS: [&str; 2] = ["192.0.2.7:40000", "[2001:db8::7]:40000"];
/// The load balancers, as `--from` takes them.
pub const SOURCES: [&str; 2] = ["10.77.2.1", "fd77:2::1"];

/// The interface of either host.
pub const INTERFACE: &str = "eth0";

const ADDRESSES: [[&str; 2]; 2] = [["10.77.2.1", "fd77:2::1"], ["10.77.2.11", "fd77:2::11"]];

/// Both hosts.
#[derive(Debug)]
pub struct TunnelEnd {
    /// Sends.
    pub balancer: Host,
    /// Takes packets out of tunnels.
    pub backend: Host,
}

/// The way from the balancer's interface to the backend's.
#[derive(Debug)]
pub struct Wire {
    socket: PacketSocket,
    addresses: Vec<u8>,
}

impl TunnelEnd {
    /// Makes both hosts. `None`: skipped, and said why.
    pub fn build() -> Result<Option<Self>> {
        if !sweep::ready() {
            return Ok(None);
        }
        let name = sweep::unique_name();
        let balancer = Host::new(&format!("{name}-lb"))?;
        let backend = Host::new(&format!("{name}-b1"))?;
        balancer.join(INTERFACE, &backend, INTERFACE)?;
        for (host, addresses) in [(&balancer, ADDRESSES[0]), (&backend, ADDRESSES[1])] {
            for address in addresses {
                let address: IpAddr = address.parse()?;
                let prefix = if address.is_ipv4() { 24 } else { 64 };
                host.address(INTERFACE, address, prefix)?;
            }
        }
        for vip in VIPS {
            match vip.parse::<SocketAddr>()?.ip() {
                IpAddr::V4(vip) => backend.own_silently(vip)?,
                IpAddr::V6(vip) => backend.address("lo", vip, 128)?,
            }
        }
        let mac = balancer.link(INTERFACE)?.mac;
        for gateway in ADDRESSES[0] {
            let gateway: IpAddr = gateway.parse()?;
            // Answers need not wait for its address.
            backend.set_neighbour(INTERFACE, gateway, mac)?;
            let everybody = match gateway {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            backend.route(everybody, 0, gateway)?;
        }
        Ok(Some(Self { balancer, backend }))
    }

    /// A decapsulator on the backend, for tunnels from the balancer; nothing runs yet.
    pub fn decap(&self) -> Result<Decap> {
        Decap::prepare(&self.backend, &arguments(&[]))
    }

    /// Sends a frame to the backend's interface.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.wire()?.send(frame)
    }

    /// The way for many frames.
    pub fn wire(&self) -> Result<Wire> {
        let from = self.balancer.link(INTERFACE)?;
        let to = self.backend.link(INTERFACE)?.mac;
        Ok(Wire {
            socket: self.balancer.run(|| PacketSocket::open(from.index))?,
            addresses: [to, from.mac].concat(),
        })
    }

    /// A socket at one of the VIPs, with a deadline for what it receives.
    pub fn listen(&self, vip: &str, deadline: Duration) -> Result<UdpSocket> {
        let vip: SocketAddr = vip.parse()?;
        let socket = self.backend.run(|| UdpSocket::bind(vip));
        let socket = socket.with_context(|| format!("listening at {vip}"))?;
        socket.set_read_timeout(Some(deadline))?;
        Ok(socket)
    }

    /// Sends a packet in a tunnel, and waits until its `payload` arrives at the socket, from `client`.
    pub fn arrives(
        &self,
        socket: &UdpSocket,
        tunnel: &Tunnel,
        client: &str,
        payload: &[u8],
    ) -> Result<()> {
        self.send(&tunnel.bytes())?;
        let mut buffer = vec![0; payload.len() + 1];
        let (length, from) = socket.recv_from(&mut buffer).context("nothing arrives")?;
        ensure!(buffer.get(..length) == Some(payload), "other bytes arrive");
        ensure!(from == client.parse()?, "it arrives from {from}");
        Ok(())
    }

    /// The id of the XDP program on the backend's interface, and whether it is in the driver.
    pub fn program(&self) -> Result<Option<(u32, bool)>> {
        let program = self.backend.link(INTERFACE)?.xdp;
        Ok(program.map(|program| (program.id, program.native)))
    }
}

impl Wire {
    /// Sends a frame, with the Ethernet addresses that it needs here.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let behind = frame.get(self.addresses.len()..).unwrap_or(&[]);
        let addressed = [&self.addresses, behind].concat();
        self.socket.send(&addressed).context("sending a frame")
    }
}

/// The arguments of a decapsulator on the backend, and more.
pub fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--interface", INTERFACE];
    arguments.extend(SOURCES.iter().flat_map(|source| ["--from", *source]));
    arguments.extend(more);
    arguments
}
