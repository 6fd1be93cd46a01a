//! A daemon's own program, run packet by packet beside the traffic that it handles: what would become
//! of a packet, by the tables as they are. It counts and remembers as for any packet.

use std::path::Path;

use anyhow::{Context, Result};
use aya::{
    TestRun as _, TestRunOptions,
    programs::{ProgramFd, Xdp},
};
use aya_obj::programs::XdpAttachType;

/// A program that a daemon has pinned.
#[derive(Debug)]
pub struct PinnedProgram {
    program: Xdp,
    out: Vec<u8>,
}

impl PinnedProgram {
    /// Opens it below a daemon's pins. One that is put in its place later is another one.
    pub fn open(pins: &Path) -> Result<Self> {
        let path = pins.join("progs/xdp");
        let program = Xdp::from_pin(&path, XdpAttachType::Interface);
        let program = program.with_context(|| format!("opening {}", path.display()))?;
        Ok(Self {
            program,
            out: Vec::new(),
        })
    }

    /// The program itself.
    pub fn fd(&self) -> Result<&ProgramFd> {
        self.program.fd().context("the program is not loaded")
    }

    /// Runs it on a frame that came in by the interface `ifindex`. Gives `enum xdp_action` and the
    /// frame after it. To be called inside the load balancer's host: interfaces are looked for there.
    pub fn run(&mut self, frame: &[u8], ifindex: u32) -> Result<(u32, &[u8])> {
        /// Room for what a program puts before the frame.
        const HEADROOM: usize = 256;

        self.out.resize(frame.len() + HEADROOM, 0);
        // `struct xdp_md`: the frame's end, and where it came in.
        let mut context = [0; 24];
        context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
        let result = self
            .program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut self.out),
                ctx_in: Some(&context),
                ..TestRunOptions::default()
            })
            .context("BPF_PROG_TEST_RUN")?;
        let length = result.data_size_out as usize;
        Ok((result.return_value, self.out.get(..length).unwrap_or(&[])))
    }
}
