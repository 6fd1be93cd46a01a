//! The status as JSON.

use std::time::{Duration, SystemTime};

use crate::admin::{
    fixtures,
    status::{Admin, Backend, Drops, Health, Neighbor, Status, age, rfc3339},
};

/// As it stands in the interface's description, but for the times.
const DOCUMENTED: &str = concat!(
    r#"{"schema":1,"version":"0.1.0","abi":1,"instance":"default","pid":1,"uptime_s":12,"#,
    r#""config":{"path":"/etc/sluice/sluice.toml","generation":3,"loaded_at":"2026-01-02T03:04:05.000Z","#,
    r#""last_reload":{"ok":false,"at":"2026-01-02T03:04:06.000Z","error":"file:12: service[0].backend[1].weight: 257"}},"#,
    r#""interfaces":[{"name":"eth0","ifindex":2,"xdp":"native","up":true}],"#,
    r#""services":[{"name":"web","listen":["tcp://203.0.113.80:80"],"forward":"dnat","scheduler":"maglev","table_size":16381,"#,
    r#""slots":{"stable":16381,"transition":0,"tracked":0},"packets":0,"bytes":0,"new_flows":0,"#,
    r#""backends":[{"name":"web-1","address":"10.0.1.11:8080","weight":1,"effective_weight":1,"admin":"enabled","health":"up","neighbor":"resolved","#,
    r#""slots":5461,"packets":0,"bytes":0,"new_flows":0,"last_check":{"ok":true,"at":"2026-01-02T03:04:05.000Z","duration_ms":1.2,"reason":"200"}}]}],"#,
    r#""verdicts":{"tx":0,"redirect":0,"pass":0,"drop":0,"punt":0},"drops":{"no_backend":0,"malformed":0}"#,
);

#[test]
fn the_documented_status_reads_and_writes_as_it_stands() {
    let text = format!("{DOCUMENTED}}}");
    let status: Status = serde_json::from_str(&text).unwrap();
    let added = concat!(
        r#","warnings":[],"alarms":[],"features":[],"#,
        r#""plans":{"applied":0,"writes":0,"slots_written":0,"slots_moved":0,"barriers":0}}"#
    );
    assert_eq!(
        serde_json::to_string(&status).unwrap(),
        format!("{DOCUMENTED}{added}")
    );
}

#[test]
fn what_is_not_known_is_null() {
    let mut status = fixtures::status();
    status.config.path = None;
    status.config.loaded_at = None;
    status.config.last_reload = None;
    status.services[0].backends[0].last_check = None;
    let json = serde_json::to_value(&status).unwrap();
    for path in [
        "/config/path",
        "/config/loaded_at",
        "/config/last_reload",
        "/services/0/backends/0/last_check",
    ] {
        assert_eq!(json.pointer(path), Some(&serde_json::Value::Null), "{path}");
    }
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
}

#[test]
fn fields_of_a_later_daemon_are_no_trouble() {
    let text = format!(r#"{DOCUMENTED},"later":{{"a":1}}}}"#);
    assert!(serde_json::from_str::<Status>(&text).is_ok());
}

#[test]
fn drops_keep_their_order() {
    let text = r#"{"no_backend":1,"malformed":2,"a":3}"#;
    let drops: Drops = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&drops).unwrap(), text);
}

#[test]
fn names_are_those_of_the_json() {
    for admin in [Admin::Enabled, Admin::Draining, Admin::Disabled] {
        assert_eq!(serde_json::to_value(admin).unwrap(), admin.name());
    }
    for health in [Health::Unknown, Health::Up, Health::Down, Health::None] {
        assert_eq!(serde_json::to_value(health).unwrap(), health.name());
    }
    for neighbor in [
        Neighbor::Resolved,
        Neighbor::Failed,
        Neighbor::Unresolved,
        Neighbor::Unreachable,
    ] {
        assert_eq!(serde_json::to_value(neighbor).unwrap(), neighbor.name());
    }
}

#[test]
fn a_backend_is_usable_only_if_everything_about_it_is() {
    let usable = fixtures::status().services[0].backends[0].clone();
    assert!(usable.is_usable());
    type Spoil = fn(&mut Backend);
    let spoils: [Spoil; 6] = [
        |b| b.admin = Admin::Draining,
        |b| b.admin = Admin::Disabled,
        |b| b.health = Health::Down,
        |b| b.health = Health::Unknown,
        |b| b.neighbor = Neighbor::Unresolved,
        |b| b.effective_weight = 0,
    ];
    for spoil in spoils {
        let mut backend = usable.clone();
        spoil(&mut backend);
        assert!(!backend.is_usable(), "{backend:?}");
    }
}

#[test]
fn a_time_is_as_old_as_it_says() {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let now = then + Duration::from_secs(3);
    assert_eq!(rfc3339(then), "2023-11-14T22:13:20.000Z");
    assert_eq!(age(&rfc3339(then), now), Some(Duration::from_secs(3)));
    assert_eq!(age(&rfc3339(now), then), Some(Duration::ZERO));
    assert_eq!(age("yesterday", now), None);
}
