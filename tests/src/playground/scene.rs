//! What there is to see, the same for the terminal, the plain lines and the summary.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
    path::Path,
    time::Duration,
};

use testbed::{
    mode::Family,
    status::{Backend, Service, Status},
    topology::{VIP, VIP6},
};

use crate::{
    ledger::{Ledger, Ledgers},
    paths,
    sampler::Sample,
    world::DaemonState,
};

/// Pieces of news that are kept.
const NEWS: usize = 4;

/// One moment of the playground.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) elapsed: Duration,
    pub(crate) backends: Vec<Row>,
    /// Requests that were answered or failed.
    pub(crate) requests: u64,
    /// Those of them that were sent by IPv6, where there is a VIP for it.
    pub(crate) by_ipv6: Option<u64>,
    pub(crate) failed: u64,
    /// Failed while a death was still to be noticed.
    pub(crate) excused: u64,
    /// Requests answered in the last second, by backend.
    pub(crate) rates: BTreeMap<String, u64>,
    /// The same by UDP.
    pub(crate) udp_rates: BTreeMap<String, u64>,
    /// Where there is a UDP service.
    pub(crate) udp: Option<Udp>,
    pub(crate) daemon: Daemon,
    /// What a person did, the latest last.
    pub(crate) news: VecDeque<String>,
    /// Commands to try, with what they do.
    pub(crate) hints: Vec<Hint>,
    sample: Option<Sample>,
    answers: bool,
    restart: String,
}

/// What is asked beside HTTP by IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) udp: bool,
    pub(crate) ipv6: bool,
}

/// What came of the UDP requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Udp {
    pub(crate) requests: u64,
    pub(crate) by_ipv6: Option<u64>,
    pub(crate) failed: u64,
    pub(crate) excused: u64,
}

/// A backend.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) health: String,
    /// Of the table's slots, per cent.
    pub(crate) share: f64,
    pub(crate) request_rate: u64,
    /// UDP requests answered in the last second.
    pub(crate) udp_rate: u64,
    pub(crate) packet_rate: u64,
    /// Answered so far.
    pub(crate) requests: u64,
    /// Answered so far, by UDP.
    pub(crate) udp_requests: u64,
    /// Answered in each of the last seconds.
    pub(crate) history: Vec<u64>,
    packets: u64,
    new_flows: u64,
}

/// How the daemon is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Daemon {
    Running { pid: u32 },
    Silent,
    Killed { restart: String },
}

/// A command to try.
#[derive(Clone, Debug)]
pub(crate) struct Hint {
    pub(crate) command: String,
    pub(crate) what: &'static str,
}

impl Scene {
    /// Before the first request.
    pub(crate) fn new(client: &str, lb: &str, sluice: &Path, traffic: Traffic) -> Self {
        let Traffic { udp, ipv6 } = traffic;
        let sluice = relative(&sluice.display().to_string());
        let sudo = if std::env::var_os("SUDO_USER").is_some() {
            "sudo "
        } else {
            ""
        };
        let hint = |command: String, what| Hint { command, what };
        let mut scene = Self {
            elapsed: Duration::ZERO,
            backends: Vec::new(),
            requests: 0,
            by_ipv6: ipv6.then_some(0),
            failed: 0,
            excused: 0,
            rates: BTreeMap::new(),
            udp_rates: BTreeMap::new(),
            udp: udp.then(Udp::default),
            daemon: Daemon::Silent,
            news: VecDeque::new(),
            hints: vec![
                hint(
                    format!("{sudo}ip netns exec {} curl http://{}/", client, VIP.ip()),
                    "ask the VIP yourself",
                ),
                hint(
                    "cargo xtask playground kill b2".into(),
                    "requests go on without it",
                ),
                hint(
                    "cargo xtask playground revive b2".into(),
                    "it gets requests again",
                ),
                hint(
                    "cargo xtask playground stop b3".into(),
                    "frozen: only a health check notices",
                ),
                hint(
                    "cargo xtask playground kill daemon".into(),
                    "packets keep flowing",
                ),
                hint(
                    format!("{sudo}{sluice} --socket {} status", paths::ADMIN_SOCKET),
                    "what the daemon knows",
                ),
            ],
            sample: None,
            answers: false,
            // `ip netns exec` would hide the BPF file system.
            restart: format!(
                "cargo xtask playground revive daemon   or   {sudo}nsenter --net=/run/netns/{lb} \
                 {sluice} run --config {}",
                paths::CONFIG
            ),
        };
        if udp {
            // The shell itself speaks UDP: no other program is needed.
            let (address, port) = (VIP.ip(), VIP.port());
            let ask = format!("exec 3<>/dev/udp/{address}/{port} && echo >&3 && head -1 <&3");
            let command = format!("{sudo}ip netns exec {client} bash -c '{ask}'");
            scene.hints.insert(1, hint(command, "by UDP, too"));
        }
        if ipv6 {
            // Quoted, since shells look for files with such names.
            let url = format!("'http://[{}]/'", VIP6.ip());
            let command = format!("{sudo}ip netns exec {client} curl {url}");
            scene.hints.insert(1, hint(command, "by IPv6, too"));
        }
        scene
    }

