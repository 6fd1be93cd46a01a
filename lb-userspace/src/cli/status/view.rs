//! The status for people.

use std::time::{Duration, SystemTime};

use crate::{
    admin::status::{
        Admin, Backend, Check, Config, DropCount, Flows, Interface, LastReload, Service, Slots,
        Status, Verdicts, age,
    },
    cli::table::table,
};

/// Characters of a health check's answer.
const LONGEST_REASON: usize = 60;

/// Everything about a daemon, at the time `now`.
pub(super) fn render(status: &Status, now: SystemTime) -> String {
    let mut parts = vec![daemon(status, now)];
    if !status.interfaces.is_empty() {
        parts.push(interfaces(&status.interfaces));
    }
    parts.extend(status.services.iter().map(|s| service(s, now)));
    parts.push(counters(status));
    let mut text = parts.join("\n\n");
    text.push('\n');
    text
}

fn daemon(status: &Status, now: SystemTime) -> String {
    let Status {
        version,
        abi,
        instance,
        pid,
        uptime_s,
        config,
        warnings,
        alarms,
        features,
        ..
    } = status;
    let up = span(Duration::from_secs(*uptime_s));
    let mut lines = vec![format!(
        "sluice {version}, ABI {abi}, instance {instance}, pid {pid}, up {up}"
    )];
    if !features.is_empty() {
        lines.push(format!("program with {}", features.join(", ")));
    }
    lines.extend(configuration(config, now));
    lines.extend(warnings.iter().map(|w| format!("warning: {}", clean(w))));
    lines.extend(alarms.iter().map(|a| format!("ALARM: {}", clean(a))));
    lines.join("\n")
}

fn configuration(config: &Config, now: SystemTime) -> Vec<String> {
    let Config {
        path,
        generation,
        loaded_at,
        last_reload,
    } = config;
    let path = path.as_deref().unwrap_or("none");
    let mut line = format!("configuration {path}, generation {generation}");
    if let Some(at) = loaded_at {
        line.push_str(&format!(", loaded {}", ago(at, now)));
    }
    let mut lines = vec![line];
    if let Some(LastReload {
        ok: false,
        at,
        error,
    }) = last_reload
    {
        lines.push(format!("the last reload failed {}:", ago(at, now)));
        let error = error.as_deref().unwrap_or("no reason is known");
        lines.extend(error.lines().map(|l| format!("  {}", clean(l))));
    }
    lines
}

fn interfaces(interfaces: &[Interface]) -> String {
    let mut table = table(&["INTERFACE", ">INDEX", "XDP", "LINK"]);
    for interface in interfaces {
        let Interface {
            name,
            ifindex,
            xdp,
            up,
            frags,
        } = interface;
        let xdp = if *frags {
            format!("{xdp}, frags")
        } else {
            xdp.clone()
        };
        let link = if *up { "up" } else { "DOWN" };
        table.add_row([name, &ifindex.to_string(), &xdp, link]);
    }
    table.trim_fmt()
}

fn service(service: &Service, now: SystemTime) -> String {
    let Service {
        name,
        listen,
        forward,
        scheduler,
        table_size,
        slots,
        packets,
        bytes,
        new_flows,
        backends,
        tracking,
        flows,
    } = service;
    let mut lines = vec![
        format!("service {name}: {}", listen.join(" ")),
        format!(
            "  {forward}, {scheduler}, {}",
            slot_count(*table_size, slots)
        ),
        format!(
            "  packets {packets}, bytes {}, new flows {new_flows}",
            humanised(*bytes)
        ),
    ];
    lines.extend(flows.as_ref().map(|flows| remembered(tracking, flows)));
    if !service.is_usable() {
        lines.push("  NO USABLE BACKEND".to_owned());
    }
    if !backends.is_empty() {
        let mut table = table(&[
            "  BACKEND",
            "ADDRESS",
            ">WEIGHT",
            "ADMIN",
            "HEALTH",
            "NEIGHBOR",
            ">SLOTS",
            ">SHARE",
            ">PACKETS",
            ">BYTES",
            ">NEW FLOWS",
            ">REMEMBERED",
            "LAST CHECK",
        ]);
        for backend in backends {
            table.add_row(cells(backend, *table_size, now));
        }
        lines.push(table.trim_fmt());
    }
    lines.join("\n")
}

