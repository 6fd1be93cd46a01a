//! The keys of `[[service]]` that say how its connections survive a change of its backends.

use std::{ops::RangeInclusive, time::Duration};

use super::words::{Words, duration};
use crate::{
    config::{
        raw::DurationText,
        report::{Placed, Report, Spot},
    },
    model::{Connections, OnDeath, Tracking},
};

/// A connection that is silent for longer may move: NATs are asked to wait for two hours (RFC 5382
/// section 5), but then slots would stay in motion as long.
const DEFAULT_WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long NATs keep a UDP flow at least (RFC 4787 section 4.3).
const DEFAULT_WINDOW_UDP: Duration = Duration::from_secs(2 * 60);

/// Entries are stamped in ticks of about a second.
const SHORTEST: Duration = Duration::from_secs(1);
/// Stamps wrap after 208 days, and half of that is how far an age can be told.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// A backend that is cold for longer is broken.
const LONGEST_RAMP: Duration = Duration::from_secs(3600);

const TRACKING: Words<Tracking> = Words {
    known: &[
        ("transition", Tracking::Transition),
        ("always", Tracking::Always),
        ("never", Tracking::Never),
    ],
    later: &[],
};

const ON_DEATH: Words<OnDeath> = Words {
    known: &[("reset", OnDeath::Reset), ("keep", OnDeath::Keep)],
    later: &[],
};

/// The keys as the file gives them.
pub(super) struct Keys {
    pub(super) tracking: Option<Placed<String>>,
    pub(super) transition_window: Option<Placed<DurationText>>,
    pub(super) flow_idle: Option<Placed<DurationText>>,
    pub(super) on_death: Option<Placed<String>>,
    pub(super) drain_timeout: Option<Placed<DurationText>>,
    pub(super) slow_start: Option<Placed<DurationText>>,
}

/// What of the service decides about defaults and effects.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Every listener is UDP.
    pub(super) udp_only: bool,
    /// It has a health check.
    pub(super) checked: bool,
}

/// What the keys mean together.
pub(super) fn connections(keys: Keys, kind: Kind, report: &mut Report<'_>) -> Connections {
    let Keys {
        tracking,
        transition_window,
        flow_idle,
        on_death,
        drain_timeout,
        slow_start,
    } = keys;
    let tracking = tracking
        .and_then(|word| TRACKING.read(&word, report))
        .unwrap_or_default();
    let death = on_death
        .as_ref()
        .and_then(|word| ON_DEATH.read(word, report))
        .unwrap_or_default();
    let default = if kind.udp_only {
        DEFAULT_WINDOW_UDP
    } else {
        DEFAULT_WINDOW
    };
    let window = transition_window
        .as_ref()
        .map_or(Some(default), |text| self::window(text, report));
    let idle = match &flow_idle {
        Some(text) => duration(text, SHORTEST..=LONGEST, report),
        None => window.map(|window| window.max(default)),
    };
    if let (Some(window), Some(idle), Some(text)) = (window, idle, &flow_idle)
        && idle < window
    {
        let message = format!(
            "{} is below the transition window of {}: a flow that speaks once in the window would \
             be forgotten, raise it or shorten transition_window",
            humantime::format_duration(idle),
            humantime::format_duration(window)
        );
        report.error(text.spot.clone(), message);
    }
    let mut or_zero = |text: &Option<Placed<DurationText>>, range: RangeInclusive<Duration>| {
        let text = text.as_ref()?;
        duration(text, range, report)
    };
    let drain = or_zero(&drain_timeout, Duration::ZERO..=LONGEST);
    let ramp = or_zero(&slow_start, Duration::ZERO..=LONGEST_RAMP);

    let spot = |text: Option<Placed<DurationText>>| text.map(|text| text.spot);
    let without_effect = Unused {
        window: spot(transition_window),
        idle: spot(flow_idle),
        drain: spot(drain_timeout).filter(|_| drain.is_some_and(|d| !d.is_zero())),
        ramp: spot(slow_start).filter(|_| ramp.is_some_and(|d| !d.is_zero())),
        death: on_death
            .map(|word| word.spot)
            .filter(|_| death == OnDeath::Keep),
    };
    warn(without_effect, tracking, kind, report);
    Connections {
        tracking,
        transition_window: window.unwrap_or(default),
        flow_idle: idle.unwrap_or(default),
        on_death: death,
        drain_timeout: drain.unwrap_or_default(),
        slow_start: ramp.unwrap_or_default(),
    }
}

fn window(text: &Placed<DurationText>, report: &mut Report<'_>) -> Option<Duration> {
    let DurationText(value) = &text.value;
    if humantime::parse_duration(value).is_ok_and(|window| window.is_zero()) {
        let message = "a window of 0 would keep no connection: use 1s to 30days, \
                       or write tracking = \"never\"";
        report.error(text.spot.clone(), message);
        return None;
    }
    duration(text, SHORTEST..=LONGEST, report)
}

/// Keys that ask for something, and where.
struct Unused {
    window: Option<Spot>,
    idle: Option<Spot>,
    drain: Option<Spot>,
    ramp: Option<Spot>,
    death: Option<Spot>,
}

/// Of the keys that stand in the file, those that change nothing.
fn warn(asked: Unused, tracking: Tracking, kind: Kind, report: &mut Report<'_>) {
    let Unused {
        window,
        idle,
        drain,
        ramp,
        death,
    } = asked;
    if tracking == Tracking::Never {
        let spots = [window, idle, drain, ramp, death];
        for spot in spots.into_iter().flatten() {
            let message = "has no effect with tracking = \"never\": every slot that moves takes \
                           its connections along";
            report.warn(&spot, "", message);
        }
    } else if let (Some(spot), false) = (death, kind.checked) {
        report.warn(&spot, "", "has no effect without a [[service.health]]");
    }
}
