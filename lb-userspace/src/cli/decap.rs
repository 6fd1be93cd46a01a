//! `sluice decap`: takes tunnels' outer headers off, on a backend.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, CommandFactory, error::ErrorKind};

use super::{Cli, Exit, Format, Global, block_on, logging, output, run::XdpMode, table::table};
use crate::{
    config, dataplane,
    decap::{self, Options, Report},
    prefix::Prefix,
};

const NO_SOURCE: &str = "name the load balancers with --from ADDRESS or --from ADDRESS/PREFIX: without, \
                         anyone could put packets of any source into this host";

#[derive(Debug, Args)]
pub(super) struct Decap {
    /// Where the load balancers' packets come in; may be repeated
    #[arg(long = "interface", value_name = "NAME", value_parser = config::interface_name)]
    #[arg(required_unless_present_any = ["counters", "detach"])]
    interfaces: Vec<String>,
    /// Take packets from this load balancer, or from these; may be repeated
    #[arg(long = "from", value_name = "ADDRESS[/PREFIX]", value_parser = decap::source)]
    sources: Vec<Prefix>,
    /// UDP port that GUE packets come to
    #[arg(long, value_name = "PORT", default_value_t = config::DEFAULT_GUE_PORT)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    gue_port: u16,
    /// How to attach
    #[arg(long, value_enum, value_name = "MODE", default_value = "auto")]
    xdp_mode: XdpMode,
    /// Where the BPF file system is mounted
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
    /// Print what the running instance has counted, and do nothing else
    #[arg(long, conflicts_with_all = ["interfaces", "sources", "detach"])]
    counters: bool,
    /// Remove what an instance that was killed has left, and do nothing else
    #[arg(long, conflicts_with_all = ["interfaces", "sources"])]
    detach: bool,
}

pub(super) fn run(args: Decap, global: &Global) -> anyhow::Result<Exit> {
    let Decap {
        interfaces,
        sources,
        gue_port,
        xdp_mode,
        bpffs,
        counters,
        detach,
    } = args;
    if counters {
        return print_counters(&bpffs, global);
    }
    if detach {
        return clean_up(&bpffs, global);
    }
    if sources.is_empty() {
        return Ok(misused(ErrorKind::MissingRequiredArgument, NO_SOURCE));
    }
    logging::start();
    let options = Options {
        instance: global.instance().to_owned(),
        bpffs,
        interfaces: interfaces.into_iter().collect(),
        xdp: xdp_mode.into(),
        sources: sources.into_iter().collect(),
        gue_port,
    };
    block_on(async { Ok(decap::run(options).await?) })?;
    Ok(Exit::Done)
}

/// Says what is wrong with the command line as clap does it.
fn misused(kind: ErrorKind, message: &str) -> Exit {
    let mut cli = Cli::command();
    cli.build();
    if let Some(decap) = cli.find_subcommand_mut("decap") {
        // There is no place left to tell that this failed.
        let _ = decap.error(kind, message).print();
    }
    Exit::Usage
}

fn print_counters(bpffs: &Path, global: &Global) -> anyhow::Result<Exit> {
    let instance = global.instance();
    let counts = dataplane::decap_counts(bpffs, instance).context("reading the counters")?;
    let counts = counts.ok_or_else(|| {
        anyhow!(
            "no `sluice decap` of instance `{instance}` runs on {}",
            bpffs.display()
        )
    })?;
    let report = Report::new(instance, &counts);
    match global.output {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(listing(&report))?,
    }
    Ok(Exit::Done)
}

fn listing(report: &Report) -> String {
    let mut table = table(&["FATE", "COUNTER", ">PACKETS"]);
    for (fate, name, value) in report.rows() {
        table.add_row([fate, name, &value.to_string()]);
    }
    table.trim_fmt()
}

fn clean_up(bpffs: &Path, global: &Global) -> anyhow::Result<Exit> {
    let instance = global.instance();
    let removed = dataplane::remove_decap(bpffs, instance)?;
    match global.output {
        Format::Json => output::print_json(&serde_json::json!({ "removed": removed }))?,
        Format::Table if removed => {
            output::print(format_args!("removed what instance {instance} had left"))?;
        }
        Format::Table => {
            output::print(format_args!("nothing of instance {instance} is left"))?;
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use lb_common::abi::decap::DecapCounter;

    use super::*;

    #[test]
    fn counters_are_listed_by_what_became_of_the_packets() {
        let counts = [
            (DecapCounter::IpipIpv4, 12_345),
            (DecapCounter::RefusedSource, 6),
        ];
        let report = Report::new("default", &counts.into());
        insta::assert_snapshot!(listing(&report), @r"
        FATE          COUNTER           PACKETS
        decapsulated  ipip_ipv4           12345
        decapsulated  ipip_ipv6               0
        decapsulated  gue_ipv4                0
        decapsulated  gue_ipv6                0
        passed        not_a_tunnel            0
        passed        refused_source          6
        passed        fragment                0
        passed        extension_header        0
        dropped       malformed               0
        dropped       inner_malformed         0
        dropped       ecn                     0
        ");
    }
}
