//! How connections survive changes: the keys' defaults, what is refused, what has no effect.

use std::time::Duration;

use super::{WEB, accepted, refusal, warnings};
use crate::model::{Connections, OnDeath, Tracking};

/// [`WEB`] with these lines in its service, from line 3 on, and a seed.
fn web(lines: &str) -> String {
    let text = WEB.replacen("name = \"web\"", &format!("name = \"web\"\n{lines}"), 1);
    format!("{text}[daemon]\nseed = 's'\n")
}

#[track_caller]
fn connections(text: &str) -> Connections {
    let [service] = accepted(text).model.services.try_into().unwrap();
    service.connections
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

#[test]
fn every_key_has_its_meaning() {
    assert_eq!(connections(WEB), Connections::default());
    let text = web(
        "tracking = 'always'\ntransition_window = '10s'\nflow_idle = '1h'\non_death = 'keep'\n\
         drain_timeout = '2m'\nslow_start = '30s'",
    );
    assert_eq!(
        connections(&text),
        Connections {
            tracking: Tracking::Always,
            transition_window: Duration::from_secs(10),
            flow_idle: minutes(60),
            on_death: OnDeath::Keep,
            drain_timeout: minutes(2),
            slow_start: Duration::from_secs(30),
        }
    );
    assert_eq!(warnings(&text), [""; 0]);
    assert_eq!(
        connections(&web("tracking = 'never'")).tracking,
        Tracking::Never
    );
}

#[test]
fn udp_alone_is_forgotten_sooner() {
    let times = |listen: &str| {
        let text = web("").replace("tcp://203.0.113.80:80\"", listen);
        let text = text.replace(":8080", "");
        let found = connections(&text);
        (found.transition_window, found.flow_idle)
    };
    assert_eq!(times("udp://203.0.113.80:53\""), (minutes(2), minutes(2)));
    assert_eq!(
        times("udp://203.0.113.80:53\", \"tcp://203.0.113.80:53\""),
        (minutes(15), minutes(15))
    );
}

#[test]
fn an_entry_lasts_as_long_as_the_window_unless_it_is_said_otherwise() {
    let idle = |lines| connections(&web(lines)).flow_idle;
    assert_eq!(idle("transition_window = '1h'"), minutes(60));
    assert_eq!(idle("transition_window = '1m'"), minutes(15));
    assert_eq!(
        idle("transition_window = '1m'\nflow_idle = '1m'"),
        minutes(1)
    );
}

#[test]
fn what_would_lose_connections_or_never_end_is_refused() {
    for (line, message) in [
        (
            "transition_window = '0s'",
            "3:21: service[0].transition_window: a window of 0 would keep no connection: \
             use 1s to 30days, or write tracking = \"never\"",
        ),
        (
            "transition_window = '999ms'",
            "3:21: service[0].transition_window: `999ms` is out of range, use 1s to 30days",
        ),
        (
            "transition_window = '31 days'",
            "3:21: service[0].transition_window: `31 days` is out of range, use 1s to 30days",
        ),
        (
            "flow_idle = '14m 59s'",
            "3:13: service[0].flow_idle: 14m 59s is below the transition window of 15m: a flow that \
             speaks once in the window would be forgotten, raise it or shorten transition_window",
        ),
        (
            "flow_idle = '1y'",
            "3:13: service[0].flow_idle: `1y` is out of range, use 1s to 30days",
        ),
        (
            "flow_idle = 900",
            "3:13: service[0].flow_idle: expected a duration in quotes such as \"1s\", \
             found an integer",
        ),
        (
            "drain_timeout = 'soon'",
            "3:17: service[0].drain_timeout: `soon` is not a duration, \
             write a number and its unit such as 500ms, 1s or 2m",
        ),
        (
            "drain_timeout = '31d'",
            "3:17: service[0].drain_timeout: `31d` is out of range, use 0s to 30days",
        ),
        (
            "slow_start = '61m'",
            "3:14: service[0].slow_start: `61m` is out of range, use 0s to 1h",
        ),
        (
            "tracking = 'transitoin'",
            "3:12: service[0].tracking: `transitoin` is unknown, did you mean `transition`?",
        ),
        (
            "tracking = 'on'",
            "3:12: service[0].tracking: `on` is unknown, known here: `transition`, `always`, `never`",
        ),
        (
            "on_death = 'kepe'",
            "3:12: service[0].on_death: `kepe` is unknown, did you mean `keep`?",
        ),
        (
            "on_deaht = 'keep'",
            "3:1: service[0].on_deaht: unknown key, did you mean `on_death`?",
        ),
    ] {
        assert_eq!(refusal(&web(line)), format!("s.toml:{message}"));
    }
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let why = "has no effect with tracking = \"never\": every slot that moves takes its connections \
               along";
    let text = web(
        "tracking = 'never'\ntransition_window = '1m'\nflow_idle = '1m'\ndrain_timeout = '1m'\n\
         slow_start = '1m'\non_death = 'keep'",
    );
    assert_eq!(
        warnings(&text),
        [
            format!("s.toml:4:21: service[0].transition_window: {why}"),
            format!("s.toml:5:13: service[0].flow_idle: {why}"),
            format!("s.toml:6:17: service[0].drain_timeout: {why}"),
            format!("s.toml:7:14: service[0].slow_start: {why}"),
            format!("s.toml:8:12: service[0].on_death: {why}"),
        ]
    );
    // What is off by itself asks for nothing.
    let text = web("tracking = 'never'\ndrain_timeout = '0s'\nslow_start = '0s'");
    assert_eq!(warnings(&text), [""; 0]);
    let text = web("on_death = 'keep'").replace("[[service.health]]\ntype = \"tcp\"\n", "");
    assert_eq!(
        warnings(&text),
        ["s.toml:3:12: service[0].on_death: has no effect without a [[service.health]]"]
    );
}
