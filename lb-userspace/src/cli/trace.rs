//! `sluice trace`: what becomes of packets, one a line, as long as somebody reads.

use std::num::NonZeroU64;

use anyhow::Context;
use clap::Args;

use super::{
    Exit, Global, block_on,
    output::{self, Reader},
};
use crate::admin::{Client, TraceOptions};

#[derive(Debug, Args)]
pub(super) struct Trace {
    /// Only packets of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Stop after so many lines
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroU64>,
}

pub(super) fn run(args: Trace, global: &Global) -> anyhow::Result<Exit> {
    let Trace { service, limit } = args;
    let options = TraceOptions {
        service,
        limit: limit.map(NonZeroU64::get),
    };
    let client = global.client();
    block_on(async {
        // Whatever ends first; the connection closes with it, and the daemon takes the tracing
        // program out again.
        tokio::select! {
            outcome = print(&client, &options) => outcome?,
            interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for Ctrl-C")?,
            () = output::reader_gone() => {}
        }
        Ok(Exit::Done)
    })
}

async fn print(client: &Client, options: &TraceOptions) -> anyhow::Result<()> {
    let mut trace = client.trace(options).await?;
    while let Some(bytes) = trace.next().await? {
        if output::print_bytes(&bytes)? == Reader::Gone {
            break;
        }
    }
    Ok(())
}