fn slot_count(table_size: u32, slots: &Slots) -> String {
    let Slots {
        stable: _,
        transition,
        tracked,
    } = slots;
    let mut text = format!("{table_size} slots");
    if *transition > 0 {
        text.push_str(&format!(", {transition} in transition"));
    }
    if *tracked > 0 {
        text.push_str(&format!(", {tracked} tracked"));
    }
    text
}

fn remembered(tracking: &str, flows: &Flows) -> String {
    let Flows {
        entries,
        lookups,
        misses,
        inserts,
        refused,
    } = flows;
    let entries = entries.map_or_else(String::new, |n| format!("{n} flows remembered, "));
    format!(
        "  tracking {tracking}: {entries}{lookups} look-ups, {misses} misses, {inserts} inserts, \
         {refused} refused"
    )
}

fn cells(backend: &Backend, table_size: u32, now: SystemTime) -> [String; 13] {
    let Backend {
        name,
        address,
        weight,
        effective_weight,
        admin,
        health,
        neighbor,
        slots,
        packets,
        bytes,
        new_flows,
        last_check,
        configured_weight,
        flows,
        drained,
    } = backend;
    let mut weight = if weight == effective_weight {
        weight.to_string()
    } else {
        format!("{effective_weight} of {weight}")
    };
    if let Some(configured) = configured_weight {
        weight.push_str(&format!(" (file: {configured})"));
    }
    let admin = match (admin, drained) {
        (Admin::Draining, Some(true)) => "drained",
        (admin, _) => admin.name(),
    };
    [
        format!("  {name}"),
        address.clone(),
        weight,
        admin.to_owned(),
        health.name().to_owned(),
        neighbor.name().to_owned(),
        slots.to_string(),
        share(*slots, table_size),
        packets.to_string(),
        humanised(*bytes),
        new_flows.to_string(),
        flows.map_or("-".to_owned(), |n| n.to_string()),
        last_check
            .as_ref()
            .map_or("-".to_owned(), |c| check(c, now)),
    ]
}

fn check(check: &Check, now: SystemTime) -> String {
    let Check {
        ok,
        at,
        duration_ms,
        reason,
    } = check;
    let outcome = if *ok { "ok" } else { "failed" };
    let ago = ago(at, now);
    let reason = cut(&clean(reason), LONGEST_REASON);
    format!("{outcome} {ago}, {duration_ms:.1} ms: {reason}")
}

fn counters(status: &Status) -> String {
    let Verdicts {
        tx,
        redirect,
        pass,
        drop,
        punt,
    } = status.verdicts;
    let mut text =
        format!("verdicts: tx {tx}, redirect {redirect}, pass {pass}, drop {drop}, punt {punt}");
    let drops: Vec<_> = status
        .drops
        .0
        .iter()
        .filter(|d| d.packets > 0)
        .map(|DropCount { reason, packets }| format!("{reason} {packets}"))
        .collect();
    if !drops.is_empty() {
        text.push_str(&format!("\ndrops: {}", drops.join(", ")));
    }
    text
}

fn share(slots: u32, table_size: u32) -> String {
    if table_size == 0 {
        return "-".to_owned();
    }
    format!("{:.1}%", f64::from(slots) * 100.0 / f64::from(table_size))
}

