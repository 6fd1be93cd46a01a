//! A packet through the bed's program, and all that the run left behind.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aya::{TestRun as _, TestRunOptions};
use lb_common::abi::counters::{BackendCounters, Counter, DropReason};
use lb_userspace::dataplane::DryRun;

use super::{Bed, Side};

/// Room for whatever a program puts before a frame.
const HEADROOM: usize = 256;

/// What became of a packet, but for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `XDP_PASS`.
    Pass,
    /// `XDP_TX`.
    Transmit,
    /// `XDP_REDIRECT`.
    Redirect,
    /// `XDP_DROP`, for this reason.
    Drop(DropReason),
    /// `XDP_DROP`, handed to the daemon.
    Punt,
}

/// All that a run left behind.
#[derive(Debug)]
pub struct Ran {
    /// The program's return code.
    pub action: u32,
    /// The frame after it.
    pub frame: Vec<u8>,
    /// Counters that changed, by how much.
    pub counters: BTreeMap<Counter, u64>,
    /// Backends' counters that changed, by how much; by the backend's name.
    pub backends: BTreeMap<String, BackendCounters>,
}

impl Bed {
    /// Runs one packet that came in on `side`.
    pub fn run(&mut self, side: Side, frame: &[u8]) -> Result<Ran> {
        self.run_again(side, frame, 1)
    }

    /// The same so many times, each time on what the time before has left. The action is that of the last.
    pub fn run_again(&mut self, side: Side, frame: &[u8], times: u32) -> Result<Ran> {
        let (before, backends_before) = (self.counters()?, self.backends()?);
        let context = xdp_md(frame.len() as u32, self.devices[&side].ifindex);
        let mut out = vec![0; frame.len() + HEADROOM];
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        let result = self.host.run(|| {
            let program = match self.frags {
                true => dataplane.frags_program()?,
                false => dataplane.program()?,
            };
            program
                .test_run(TestRunOptions {
                    data_in: Some(frame),
                    data_out: Some(&mut out),
                    ctx_in: Some(&context),
                    repeat: times,
                    ..TestRunOptions::default()
                })
                .with_context(|| format!("BPF_PROG_TEST_RUN of {} bytes", frame.len()))
        })?;
        out.truncate(result.data_size_out as usize);
        let (after, backends_after) = (self.counters()?, self.backends()?);
        let counters = after
            .into_iter()
            .map(|(counter, value)| (counter, value - before[&counter]))
            .filter(|(_, change)| *change != 0)
            .collect();
        let backends = backends_after
            .into_iter()
            .map(|(name, now)| {
                let then = backends_before[&name];
                let change = BackendCounters {
                    packets: now.packets - then.packets,
                    bytes: now.bytes - then.bytes,
                    new_flows: now.new_flows - then.new_flows,
                };
                (name, change)
            })
            .filter(|(_, change)| *change != BackendCounters::default())
            .collect();
        Ok(Ran {
            action: result.return_value,
            frame: out,
            counters,
            backends,
        })
    }

    /// Asks what would become of a packet that came in on `side`.
    pub fn dry_run(&mut self, side: Side, frame: &[u8]) -> Result<DryRun> {
        let ifindex = self.devices[&side].ifindex;
        let dataplane = self.dataplane.as_mut().context("taken only in drop")?;
        Ok(self.host.run(|| dataplane.dry_run(frame, ifindex))?)
    }

    /// Every counter of verdicts and drops.
    pub fn counters(&self) -> Result<BTreeMap<Counter, u64>> {
        let dataplane = self.dataplane.as_ref().context("taken only in drop")?;
        Counter::all()
            .map(|counter| Ok((counter, dataplane.counter(counter)?)))
            .collect()
    }

    /// Every backend's counters, by its name.
    pub fn backends(&self) -> Result<BTreeMap<String, BackendCounters>> {
        let dataplane = self.dataplane.as_ref().context("taken only in drop")?;
        let names = self
            .model
            .services
            .iter()
            .flat_map(|service| &service.backends);
        names
            .map(|backend| {
                let counters = dataplane.backend_counters(self.index(&backend.name)?)?;
                Ok((backend.name.to_string(), counters))
            })
            .collect()
    }
}

/// The kernel's `struct xdp_md`: the frame from 0 to `length`, come in on `ifindex`.
fn xdp_md(length: u32, ifindex: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&length.to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}
