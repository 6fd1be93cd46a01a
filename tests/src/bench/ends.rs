//! The two ends of a line: a generator of live frames at the load balancer's front, a sink that
//! counts, checks and drops at its back.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, TestRun as _, TestRunAttrs, TestRunOptions,
    maps::{Array, DevMap, MapData, PerCpuArray, PerCpuValues},
    programs::xdp::XdpMode,
};
use lb_common::bench::Tally;
use testbed::{host::Host, packets::Side};

use crate::{
    cases::CASES,
    rig,
    world::{FIRST_VIP, Net},
};

/// Frames that the kernel hands on together; a NAPI budget.
const BATCH: u32 = 64;

/// Flows of the generator.
const FLOWS: u32 = 1 << 10;

/// What has to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arriving {
    /// Frames for the VIP.
    AsSent,
    /// Frames for one of the backends. Their bytes are the business of `program`.
    ForBackends,
}

/// Both ends.
pub(crate) struct Ends {
    frame: Vec<u8>,
    /// The generator's interface.
    ifindex: u32,
    made: PerCpuArray<MapData, Tally>,
    received: PerCpuArray<MapData, Tally>,
    // Holds the programs and their links.
    ebpf: Ebpf,
}

impl Ends {
    /// Loads generator and sink into the load balancer's peer.
    pub(crate) fn build(net: &Net, arriving: Arriving) -> Result<Self> {
        let case = CASES
            .iter()
            .find(|case| case.from == Side::Front)
            .context("no case comes in at the front")?;
        let flows = case.vary(FLOWS);
        let frame = case.packet(net, flows.of(0))?;
        let mut ebpf = rig::open(&flows)?;
        for name in ["generator", "relay", "sink"] {
            let program = rig::program(&mut ebpf, name)?;
            program.load().with_context(|| format!("loading {name}"))?;
        }
        let mut template: Array<_, rig::Template> = rig::take(&mut ebpf, "FRAME")?;
        template.set(0, rig::template(&frame), 0)?;
        let mut expected: Array<_, [u32; 2]> = rig::take(&mut ebpf, "EXPECTED")?;
        let network = Side::Back.network(0).octets();
        let what = match arriving {
            Arriving::AsSent => [FIRST_VIP.to_be(), u32::MAX],
            Arriving::ForBackends => [u32::from_ne_bytes(network), 0xffff_ff00_u32.to_be()],
        };
        expected.set(0, what, 0)?;
        attach(&mut ebpf, "sink", &net.peer, Side::Back)?;
        Ok(Self {
            made: rig::take(&mut ebpf, "MADE")?,
            received: rig::take(&mut ebpf, "RECEIVED")?,
            ifindex: net.peer.link(Side::Front.name())?.index,
            ebpf,
            frame,
        })
    }

    /// Attaches the relay in the load balancer's place.
    pub(crate) fn relay(&mut self, net: &Net) -> Result<()> {
        let mut way_out: DevMap<_> = rig::take(&mut self.ebpf, "WAY_OUT")?;
        let out = net.device(Side::Back)?.ifindex;
        net.host.run(|| way_out.set(0, out, None, 0))?;
        [Side::Front, Side::Back]
            .into_iter()
            .try_for_each(|side| attach(&mut self.ebpf, "relay", &net.host, side))
    }

    /// Counts from zero.
    pub(crate) fn reset(&mut self) -> Result<()> {
        for map in [&mut self.made, &mut self.received] {
            let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
            map.set(0, PerCpuValues::try_from(vec![Tally::default(); cpus])?, 0)?;
        }
        Ok(())
    }

    /// Sends `frames` frames from each of the first `cpus` CPUs, until all of them are made.
    pub(crate) fn send(&mut self, peer: &Host, cpus: usize, frames: u32) -> Result<()> {
        let context = &rig::xdp_md(self.frame.len(), self.ifindex);
        let generator = &*rig::program(&mut self.ebpf, "generator")?;
        let frame = &self.frame;
        let send = |cpu| {
            peer.run(|| -> Result<()> {
                rig::pin(cpu)?;
                let options = TestRunOptions {
                    data_in: Some(frame),
                    ctx_in: Some(context),
                    repeat: frames,
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH.min(frames)),
                    ..TestRunOptions::default()
                };
                generator.test_run(options).context("making live frames")?;
                Ok(())
            })
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..cpus)
                .map(|cpu| scope.spawn(move || send(cpu)))
                .collect();
            let mut results = threads.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            results.try_for_each(|result| result)
        })
    }

    /// Frames that were made.
    pub(crate) fn made(&self) -> Result<u64> {
        Ok(sum(&self.made)?.packets)
    }

    /// Waits until `frames` frames have arrived, or for so long. Returns what has.
    pub(crate) fn arrived(&self, frames: u64, wait: Duration) -> Result<Tally> {
        let deadline = Instant::now() + wait;
        loop {
            let received = sum(&self.received)?;
            if received.packets >= frames || Instant::now() > deadline {
                return Ok(received);
            }
            thread::yield_now();
        }
    }
}

/// Attaches one of the benchmark's programs; it goes with its interface.
fn attach(ebpf: &mut Ebpf, name: &str, host: &Host, side: Side) -> Result<()> {
    let interface = side.name();
    let ifindex = host.link(interface)?.index;
    let program = rig::program(ebpf, name)?;
    host.run(|| program.attach_to_if_index(ifindex, XdpMode::Driver))
        .with_context(|| format!("attaching {name} to {interface}: is another program there?"))?;
    Ok(())
}

fn sum(map: &PerCpuArray<MapData, Tally>) -> Result<Tally> {
    let cpus = map.get(&0, 0)?;
    Ok(cpus.iter().fold(Tally::default(), |sum, cpu| Tally {
        packets: sum.packets + cpu.packets,
        wrong: sum.wrong + cpu.wrong,
    }))
}