    /// The daemon was asked; `None`: it did not answer.
    pub(crate) fn look(&mut self, sample: Option<Sample>) {
        self.answers = sample.is_some();
        if sample.is_some() {
            self.sample = sample;
        }
    }

    /// Something happened.
    pub(crate) fn tell(&mut self, at: Duration, news: &str) {
        self.news.push_back(format!("{:>4}s  {news}", at.as_secs()));
        if self.news.len() > NEWS {
            self.news.pop_front();
        }
    }

    /// Time has passed.
    pub(crate) fn update(&mut self, elapsed: Duration, daemon: DaemonState, ledgers: &Ledgers) {
        let ledger = &ledgers.http;
        self.elapsed = elapsed;
        self.requests = ledger.requests();
        let by_ipv6 = self.by_ipv6.is_some();
        let by_ipv6 = |ledger: &Ledger| by_ipv6.then(|| ledger.requests_by(Family::Ipv6));
        self.by_ipv6 = by_ipv6(ledger);
        self.failed = ledger.failed();
        self.excused = ledger.excused;
        self.daemon = match (&self.sample, self.answers, daemon) {
            (Some(sample), true, _) => Daemon::Running {
                pid: sample.status.pid,
            },
            (_, _, DaemonState::Killed) => Daemon::Killed {
                restart: self.restart.clone(),
            },
            _ => Daemon::Silent,
        };
        if let Some(udp) = &mut self.udp {
            *udp = Udp {
                requests: ledgers.udp.requests(),
                by_ipv6: by_ipv6(&ledgers.udp),
                failed: ledgers.udp.failed(),
                excused: ledgers.udp.excused,
            };
        }
        self.backends = self.rows(ledgers);
    }

    /// Packets that the XDP program saw.
    pub(crate) fn packets_seen(&self) -> u64 {
        self.sample
            .as_ref()
            .map_or(0, |sample| sample.status.packets_seen())
    }

    /// How packets go: `dsr, generic, IPv4 and IPv6`; nothing before the daemon has said it.
    pub(crate) fn modes(&self) -> Option<String> {
        let status = &self.sample.as_ref()?.status;
        let forward = status.web().forward.as_str();
        let attached = status.interfaces.iter().map(|one| one.xdp.as_str());
        let modes: BTreeSet<_> = attached.collect();
        let modes = modes.into_iter().collect::<Vec<_>>().join(" and ");
        let ipv6 = self.by_ipv6.map_or("", |_| ", IPv4 and IPv6");
        Some(format!("{forward}, {modes}{ipv6}"))
    }

    /// Requests answered in the last second.
    pub(crate) fn rate(&self) -> u64 {
        self.rates.values().sum()
    }

    /// UDP requests answered in the last second.
    pub(crate) fn udp_rate(&self) -> u64 {
        self.udp_rates.values().sum()
    }

