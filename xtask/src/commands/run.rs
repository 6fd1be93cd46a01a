//! `run`: sets up, builds as the user, and becomes the playground or, with `--interface`, the
//! daemon, as root.

use anyhow::Result;
use clap::ValueEnum;
use xtask::workspace::Workspace;

use crate::{
    commands::setup,
    host::{self, Elevation},
    step,
};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Balance on this interface instead of in a playground (may be repeated)
    #[arg(long = "interface", value_name = "NAME", conflicts_with_all = ["backends", "duration", "forward", "udp", "ipv6"])]
    interfaces: Vec<String>,
    /// The config to run on the interface; without one everything passes and is counted
    #[arg(long, value_name = "FILE", requires = "interfaces")]
    config: Option<String>,
    /// How many backends the playground has
    #[arg(long, value_name = "N")]
    backends: Option<u16>,
    /// End the playground by itself, for example after 10s
    #[arg(long, value_name = "TIME")]
    duration: Option<String>,
    /// How packets reach the playground's backends
    #[arg(long, value_enum, value_name = "MODE")]
    forward: Option<Forward>,
    /// Where the XDP program sits: in the driver, or in the kernel's stack
    #[arg(long, value_enum, value_name = "MODE")]
    xdp_mode: Option<XdpMode>,
    /// A UDP service and a client for it in the playground, beside HTTP
    #[arg(long)]
    udp: bool,
    /// A VIP by IPv6 too in the playground, and clients for it, beside those by IPv4
    #[arg(long)]
    ipv6: bool,
    /// Optimise the daemon too; the XDP program always is
    #[arg(long)]
    release: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Forward {
    /// Addresses are rewritten, there and back
    Dnat,
    /// Backends answer clients themselves, through the router
    Dsr,
    /// The same; packets reach them inside another IP header
    Ipip,
    /// The same; packets reach them inside UDP
    Gue,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum XdpMode {
    /// In the driver, or not at all
    Native,
    /// In the kernel's stack: slow, works everywhere
    Generic,
}

/// Returns only on failure.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let elevation = Elevation::acquire()?;
    setup::ensure(&workspace)?;
    let mut build = host::cargo(&workspace);
    build.args(build_arguments(args.release));
    step::run("build", &mut build)?;
    host::ensure_bpffs(elevation)?;
    let (program, arguments) = what_to_run(args);
    elevation.exec(&host::programs(args.release)?.join(program), &arguments)
}

fn build_arguments(release: bool) -> Vec<&'static str> {
    let mut arguments = vec![
        "build",
        "--package",
        "lb-userspace",
        "--package",
        "sluice-tests",
    ];
    arguments.extend(["--bin", "sluice", "--bin", "playground"]);
    arguments.extend(release.then_some("--release"));
    arguments
}

fn what_to_run(args: &Args) -> (&'static str, Vec<String>) {
    let Args {
        interfaces,
        config,
        backends,
        duration,
        forward,
        xdp_mode,
        udp,
        ipv6,
        release: _,
    } = args;
    let mut arguments = vec!["run".to_owned()];
    let mut option =
        |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
    for interface in interfaces {
        option("--interface", interface);
    }
    if let Some(config) = config {
        option("--config", config);
    }
    if let Some(backends) = backends {
        option("--backends", &backends.to_string());
    }
    if let Some(duration) = duration {
        option("--duration", duration);
    }
    if let Some(forward) = forward {
        option("--forward", &word(forward));
    }
    if let Some(mode) = xdp_mode {
        option("--xdp-mode", &word(mode));
    }
    for (given, name) in [(udp, "--udp"), (ipv6, "--ipv6")] {
        arguments.extend(given.then(|| name.to_owned()));
    }
    (
        if interfaces.is_empty() {
            "playground"
        } else {
            "sluice"
        },
        arguments,
    )
}

/// As it was given, and as both programs know it.
fn word(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_interface_the_playground_runs() {
        let args = Args {
            backends: Some(4),
            duration: Some("10s".into()),
            ..Args::default()
        };
        let (program, arguments) = what_to_run(&args);
        assert_eq!(program, "playground");
        assert_eq!(arguments.join(" "), "run --backends 4 --duration 10s");
    }

    #[test]
    fn the_playground_is_told_its_modes() {
        let args = Args {
            forward: Some(Forward::Gue),
            xdp_mode: Some(XdpMode::Generic),
            udp: true,
            ipv6: true,
            ..Args::default()
        };
        let (program, arguments) = what_to_run(&args);
        assert_eq!(program, "playground");
        assert_eq!(
            arguments.join(" "),
            "run --forward gue --xdp-mode generic --udp --ipv6"
        );
    }

    #[test]
    fn with_an_interface_the_daemon_runs() {
        let args = Args {
            interfaces: vec!["eth0".into(), "eth1".into()],
            config: Some("my.toml".into()),
            xdp_mode: Some(XdpMode::Native),
            ..Args::default()
        };
        let (program, arguments) = what_to_run(&args);
        assert_eq!(program, "sluice");
        assert_eq!(
            arguments.join(" "),
            "run --interface eth0 --interface eth1 --config my.toml --xdp-mode native"
        );
    }

    #[test]
    fn release_builds_the_same_programs() {
        let dev = build_arguments(false);
        let release = build_arguments(true);
        assert_eq!(release.strip_prefix(&dev[..]), Some(&["--release"][..]));
    }
}
