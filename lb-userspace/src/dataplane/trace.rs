//! Tracing: the second program takes the first one's place, and its log records come out as lines.

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use lb_common::{
    abi::counters::{Counter, DropReason},
    wire::tcp::Flags,
};
use log::{Log, Metadata, Record};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
};

/// The loaded tracing program's records, as readable lines.
pub struct Records {
    logger: AsyncFd<EbpfLogger<Lines>>,
    lines: mpsc::Sender<String>,
}

impl Records {
    pub(super) fn new(ebpf: &mut Ebpf, lines: mpsc::Sender<String>) -> io::Result<Self> {
        let logger =
            EbpfLogger::init_with_logger(ebpf, Lines(lines.clone())).map_err(io::Error::other)?;
        // SAFETY: the ring buffer owns its descriptor and keeps it open as long as it lives.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }?;
        Ok(Self { logger, lines })
    }

    /// Passes lines on until nobody listens any more.
    ///
    /// # Errors
    /// Where the ring buffer cannot be waited for.
    pub async fn forward(mut self) -> io::Result<()> {
        loop {
            tokio::select! {
                () = self.lines.closed() => return Ok(()),
                ready = self.logger.readable_mut() => {
                    let mut ready = ready?;
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
            }
        }
    }
}

/// Turns aya-log's records into lines. Full or closed: the line is lost, the program never waits.
struct Lines(mpsc::Sender<String>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        let line = text
            .parse::<Traced>()
            .map_or(text, |traced| traced.to_string());
        let _lost_when_full = self.0.try_send(line);
    }

    fn flush(&self) {}
}

/// One record: what became of a packet, and the packet before and after.
#[derive(Debug, PartialEq, Eq)]
struct Traced {
    verdict: &'static str,
    drop: Option<DropReason>,
    protocol: &'static str,
    flags: Flags,
    before: [SocketAddr; 2],
    after: [SocketAddr; 2],
}

/// A record that the program did not write.
#[derive(Debug)]
struct Unreadable;

impl FromStr for Traced {
    type Err = Unreadable;

    /// Reads the fields in the order in which the program's `trace.rs` writes them.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut words = text.split_ascii_whitespace();
        let mut word = || words.next().ok_or(Unreadable);
        let counter: u32 = word()?.parse().map_err(|_| Unreadable)?;
        let protocol = match word()? {
            "6" => "tcp",
            "17" => "udp",
            _ => return Err(Unreadable),
        };
        let flags = Flags(word()?.parse().map_err(|_| Unreadable)?);
        let mut endpoint = || -> Result<SocketAddr, Unreadable> {
            // IPv4 addresses are mapped (RFC 4291, section 2.5.5.2).
            let address: Ipv6Addr = word()?.parse().map_err(|_| Unreadable)?;
            let port = word()?.parse().map_err(|_| Unreadable)?;
            Ok(SocketAddr::new(address.to_canonical(), port))
        };
        let before = [endpoint()?, endpoint()?];
        let after = [endpoint()?, endpoint()?];
        let named = [
            (Counter::TX, "tx"),
            (Counter::REDIRECT, "redirect"),
            (Counter::PASS, "pass"),
            (Counter::PUNT, "punt"),
        ];
        let drop = DropReason::ALL
            .into_iter()
            .find(|reason| Counter::dropped(*reason).index() == counter);
        let verdict = match drop {
            Some(_) => "drop",
            None => {
                named
                    .into_iter()
                    .find(|(known, _)| known.index() == counter)
                    .ok_or(Unreadable)?
                    .1
            }
        };
        Ok(Self {
            verdict,
            drop,
            protocol,
            flags,
            before,
            after,
        })
    }
}

impl fmt::Display for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [source, destination] = self.before;
        let Self {
            verdict, protocol, ..
        } = self;
        write!(f, "{verdict:<8} {protocol} {source} > {destination}")?;
        if *protocol == "tcp" {
            write!(f, " [{}]", Letters(self.flags))?;
        }
        if self.after != self.before {
            let [source, destination] = self.after.map(After);
            write!(f, " as {source} > {destination}")?;
        }
        match self.drop {
            Some(reason) => write!(f, " {}", reason.name()),
            None => Ok(()),
        }
    }
}

/// An end of the packet that left: without a port where that is 0, since the outer packet of a tunnel may
/// have none.
struct After(SocketAddr);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.port() {
            0 => IpAddr::fmt(&self.0.ip(), f),
            _ => SocketAddr::fmt(&self.0, f),
        }
    }
}

/// Flags as tcpdump writes them.
struct Letters(Flags);

impl fmt::Display for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (Flags::SYN, 'S'),
            (Flags::FIN, 'F'),
            (Flags::RST, 'R'),
            (0x08, 'P'),
            (Flags::ACK, '.'),
        ];
        letters
            .into_iter()
            .filter(|(flag, _)| self.0.0 & flag != 0)
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &str = "::ffff:10.0.0.1 1 ::ffff:10.0.0.2 2";

    fn line(text: &str) -> String {
        text.parse::<Traced>().unwrap().to_string()
    }

    #[test]
    fn a_forwarded_packet_shows_what_became_of_it() {
        assert_eq!(
            line(
                "1 6 2 ::ffff:10.77.1.10 40000 ::ffff:10.77.0.80 80 ::ffff:10.77.1.10 40000 \
                 ::ffff:10.77.2.11 8080"
            ),
            "redirect tcp 10.77.1.10:40000 > 10.77.0.80:80 [S] as 10.77.1.10:40000 > \
             10.77.2.11:8080"
        );
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(
            line("1 6 2 fd77:1::10 40000 fd77::80 80 fd77:1::10 40000 fd77:2::11 8080"),
            "redirect tcp [fd77:1::10]:40000 > [fd77::80]:80 [S] as [fd77:1::10]:40000 > \
             [fd77:2::11]:8080"
        );
    }

    #[test]
    fn a_wrapped_packet_shows_where_it_goes() {
        let from = "1 6 2 fd77:1::10 40000 fd77::80 80";
        assert_eq!(
            line(&format!("{from} ::ffff:10.0.0.1 0 ::ffff:10.0.2.11 0")),
            "redirect tcp [fd77:1::10]:40000 > [fd77::80]:80 [S] as 10.0.0.1 > 10.0.2.11"
        );
        assert_eq!(
            line(&format!("{from} fd00::1 50000 fd00::11 6080")),
            "redirect tcp [fd77:1::10]:40000 > [fd77::80]:80 [S] as [fd00::1]:50000 > [fd00::11]:6080"
        );
    }

    #[test]
    fn a_datagram_has_no_flags() {
        assert_eq!(
            line(&format!("2 17 0 {PACKET} {PACKET}")),
            "pass     udp 10.0.0.1:1 > 10.0.0.2:2"
        );
    }

    #[test]
    fn a_dropped_packet_shows_why() {
        let counter = Counter::dropped(DropReason::NoBackend).index();
        assert_eq!(
            line(&format!("{counter} 6 24 {PACKET} {PACKET}")),
            "drop     tcp 10.0.0.1:1 > 10.0.0.2:2 [P.] no_backend"
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_record() {
        for text in [
            "",
            "x",
            "2 6 2 ::1",
            "2 6 2 10.0.0.1 1 10.0.0.2 2 10.0.0.1 1 10.0.0.2 2",
            "63 6 2 ::1 1 ::1 1 ::1 1 ::1 1",
        ] {
            assert!(text.parse::<Traced>().is_err(), "{text}");
        }
    }
}
