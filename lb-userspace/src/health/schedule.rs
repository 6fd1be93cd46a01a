//! When to ask: one backend's task, from its first probe until it is aborted.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Event, LastCheck, Outcome, Prober, Target, streak::Streak};
use crate::model::BackendKey;

/// Probes at once, then every interval with jitter, and reports each probe.
///
/// Ends when nobody listens any more.
pub(super) async fn run<P: Prober>(
    key: BackendKey,
    target: Target,
    prober: P,
    events: mpsc::Sender<Event>,
) {
    let mut streak = Streak::new(target.initial, &target.check);
    let mut jitter = Jitter::new(&key);
    loop {
        let start = Instant::now();
        let outcome = prober.probe(&target).await;
        let duration = start.elapsed();
        let before = streak.health();
        let (ok, reason) = match outcome {
            Outcome::Passed(reason) => {
                streak.record(true);
                (true, reason)
            }
            Outcome::Failed(reason) => {
                streak.record(false);
                (false, reason)
            }
            Outcome::Inconclusive(reason) => {
                log::warn!(
                    "health check of {} in {} not counted: {reason}",
                    target.address,
                    key.service
                );
                (false, reason)
            }
        };
        let health = streak.health();
        if health != before {
            log::info!(
                "{} in {} is {health}, was {before}: {reason}",
                target.address,
                key.service
            );
        }
        let event = Event {
            key: key.clone(),
            health,
            last: LastCheck {
                ok,
                at: SystemTime::now(),
                duration,
                reason,
            },
        };
        if events.send(event).await.is_err() {
            return;
        }
        sleep_until(start + jitter.around(target.check.interval)).await;
    }
}

/// Spreads probes that started together; SplitMix64 is plenty for that.
struct Jitter {
    state: u64,
}

impl Jitter {
    fn new(key: &BackendKey) -> Self {
        Self {
            state: RandomState::new().hash_one(key),
        }
    }

    /// `interval`, up to a tenth shorter or longer.
    fn around(&mut self, interval: Duration) -> Duration {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The upper 32 bits as a fraction of one.
        let fraction = (mixed >> 32) as f64 / f64::from(u32::MAX);
        interval.mul_f64(0.9 + 0.2 * fraction)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth_and_uses_all_of_it() {
        let key = BackendKey {
            service: Arc::from("web"),
            address: Ipv4Addr::LOCALHOST.into(),
            port: Some(80),
        };
        let mut jitter = Jitter::new(&key);
        let drawn: Vec<_> = (0..1000)
            .map(|_| jitter.around(Duration::from_secs(10)))
            .collect();
        let (low, high) = (drawn.iter().min(), drawn.iter().max());
        assert!(low >= Some(&Duration::from_secs(9)), "{low:?}");
        assert!(low < Some(&Duration::from_millis(9_200)), "{low:?}");
        assert!(high <= Some(&Duration::from_secs(11)), "{high:?}");
        assert!(high > Some(&Duration::from_millis(10_800)), "{high:?}");
    }
}
