//! What the program and its maps cost stays within bounds, and features that are off cost nothing.

use std::{
    collections::BTreeSet,
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use lb_common::abi::settings::{Settings, TRACE_ALL, feature};
use lb_userspace::{
    dataplane::costs::{Variant, loads},
    model::Limits,
};
use testbed::{
    baseline::{self, Baseline},
    costs::{self, CPUS, FeatureSet, MEMORY_LIMIT, all},
    sweep,
};

/// Instructions after the verifier and bytes of machine code.
fn size(features: u32) -> Result<(u32, u32)> {
    let cost = costs::program(&FeatureSet {
        name: format!("features {features:#x}"),
        features,
        variant: Variant::Plain,
    })?;
    Ok((cost.instructions, cost.jited_bytes))
}

/// Whether this is the oldest supported kernel.
fn is_oldest() -> Result<bool> {
    Ok(costs::kernel_release()?.starts_with("6.1."))
}

#[test]
fn a_feature_that_is_off_leaves_no_code() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let (instructions, jited) = size(all())?;
    for (bit, name) in feature::ALL {
        let (without, jited_without) = size(all() & !bit)?;
        // Linux 6.1 knows less of values, and leaves what newer kernels remove.
        assert!(
            without < instructions || is_oldest()? && without == instructions,
            "{name} off: {without} instructions, on: {instructions}"
        );
        // 0 where the JIT is off.
        assert!(
            jited_without < jited || jited == 0 || is_oldest()? && jited_without == jited,
            "{name} off: {jited_without} bytes, on: {jited}"
        );
    }
    Ok(())
}

/// The verifier does not ask how large a hash map is.
const SMALL: Limits = Limits {
    services: 1,
    backends: 1,
    slots: 16,
    flows_ipv4: 64,
    flows_ipv6: 64,
};

/// Random sets of features that are loaded beside the chosen ones; there are 16384 in all.
const RANDOM_SETS: usize = 120;

/// Sets of features in which each is met alone, missing, and with each other one, and some at random.
fn chosen_sets(seed: u64) -> BTreeSet<u32> {
    let bits = || feature::ALL.iter().map(|(bit, _)| *bit);
    let alone = bits();
    let missing = bits().map(|bit| all() & !bit);
    let pairs = bits().flat_map(|a| bits().map(move |b| a | b));
    let mut random = seed;
    let some = std::iter::repeat_with(|| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let chosen = (random >> 32) as u32;
        let places = (0_u32..).zip(bits());
        places.fold(0, |set, (place, bit)| {
            set | if chosen >> place & 1 != 0 { bit } else { 0 }
        })
    });
    [0, all()]
        .into_iter()
        .chain(alone)
        .chain(missing)
        .chain(pairs)
        .chain(some.take(RANDOM_SETS))
        .collect()
}

#[test]
fn any_combination_of_features_loads() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    for (number, features) in chosen_sets(seed).into_iter().enumerate() {
        // By turns: what differs between the programs is little beside what the features do.
        let (variant, more, trace_service) = [
            (Variant::Plain, 0, 0),
            (Variant::Traced, 0, 0),
            (Variant::Frags, 0, 0),
            (Variant::TracedFrags, 0, TRACE_ALL),
            (Variant::Plain, feature::DRY_RUN, 0),
        ][number % 5];
        let settings = Settings {
            features: features | more,
            trace_service,
            ..Settings::default()
        };
        loads(variant, SMALL, &settings).with_context(|| {
            format!("{variant:?} with the features {features:#x}, of the sets with the seed {seed}")
        })?;
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
        // A million is the limit; the next kernel's verifier may need more for the same program. The oldest
        // supported one knows less of values and walks more ways, but it will not change any more.
        let most = if is_oldest()? { 500_000 } else { 100_000 };
        assert!(cost.verified_instructions < most, "{}: {cost:?}", set.name);
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
