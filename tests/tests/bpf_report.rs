//! What the program and its maps cost stays within bounds, and features that are off cost nothing.

use std::io::Write as _;

use anyhow::Result;
use lb_common::abi::settings::feature;
use lb_userspace::dataplane::costs::Variant;
use testbed::{
    baseline::{self, Baseline},
    costs::{self, CPUS, FeatureSet, MEMORY_LIMIT},
    sweep,
};

fn all() -> u32 {
    feature::ALL.iter().fold(0, |bits, (bit, _)| bits | bit)
}

/// Instructions after the verifier and bytes of machine code.
fn size(features: u32) -> Result<(u32, u32)> {
    let cost = costs::program(&FeatureSet {
        name: format!("features {features:#x}"),
        features,
        variant: Variant::Plain,
    })?;
    Ok((cost.instructions, cost.jited_bytes))
}

#[test]
fn a_feature_that_is_off_leaves_no_code() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let (instructions, jited) = size(all())?;
    for (bit, name) in feature::ALL {
        let (without, jited_without) = size(all() & !bit)?;
        assert!(
            without < instructions,
            "{name} off: {without} instructions, on: {instructions}"
        );
        // 0 where the JIT is off.
        assert!(
            jited_without < jited || jited == 0,
            "{name} off: {jited_without} bytes, on: {jited}"
        );
    }
    Ok(())
}

#[test]
fn every_combination_of_features_loads() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    for combination in 0..1_u32 << feature::ALL.len() {
        let chosen = feature::ALL
            .iter()
            .enumerate()
            .filter(|(place, _)| combination & 1 << place != 0);
        let features = chosen.fold(0, |all, (_, (bit, _))| all | bit);
        size(features)?;
        size(features | feature::DRY_RUN)?;
    }
    Ok(())
}

#[test]
fn a_program_stays_far_from_the_kernels_limits() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    for set in costs::feature_sets() {
        let cost = costs::program(&set)?;
        assert!(cost.instructions > 0 && cost.object_instructions > 0);
        assert!(
            cost.stack > 0 && cost.stack <= 512,
            "{}: {cost:?}",
            set.name
        );
        // A million is the limit; the next kernel's verifier may need more for the same program.
        assert!(
            cost.verified_instructions < 100_000,
            "{}: {cost:?}",
            set.name
        );
    }
    Ok(())
}

#[test]
fn the_maps_fit_their_memory_and_nothing_has_grown_by_a_tenth() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let costs = costs::measure()?;
    assert!(
        costs.map_bytes_on_two_cpus < MEMORY_LIMIT,
        "{} bytes on {CPUS} CPUs: {:#?}",
        costs.map_bytes_on_two_cpus,
        costs.maps
    );
    match Baseline::find()? {
        Some(baseline) => {
            let complaints = baseline.complaints(&costs);
            assert!(
                complaints.is_empty(),
                "{}\nwhere that is meant: `{}`",
                complaints.join("\n"),
                baseline::HOW
            );
        }
        // Nothing to compare with: the figures are there for whoever adds it. Not by println, which
        // shows nothing of a test that passes.
        None => writeln!(
            std::io::stderr(),
            "no baseline for kernel {} on {}: nothing compared; `{}` writes {}:\n{}",
            costs.kernel,
            costs.arch,
            baseline::HOW,
            baseline::path(&costs.kernel).display(),
            serde_json::to_string_pretty(&Baseline::of(&costs))?
        )?,
    }
    Ok(())
}

#[test]
fn a_large_table_is_written_within_a_millisecond() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let nanoseconds = costs::slot_writes()?.as_nanos();
    assert!(nanoseconds < 1_000_000, "{nanoseconds} ns for 65537 slots");
    Ok(())
}
