//! The program against the model of it in `tests/src/model`: random configurations and packets, judged by
//! both.
//!
//! `SLUICE_MODEL_SEED` repeats a run, `SLUICE_MODEL_PACKETS` and `SLUICE_MODEL_EACH` say how many packets
//! there are, in all and for each configuration, `SLUICE_MODEL_PATIENCE` for how many seconds a difference
//! is made smaller.

use std::{
    env,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use testbed::differential::{Amount, Tally, compare, replay, site::Site};

/// What once differed must agree ever after.
#[test]
fn what_once_differed_agrees() -> Result<()> {
    let Some(site) = Site::new()? else {
        return Ok(());
    };
    let different = replay(&site)?;
    for (name, difference) in &different {
        eprintln!("fixture {name}: {}\n", difference.report);
    }
    assert!(different.is_empty(), "{} fixtures differ", different.len());
    Ok(())
}

#[test]
fn the_program_does_as_the_model_says() -> Result<()> {
    let Some(site) = Site::new()? else {
        return Ok(());
    };
    let fresh = || {
        SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(1, |since| since.as_nanos() as u64)
    };
    let amount = Amount {
        seed: number("SLUICE_MODEL_SEED")?.unwrap_or_else(fresh),
        packets: number("SLUICE_MODEL_PACKETS")?.unwrap_or(1_000_000),
        each: number("SLUICE_MODEL_EACH")?.unwrap_or(3000),
        patience: Duration::from_secs(number("SLUICE_MODEL_PATIENCE")?.unwrap_or(90)),
    };
    eprintln!("SLUICE_MODEL_SEED={}", amount.seed);
    let mut tally = Tally::default();
    let failure = compare(&site, amount, &mut tally)?;
    eprintln!("{tally:#?}, {:.0} packets a second", tally.rate());
    if let Some(failure) = failure {
        let name = format!("found-{}-{}", amount.seed, failure.number);
        let about = format!("found with seed {}", amount.seed);
        let path = failure.fixture(&about).write(&name)?;
        panic!("{failure}\nwritten as {}", path.display());
    }
    if amount.packets >= 300_000 {
        assert_eq!(tally.coverage.missing(), [""; 0], "nothing met these");
    }
    assert!(
        tally.refused * 5 < tally.setups,
        "most configurations are meant to be valid: {tally:?}"
    );
    Ok(())
}

fn number(variable: &str) -> Result<Option<u64>> {
    match env::var(variable) {
        Ok(text) => Ok(Some(text.parse().with_context(|| variable.to_owned())?)),
        Err(_) => Ok(None),
    }
}