/// Bytes to three digits or so, in powers of 1024.
fn humanised(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut whole = bytes;
    // What would round to 1024.0 is already one of the next.
    while whole >= 1024 * 1024 - 51 && unit + 1 < UNITS.len() {
        whole >>= 10;
        unit += 1;
    }
    let tenths = (u128::from(whole) * 10 + 512) / 1024;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

fn ago(at: &str, now: SystemTime) -> String {
    age(at, now).map_or_else(|| clean(at), |age| format!("{} ago", span(age)))
}

/// The two largest units are enough.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Text that came from elsewhere, in one line and without control of the terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixtures;

    fn now() -> SystemTime {
        humantime::parse_rfc3339(fixtures::NOW).unwrap()
    }

    #[test]
    fn a_status_reads_well() {
        insta::assert_snapshot!(render(&fixtures::status(), now()), @r#"
        sluice 0.1.0, ABI 1, instance default, pid 4711, up 1d 2h
        program with dnat
        configuration /etc/sluice/sluice.toml, generation 3, loaded 10s ago
        the last reload failed 9s ago:
          sluice.toml:12: service[0].backend[1].weight: 257
        warning: daemon.seed: missing
        ALARM: web/web-2: its neighbour does not answer

        INTERFACE  INDEX  XDP            LINK
        eth0           2  native, frags  up
        eth1          13  generic        DOWN

        service web: tcp://203.0.113.80:80 tcp://203.0.113.80:443
          dnat, maglev, 16381 slots
          packets 13050, bytes 8.0 MiB, new flows 212
          tracking transition: 14 flows remembered, 4000 look-ups, 40 misses, 35 inserts, 2 refused
          BACKEND  ADDRESS         WEIGHT  ADMIN     HEALTH  NEIGHBOR  SLOTS   SHARE  PACKETS    BYTES  NEW FLOWS  REMEMBERED  LAST CHECK
          web-1    10.0.1.11:8080       1  enabled   up      resolved  16381  100.0%    13050  8.0 MiB        212           -  ok 1s ago, 1.2 ms: connected
          web-2    10.0.1.12:8080  0 of 1  enabled   down    failed        0    0.0%        0      0 B          0           -  failed 1s ago, 500.0 ms: no answer within 500ms
          web-3    10.0.1.13:8080       0  draining  none    resolved      0    0.0%        0      0 B          0          12  -

        verdicts: tx 13050, redirect 0, pass 99, drop 7, punt 0
        drops: malformed 7
        "#);
    }

    #[test]
    fn a_daemon_with_nothing_to_do_is_short() {
        let mut status = fixtures::status();
        status.config.path = None;
        status.config.loaded_at = None;
        status.config.last_reload = None;
        status.interfaces.clear();
        status.services.clear();
        status.drops.0.clear();
        status.warnings.clear();
        status.alarms.clear();
        status.features.clear();
        insta::assert_snapshot!(render(&status, now()), @r#"
        sluice 0.1.0, ABI 1, instance default, pid 4711, up 1d 2h
        configuration none, generation 3

        verdicts: tx 13050, redirect 0, pass 99, drop 7, punt 0
        "#);
    }

    #[test]
    fn a_backend_that_may_be_switched_off_is_drained() {
        let mut status = fixtures::status();
        let web_3 = &mut status.services[0].backends[2];
        web_3.flows = Some(0);
        web_3.drained = Some(true);
        web_3.configured_weight = Some(5);
        let text = render(&status, now());
        let line = text.lines().find(|line| line.contains("web-3")).unwrap();
        assert!(line.contains(" 0 (file: 5)  drained "), "{line}");
        // One that is down has no flows either, and is not what was asked for.
        let web_2 = &mut status.services[0].backends[1];
        web_2.drained = Some(true);
        let text = render(&status, now());
        let line = text.lines().find(|line| line.starts_with("  web-2"));
        let line = line.unwrap();
        assert!(line.contains("enabled"), "{line}");
    }

    #[test]
    fn a_service_without_backends_says_so() {
        let mut status = fixtures::status();
        status.services[0].backends.clear();
        assert!(render(&status, now()).contains("NO USABLE BACKEND"));
    }

    #[test]
    fn bytes_are_easy_to_read() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1024 * 1024, "1.0 MiB"),
            (5 * 1024 * 1024 * 1024, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(humanised(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 1s"),
            (3_600, "1h 0m"),
            (90_061, "1d 1h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn text_of_others_does_not_command_the_terminal() {
        assert_eq!(clean("a\x1b[31m\nb"), "a [31m b");
        assert_eq!(cut("ünlimited", 2), "ün...");
        assert_eq!(cut("ün", 2), "ün");
    }
}
