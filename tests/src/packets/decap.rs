//! Where the programs of `sluice decap` run packet by packet, attached to nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aya::{TestRun as _, TestRunOptions, programs::ProgramInfo};
use lb_common::abi::decap::{DecapCounter, DecapFate};
use lb_userspace::{
    dataplane::{Decap, DecapOptions, DecapProgram},
    decap,
};

use super::{
    fixture::action::{DROP, PASS},
    show,
    tunnel::GUE_PORT,
};
use crate::sweep;

/// The loaded programs; gone when dropped.
pub struct DecapBed {
    // Taken out only to be removed.
    decap: Option<Decap>,
}

impl DecapBed {
    /// Loads the programs for tunnels from `sources`. `None`: skipped, and said why.
    ///
    /// # Panics
    /// Where a source is none.
    pub fn new(sources: &[&str]) -> Result<Option<Self>> {
        if !sweep::ready() {
            return Ok(None);
        }
        let sources: BTreeSet<_> = sources
            .iter()
            .map(|text| decap::source(text).expect("a source"))
            .collect();
        let decap = Decap::open(DecapOptions {
            bpffs: sweep::BPFFS.as_ref(),
            instance: &sweep::unique_name(),
            gue_port: GUE_PORT,
            sources: &sources,
        })?;
        Ok(Some(Self { decap: Some(decap) }))
    }

    /// What the kernel says of a program.
    pub fn info(&mut self, which: DecapProgram) -> Result<ProgramInfo> {
        let decap = self.decap.as_mut().context("taken only in drop")?;
        Ok(decap.program(which)?.info()?)
    }

    /// Runs both programs on a frame. It must be counted as `counter` and nothing else, meet that
    /// counter's fate, and be `expected` then.
    ///
    /// # Panics
    /// Where anything differs, with both frames.
    pub fn check(
        &mut self,
        name: &str,
        frame: &[u8],
        counter: DecapCounter,
        expected: &[u8],
    ) -> Result<()> {
        for which in [DecapProgram::Plain, DecapProgram::Frags] {
            self.check_with(which, name, frame, counter, expected)?;
        }
        Ok(())
    }

    /// The same of a frame that stays as it is.
    ///
    /// # Panics
    /// As [`Self::check`].
    pub fn check_untouched(
        &mut self,
        name: &str,
        frame: &[u8],
        counter: DecapCounter,
    ) -> Result<()> {
        self.check(name, frame, counter, frame)
    }

    /// The same as [`Self::check`] with one of the programs.
    ///
    /// # Panics
    /// As [`Self::check`].
    pub fn check_with(
        &mut self,
        which: DecapProgram,
        name: &str,
        frame: &[u8],
        counter: DecapCounter,
        expected: &[u8],
    ) -> Result<()> {
        let decap = self.decap.as_mut().context("taken only in drop")?;
        let before = decap.counts()?;
        let mut out = vec![0; frame.len() + 256];
        let ran = decap.program(which)?.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        });
        let ran = ran.with_context(|| format!("{name}, {which:?}: BPF_PROG_TEST_RUN"))?;
        out.truncate(ran.data_size_out as usize);
        let counted: BTreeMap<_, _> = decap
            .counts()?
            .into_iter()
            .map(|(counter, count)| (counter, count - before[&counter]))
            .filter(|(_, change)| *change != 0)
            .collect();
        let action = match counter.fate() {
            DecapFate::Decapsulated | DecapFate::Passed => PASS,
            DecapFate::Dropped => DROP,
        };
        assert_eq!(
            (ran.return_value, counted),
            (action, BTreeMap::from([(counter, 1)])),
            "{name}, {which:?}: expected {counter:?} of {frame:02x?}"
        );
        // Nobody gets to see what was dropped.
        assert!(
            action == DROP || out == expected,
            "{name}, {which:?}: other bytes\n{}",
            show::difference(expected, &out)
        );
        Ok(())
    }
}

impl Drop for DecapBed {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.decap.take().map(Decap::remove) {
            eprintln!("the programs of a decap bed were not removed: {error}");
        }
    }
}
