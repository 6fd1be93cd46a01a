//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser};
use testbed::mode::{Forward, XdpMode};

/// Sluice between a client and its backends, on one machine, to watch and to break.
#[derive(Debug, Parser)]
#[command(name = "playground", version)]
pub(crate) enum Arguments {
    /// Build it, run it and show it, until Ctrl-C.
    Run(Options),
    /// Kill a backend's server (SIGKILL), or the daemon.
    Kill {
        /// b1, b2, ... or daemon.
        target: String,
    },
    /// Stop a backend's server (SIGSTOP).
    Stop {
        /// b1, b2, ...
        target: String,
    },
    /// Bring a backend back, or the daemon.
    Revive {
        /// b1, b2, ... or daemon.
        target: String,
    },
    /// Be a backend; what the playground and the tests start in a host.
    #[command(hide = true)]
    Serve {
        /// What it answers.
        #[arg(long)]
        name: String,
        /// Where it listens, TCP and UDP (may be repeated).
        #[arg(long, required = true)]
        listen: Vec<SocketAddr>,
        /// Where it counts.
        #[arg(long)]
        counts: PathBuf,
    },
}

/// What the playground is like.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Options {
    /// How many backends there are.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
    pub(crate) backends: u8,
    /// End it by itself after that long: 15s, 2m.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// How packets reach the backends.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) forward: Forward,
    /// Where the program sits.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) xdp_mode: XdpMode,
    /// A UDP service and a client for it, beside HTTP.
    #[arg(long)]
    pub(crate) udp: bool,
    /// A VIP by IPv6 too, and clients for it, beside those by IPv4.
    #[arg(long)]
    pub(crate) ipv6: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        match Arguments::try_parse_from(line.split_whitespace()) {
            Ok(Arguments::Run(options)) => Ok(options),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn unless_told_otherwise_it_rewrites_http_in_the_driver() {
        let options = Options {
            backends: 3,
            duration: None,
            forward: Forward::Dnat,
            xdp_mode: XdpMode::Native,
            udp: false,
            ipv6: false,
        };
        assert_eq!(parsed("playground run"), Ok(options));
    }

    #[test]
    fn everything_on_the_line_arrives() {
        let line = "playground run --backends 5 --duration 2m --forward gue --xdp-mode generic \
                    --udp --ipv6";
        let options = Options {
            backends: 5,
            duration: Some(Duration::from_secs(120)),
            forward: Forward::Gue,
            xdp_mode: XdpMode::Generic,
            udp: true,
            ipv6: true,
        };
        assert_eq!(parsed(line), Ok(options));
    }

    #[test]
    fn a_mode_that_is_not_there_is_refused_with_those_that_are() {
        for (line, known) in [
            ("playground run --forward nat", "dnat, dsr, ipip, gue"),
            ("playground run --xdp-mode fast", "native, generic"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(known), "{error}");
        }
    }

    #[test]
    fn a_backend_listens_on_every_address_named() {
        let line =
            "playground serve --name b1 --listen 10.0.0.1:80 --listen 10.0.0.2:80 --counts /c";
        let arguments = Arguments::try_parse_from(line.split_whitespace());
        let Ok(Arguments::Serve { listen, .. }) = arguments else {
            panic!("{arguments:?}");
        };
        assert_eq!(listen.len(), 2);
    }
}
