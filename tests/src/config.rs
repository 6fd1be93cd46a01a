//! The daemon's configuration file, composed: what tests and the playground change between runs.

use std::{fmt::Display, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use serde::{Serialize, Serializer};

use crate::{
    mode::{Family, Forward, XdpMode},
    sweep,
    topology::{Topology, VIP, VIP6},
};

/// A whole file. Keys as in the daemon's documentation.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the file's keys")]
pub struct Config {
    pub daemon: DaemonSection,
    pub limits: Limits,
    #[serde(rename = "interface")]
    pub interfaces: Vec<Interface>,
    #[serde(rename = "service")]
    pub services: Vec<Service>,
}

/// `[daemon]`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the file's keys")]
pub struct DaemonSection {
    pub instance: String,
    pub admin_socket: PathBuf,
    pub bpffs: PathBuf,
    pub state_dir: PathBuf,
    pub on_stop: OnStop,
    pub seed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_source_ipv4: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_source_ipv6: Option<String>,
}

/// `[limits]`; `None`: the daemon's default.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the fields are the file's keys")]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backends: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows_ipv4: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows_ipv6: Option<u32>,
}

/// `daemon.on_stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// Detach, remove everything.
    Detach,
    /// Packets keep flowing.
    Keep,
}

/// `[[interface]]`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the file's keys")]
pub struct Interface {
    pub name: String,
    pub xdp: &'static str,
    #[serde(skip_serializing_if = "is_off")]
    pub vlan: bool,
}

/// `[[service]]`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the file's keys")]
pub struct Service {
    pub name: String,
    pub listen: Vec<String>,
    pub forward: &'static str,
    pub scheduler: &'static str,
    pub table_size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gue_port: Option<u16>,
    #[serde(flatten)]
    pub connections: Connections,
    pub health: Vec<Health>,
    #[serde(rename = "backend")]
    pub backends: Vec<Backend>,
}

/// The keys of a `[[service]]` that say how connections survive changes; left out where `None`.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the fields are the file's keys")]
pub struct Connections {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking: Option<&'static str>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "milliseconds_if"
    )]
    pub transition_window: Option<Duration>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "milliseconds_if"
    )]
    pub flow_idle: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_death: Option<&'static str>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "milliseconds_if"
    )]
    pub drain_timeout: Option<Duration>,
}

/// `[[service.health]]`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the file's keys")]
pub struct Health {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expect_status: Vec<u16>,
    #[serde(serialize_with = "milliseconds")]
    pub interval: Duration,
    #[serde(serialize_with = "milliseconds")]
    pub timeout: Duration,
    pub rise: u32,
    pub fall: u32,
}

/// `[[service.backend]]`.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the file's keys")]
pub struct Backend {
    pub name: String,
    pub address: String,
    pub weight: u16,
}

impl Config {
    /// The service `web` on the VIP with all backends of `topology`, for the instance `instance`.
    pub fn new(instance: &str, topology: &Topology) -> Self {
        let backends = topology.backends.iter();
        let web = Service {
            forward: topology.forward.word(),
            health: vec![Health::quick()],
            backends: backends
                .map(|one| match topology.forward {
                    Forward::Dnat => Backend::new(&one.name, one.address),
                    // The packet stays as it is, its port too.
                    _ => Backend::new(&one.name, one.address.ip()),
                })
                .collect(),
            ..Service::new("web", &format!("tcp://{VIP}"))
        };
        Self::serving(instance, topology.lb_interfaces(), web)
    }

    /// One service, on these interfaces.
    pub fn serving(instance: &str, interfaces: &[&str], service: Service) -> Self {
        Self {
            daemon: DaemonSection {
                instance: instance.to_owned(),
                admin_socket: PathBuf::from(sweep::RUN).join(instance).join("admin.sock"),
                bpffs: sweep::BPFFS.into(),
                state_dir: PathBuf::from("/var/lib/sluice").join(instance),
                on_stop: OnStop::Detach,
                seed: "playground".to_owned(),
                tunnel_source_ipv4: None,
                tunnel_source_ipv6: None,
            },
            limits: Limits::default(),
            interfaces: interfaces.iter().map(|name| Interface::new(name)).collect(),
            services: vec![service],
        }
    }

    /// Attaches to every interface in this mode and no other. Generic mode needs nothing else of the
    /// links: the kernel merges no segments (GRO) where a generic program waits for them, and the
    /// other ends send none that are merged, since they compute checksums themselves.
    pub fn attach_as(&mut self, mode: XdpMode) {
        for interface in &mut self.interfaces {
            interface.xdp = mode.word();
        }
    }

    /// Packets behind VLAN tags are balanced, whatever interface they come by.
    pub fn look_behind_tags(&mut self) {
        for interface in &mut self.interfaces {
            interface.vlan = true;
        }
    }

