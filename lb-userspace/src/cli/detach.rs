//! `sluice detach`: cleans up behind a daemon that is gone.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{Exit, Format, Global, output};
use crate::controller;

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Where the BPF file system is mounted
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
}

pub(super) fn run(args: &Detach, global: &Global) -> anyhow::Result<Exit> {
    let Detach { bpffs } = args;
    let instance = global.instance();
    // Netlink is asked to forget the neighbours that the daemon had kept resolved.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let removed = runtime.block_on(controller::detach(bpffs, instance, &global.socket()))?;
    match global.output {
        Format::Json => output::print_json(&serde_json::json!({ "removed": removed }))?,
        Format::Table if removed.is_empty() => {
            output::print(format_args!("nothing of instance {instance} is left"))?;
        }
        Format::Table => output::print(removed.join("\n"))?,
    }
    Ok(Exit::Done)
}