    /// At the end.
    pub(crate) fn summary(&self) -> String {
        let Self {
            elapsed,
            requests,
            by_ipv6,
            failed,
            excused,
            udp,
            ..
        } = self;
        let mut text = format!("\nplayground: {:.1} s\n", elapsed.as_secs_f64());
        let mut line = |what: &str, figures: String| {
            let _ = writeln!(text, "  {what:<10}{figures}");
        };
        line(
            "requests",
            format!(
                "{requests}{}, failed {failed} ({excused} while a death was unnoticed)",
                in_brackets(*by_ipv6)
            ),
        );
        if let Some(Udp {
            requests,
            by_ipv6,
            failed,
            excused,
        }) = udp
        {
            line(
                "UDP",
                format!(
                    "{requests}{}, failed {failed} ({excused} while a death was unnoticed)",
                    in_brackets(*by_ipv6)
                ),
            );
        }
        for Row {
            name,
            requests,
            udp_requests,
            packets,
            new_flows,
            health,
            ..
        } in &self.backends
        {
            let by_udp = match udp {
                Some(_) => format!("{udp_requests} UDP requests, "),
                None => String::new(),
            };
            line(
                name,
                format!(
                    "{requests} requests, {by_udp}{packets} packets, {new_flows} new flows, {health}"
                ),
            );
        }
        if let (Some(sample), Some(modes)) = (&self.sample, self.modes()) {
            let verdicts = sample.status.verdicts.iter();
            let verdicts: Vec<_> = verdicts
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            line(
                "XDP",
                format!(
                    "{modes}, {} packets seen: {}",
                    self.packets_seen(),
                    verdicts.join(", ")
                ),
            );
        }
        text
    }

    fn rows(&self, ledgers: &Ledgers) -> Vec<Row> {
        let Some(Sample {
            status,
            packet_rates,
            ..
        }) = &self.sample
        else {
            return Vec::new();
        };
        let Ledgers { http, udp } = ledgers;
        let service = status.web();
        let everywhere = |name: &str, field: fn(&Backend) -> u64| -> u64 {
            let backends = status.services.iter().flat_map(|service| &service.backends);
            backends.filter(|one| one.name == name).map(field).sum()
        };
        let slots: u64 = service.backends.iter().map(|backend| backend.slots).sum();
        let row = |backend: &Backend| {
            let name = &backend.name;
            let of = |counts: &BTreeMap<String, u64>| counts.get(name).copied().unwrap_or(0);
            Row {
                name: name.clone(),
                address: backend.address.clone(),
                health: health(status, name),
                share: 100.0 * backend.slots as f64 / slots.max(1) as f64,
                request_rate: of(&self.rates),
                udp_rate: of(&self.udp_rates),
                packet_rate: if self.answers { of(packet_rates) } else { 0 },
                requests: of(&http.answered),
                udp_requests: of(&udp.answered),
                history: http
                    .history
                    .get(name)
                    .into_iter()
                    .flatten()
                    .copied()
                    .collect(),
                packets: everywhere(name, |one| one.packets),
                new_flows: everywhere(name, |one| one.new_flows),
            }
        };
        service.backends.iter().map(row).collect()
    }
}

/// As every service has it, or as the first one that does not have it up.
fn health(status: &Status, name: &str) -> String {
    let in_service = |service: &Service| {
        let mut backends = service.backends.iter();
        let found = backends.find(|backend| backend.name == name)?;
        Some(found.health.clone())
    };
    let mut all: Vec<_> = status.services.iter().filter_map(in_service).collect();
    all.sort_by_key(|health| health == "up");
    all.into_iter().next().unwrap_or_default()
}

/// How many of some requests were sent by IPv6, as ` (12 by IPv6)`; nothing where none ever are.
pub(crate) fn in_brackets(by_ipv6: Option<u64>) -> String {
    by_ipv6.map_or_else(String::new, |count| format!(" ({count} by IPv6)"))
}

/// As a person in the project's folder would type it.
fn relative(path: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let shorter = path.strip_prefix(&format!("{}/", here.display()));
    shorter.unwrap_or(path).to_owned()
}
