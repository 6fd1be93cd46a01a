//! What would become of a packet: a copy of the program that writes no map, and is attached to
//! nothing, runs it once.

use aya::{TestRun as _, TestRunOptions};
use lb_common::abi::{
    counters::Counter,
    names,
    settings::{Settings, feature},
};

use super::{Dataplane, Error, program};

/// Room for what a program puts before the frame.
const HEADROOM: usize = 256;

/// What would become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    /// `enum xdp_action` of linux/bpf.h.
    pub action: u32,
    /// What would be counted: the verdict, or the reason of a drop.
    pub counter: Counter,
    /// The frame as it would leave.
    pub frame: Vec<u8>,
}

impl Dataplane {
    /// Runs one frame as if it came in by the interface with the index `ifindex`, which is one of
    /// the calling thread's network namespace. No map changes: neither counters nor entries nor
    /// budgets. What would be remembered is taken as remembered.
    ///
    /// The copy is loaded once and kept until the settings change.
    ///
    /// # Errors
    /// Where the copy does not load, the frame is shorter than an Ethernet header, or there is no
    /// such interface.
    pub fn dry_run(&mut self, frame: &[u8], ifindex: u32) -> Result<DryRun, Error> {
        let dry = match &mut self.dry {
            Some(dry) => dry,
            place => {
                let settings = Settings {
                    features: self.settings.features | feature::DRY_RUN,
                    ..self.settings
                };
                let ebpf = program::open(&self.pins, self.limits, &settings, false)?;
                place.insert(ebpf)
            }
        };
        let mut out = vec![0; frame.len() + HEADROOM];
        let context = xdp_md(frame.len(), ifindex);
        let result = program::loaded(dry, names::PROGRAM)?.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        })?;
        out.truncate(result.data_size_out as usize);
        let (action, counter) = Counter::from_dry_run(result.return_value);
        Ok(DryRun {
            action,
            counter,
            frame: out,
        })
    }
}

/// The kernel's `struct xdp_md`: a frame of `length` bytes, come in on `ifindex`.
fn xdp_md(length: usize, ifindex: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(length as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}