    /// The service `web` once more, as `web6` by IPv6, from client to backend.
    pub fn add_ipv6(&mut self) {
        let mut service = self.web().clone();
        service.name = "web6".to_owned();
        service.listen = vec![format!("tcp://{VIP6}")];
        service.reach_by(Family::Ipv6);
        self.services.push(service);
    }

    /// The service `web` once more, as `udp` for UDP, and `web6` as `udp6`. Their health is that of
    /// the TCP port.
    pub fn add_udp(&mut self) {
        let mut services = self.services.clone();
        services.retain(|service| service.name.starts_with("web"));
        for service in &mut services {
            service.name = service.name.replace("web", "udp");
            for listener in &mut service.listen {
                *listener = listener.replace("tcp://", "udp://");
            }
        }
        self.services.extend(services);
    }

    /// The file's text.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string(self).context("composing the configuration")
    }

    /// The first service.
    ///
    /// # Panics
    /// Where there is none.
    pub fn web(&mut self) -> &mut Service {
        self.services
            .first_mut()
            .expect("the configuration has a service")
    }
}

impl Service {
    /// `dnat` without checks and without backends.
    pub fn new(name: &str, listener: &str) -> Self {
        Self {
            name: name.to_owned(),
            listen: vec![listener.to_owned()],
            forward: Forward::Dnat.word(),
            scheduler: "maglev",
            table_size: 16_381,
            hash: None,
            gue_port: None,
            connections: Connections::default(),
            health: Vec::new(),
            backends: Vec::new(),
        }
    }

    /// Packets go to the backends' addresses of `family`, whatever the listeners' is.
    ///
    /// # Panics
    /// Where a backend's address is none.
    pub fn reach_by(&mut self, family: Family) {
        for backend in &mut self.backends {
            let text = &backend.address;
            backend.address = match (text.parse::<SocketAddr>(), text.parse()) {
                (Ok(at), _) => SocketAddr::new(family.at(at.ip()), at.port()).to_string(),
                (_, Ok(address)) => family.at(address).to_string(),
                _ => panic!("{text} is not an address"),
            };
        }
    }
}

impl Interface {
    /// Native XDP on `name`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            xdp: XdpMode::Native.word(),
            vlan: false,
        }
    }
}

impl Health {
    /// Every 200 ms, two of a kind decide.
    pub fn quick() -> Self {
        let every = Duration::from_millis(200);
        Self {
            kind: "tcp",
            path: None,
            expect_status: Vec::new(),
            interval: every,
            timeout: every,
            rise: 2,
            fall: 2,
        }
    }

    /// The same, by HTTP.
    pub fn quick_http(path: &str, expect_status: &[u16]) -> Self {
        Self {
            kind: "http",
            path: Some(path.to_owned()),
            expect_status: expect_status.to_vec(),
            ..Self::quick()
        }
    }

    /// How long a death may go unnoticed: fall x interval + timeout + 1 s.
    pub fn detection(&self) -> Duration {
        self.interval * self.fall + self.timeout + Duration::from_secs(1)
    }

    /// How long a return may go unnoticed: rise x interval + timeout + 1 s.
    pub fn recovery(&self) -> Duration {
        self.interval * self.rise + self.timeout + Duration::from_secs(1)
    }
}

impl Backend {
    /// With weight 1; `address` with or without a port.
    pub fn new(name: &str, address: impl Display) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_string(),
            weight: 1,
        }
    }
}

/// Off is the default, which is not written.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_off(switch: &bool) -> bool {
    !switch
}

/// Durations are strings in the file.
fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}ms", duration.as_millis()))
}

/// A duration that may be left out, which is the caller's to do.
#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn milliseconds_if<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_strings() {
        let text = toml::to_string(&Health::quick()).expect("a health check is TOML");
        assert!(text.contains("interval = \"200ms\""), "{text}");
        assert_eq!(Health::quick().detection(), Duration::from_millis(1600));
    }

    #[test]
    fn backends_are_reached_by_the_other_family_too() {
        let mut service = Service::new("web", "tcp://10.77.0.80:80");
        let addresses = ["10.77.2.11:80", "10.77.2.12", "fd77:2::13"];
        service
            .backends
            .extend(addresses.map(|address| Backend::new("b", address)));
        service.reach_by(Family::Ipv6);
        let addresses: Vec<_> = service.backends.iter().map(|one| &one.address).collect();
        assert_eq!(addresses, ["[fd77:2::11]:80", "fd77:2::12", "fd77:2::13"]);
    }

    #[test]
    fn keys_that_are_left_out_have_their_defaults() {
        let connections = Connections {
            tracking: Some("always"),
            transition_window: Some(Duration::from_secs(3)),
            ..Connections::default()
        };
        let text = toml::to_string(&connections).expect("keys are TOML");
        assert_eq!(
            text,
            "tracking = \"always\"\ntransition_window = \"3000ms\"\n"
        );
    }
}
