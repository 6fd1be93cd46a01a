//! The benchmark's own programs, loaded for one kind of packets, and how a test run is timed.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, Xdp},
};
use lb_common::bench::{FRAME_MAX, Flows};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// The object file of the benchmark's programs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf.o"));

/// Room for what a program puts before the frame.
const HEADROOM: usize = 256;

/// A frame as the maps hold it.
pub(crate) type Template = [u64; FRAME_MAX / 8];

/// The driver for one kind of packets.
pub(crate) struct Rig {
    ebpf: Ebpf,
    flows: Flows,
    frame: Vec<u8>,
    template: Array<MapData, Template>,
    next: Array<MapData, u64>,
    under_test: ProgramArray<MapData>,
    ifindex: u32,
}

/// What the driver hands its packets to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// Nothing at all.
    Empty,
    /// The cheapest push of 20 bytes.
    Push,
    /// One question to the kernel's routes.
    Fib,
    /// Moving the frame's head back, which the driver does for a program that has moved it.
    Restore,
}

impl Floor {
    /// What a figure is without, from which it was subtracted.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Empty => "the driver",
            Self::Push => "a push",
            Self::Fib => "the next-hop helper",
            Self::Restore => "the driver's move of the head back",
        }
    }
}

/// How long a packet took, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// By the kernel's own clock around the loop; whole nanoseconds.
    pub(crate) kernel: f64,
    /// By the CPU time of the thread, the system call included.
    pub(crate) cpu: f64,
}

/// A packet after the program.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `enum xdp_action`.
    pub(crate) action: u32,
    /// Its bytes.
    pub(crate) frame: Vec<u8>,
}

impl Rig {
    /// Loads the driver for `flows`, whose packets look like `frame` and come in by `ifindex`.
    pub(crate) fn load(flows: Flows, frame: &[u8], ifindex: u32) -> Result<Self> {
        ensure!(
            frame.len() == flows.length as usize,
            "the frame has another length"
        );
        let mut ebpf = open(&flows)?;
        for name in [
            "driver",
            "floor",
            "floor_push",
            "floor_fib",
            "floor_restore",
        ] {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("loading {name}"))?;
        }
        let mut rig = Self {
            template: take(&mut ebpf, "TEMPLATE")?,
            next: take(&mut ebpf, "NEXT")?,
            under_test: take(&mut ebpf, "UNDER_TEST")?,
            ebpf,
            flows,
            frame: frame.to_vec(),
            ifindex,
        };
        rig.set_frame(frame)?;
        Ok(rig)
    }

    /// How the packets vary.
    pub(crate) const fn flows(&self) -> &Flows {
        &self.flows
    }

    /// Hands the driver's packets to a floor from now on.
    pub(crate) fn aim_at_floor(&mut self, floor: Floor) -> Result<()> {
        let name = match floor {
            Floor::Empty => "floor",
            Floor::Push => "floor_push",
            Floor::Fib => "floor_fib",
            Floor::Restore => "floor_restore",
        };
        let fd = program(&mut self.ebpf, name)?.fd()?.try_clone()?;
        self.aim(&fd)
    }

    /// Hands the driver's packets to `target` from now on.
    pub(crate) fn aim(&mut self, target: &ProgramFd) -> Result<()> {
        self.under_test
            .set(0, target, 0)
            .context("setting the program under test")
    }

    /// Runs packet `number` alone, beginning as `frame`. To be called inside the world's host.
    pub(crate) fn once(&mut self, number: u32, frame: &[u8]) -> Result<Outcome> {
        self.set_frame(frame)?;
        self.next.set(0, u64::from(number), 0)?;
        let mut out = vec![0; frame.len() + HEADROOM];
        let context = xdp_md(frame.len(), self.ifindex);
        let result = program(&mut self.ebpf, "driver")?.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        })?;
        out.truncate(result.data_size_out as usize);
        Ok(Outcome {
            action: result.return_value,
            frame: out,
        })
    }

    /// Runs `packets` packets and times them; every one of them ends with `action`, or at least the
    /// last does. To be called inside the world's host.
    pub(crate) fn time(&mut self, packets: u32, action: u32) -> Result<Timing> {
        let before = cpu_time()?;
        let (last, kernel) = self.run(0, packets)?;
        let spent = cpu_time()? - before;
        if last != action {
            bail!("the last packet ended with action {last}, not {action}");
        }
        Ok(Timing {
            kernel: kernel.as_nanos() as f64,
            cpu: spent.as_nanos() as f64 / f64::from(packets),
        })
    }

    /// Runs `packets` packets from number `first` on. Gives the last one's action and the time of
    /// each. To be called inside the world's host.
    pub(crate) fn run(&mut self, first: u32, packets: u32) -> Result<(u32, Duration)> {
        self.next.set(0, u64::from(first), 0)?;
        let context = xdp_md(self.frame.len(), self.ifindex);
        let result = program(&mut self.ebpf, "driver")?.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&context),
            repeat: packets,
            ..TestRunOptions::default()
        })?;
        Ok((result.return_value, result.duration))
    }

    fn set_frame(&mut self, frame: &[u8]) -> Result<()> {
        Ok(self.template.set(0, template(frame), 0)?)
    }
}

/// The object with its settings; nothing is loaded yet.
pub(crate) fn open(flows: &Flows) -> Result<Ebpf> {
    EbpfLoader::new()
        .override_global("FLOWS", flows, true)
        .load(OBJECT)
        .context("loading the benchmark's programs")
}

/// One of the object's programs.
pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// One of the object's maps.
pub(crate) fn take<M>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the object has no map {name}"))?;
    M::try_from(map).with_context(|| format!("taking the map {name}"))
}

/// A frame as the maps hold it.
pub(crate) fn template(frame: &[u8]) -> Template {
    let mut words = Template::default();
    for (word, bytes) in words.iter_mut().zip(frame.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(whole);
    }
    words
}

/// The kernel's `struct xdp_md`: a frame of `length` bytes, come in on `ifindex`.
pub(crate) fn xdp_md(length: usize, ifindex: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(length as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("staying on CPU {cpu}"))
}

/// CPU time of the calling thread.
fn cpu_time() -> Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes the struct, which outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    ensure!(result == 0, "the thread's CPU time is not to be had");
    Ok(Duration::new(
        u64::try_from(time.tv_sec)?,
        u32::try_from(time.tv_nsec)?,
    ))
}
