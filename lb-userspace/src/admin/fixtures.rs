//! A status as a daemon in the middle of its life would give it, for the tests of both ends.

use super::status::{
    Admin, Backend, Check, Config, DropCount, Drops, Flows, Health, Interface, LastReload,
    Neighbor, Plans, SCHEMA, Service, Slots, Status, Verdicts,
};

/// When the fixture's daemon answered.
pub(crate) const NOW: &str = "2026-01-02T03:04:15.000Z";

/// One service of three backends, of which one is down and one is draining.
pub(crate) fn status() -> Status {
    Status {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        abi: 1,
        instance: "default".to_owned(),
        pid: 4711,
        uptime_s: 93_784,
        config: Config {
            path: Some("/etc/sluice/sluice.toml".to_owned()),
            generation: 3,
            loaded_at: Some("2026-01-02T03:04:05.000Z".to_owned()),
            last_reload: Some(LastReload {
                ok: false,
                at: "2026-01-02T03:04:06.000Z".to_owned(),
                error: Some("sluice.toml:12: service[0].backend[1].weight: 257".to_owned()),
            }),
        },
        interfaces: vec![
            Interface {
                name: "eth0".to_owned(),
                ifindex: 2,
                xdp: "native".to_owned(),
                up: true,
                frags: true,
            },
            Interface {
                name: "eth1".to_owned(),
                ifindex: 13,
                xdp: "generic".to_owned(),
                up: false,
                frags: false,
            },
        ],
        services: vec![Service {
            name: "web".to_owned(),
            listen: vec![
                "tcp://203.0.113.80:80".to_owned(),
                "tcp://203.0.113.80:443".to_owned(),
            ],
            forward: "dnat".to_owned(),
            scheduler: "maglev".to_owned(),
            table_size: 16_381,
            slots: Slots {
                stable: 16_381,
                transition: 0,
                tracked: 0,
            },
            packets: 13_050,
            bytes: 8_401_000,
            new_flows: 212,
            backends: vec![
                backend("web-1", 11, 16_381),
                Backend {
                    effective_weight: 0,
                    health: Health::Down,
                    neighbor: Neighbor::Failed,
                    last_check: Some(Check {
                        ok: false,
                        at: "2026-01-02T03:04:14.000Z".to_owned(),
                        duration_ms: 500.0,
                        reason: "no answer within 500ms".to_owned(),
                    }),
                    ..backend("web-2", 12, 0)
                },
                Backend {
                    weight: 0,
                    effective_weight: 0,
                    admin: Admin::Draining,
                    health: Health::None,
                    last_check: None,
                    flows: Some(12),
                    drained: Some(false),
                    ..backend("web-3", 13, 0)
                },
            ],
            tracking: "transition".to_owned(),
            flows: Some(Flows {
                entries: Some(14),
                lookups: 4_000,
                misses: 40,
                inserts: 35,
                refused: 2,
            }),
        }],
        verdicts: Verdicts {
            tx: 13_050,
            redirect: 0,
            pass: 99,
            drop: 7,
            punt: 0,
        },
        drops: Drops(vec![
            DropCount {
                reason: "no_backend".to_owned(),
                packets: 0,
            },
            DropCount {
                reason: "malformed".to_owned(),
                packets: 7,
            },
        ]),
        warnings: vec!["daemon.seed: missing".to_owned()],
        alarms: vec!["web/web-2: its neighbour does not answer".to_owned()],
        features: vec!["dnat".to_owned()],
        plans: Plans {
            applied: 5,
            writes: 31,
            slots_written: 21_842,
            slots_moved: 5_461,
            barriers: 4,
        },
    }
}

fn backend(name: &str, last_octet: u8, slots: u32) -> Backend {
    let busy = u64::from(slots > 0);
    Backend {
        name: name.to_owned(),
        address: format!("10.0.1.{last_octet}:8080"),
        weight: 1,
        effective_weight: 1,
        admin: Admin::Enabled,
        health: Health::Up,
        neighbor: Neighbor::Resolved,
        slots,
        packets: busy * 13_050,
        bytes: busy * 8_401_000,
        new_flows: busy * 212,
        last_check: Some(Check {
            ok: true,
            at: "2026-01-02T03:04:14.000Z".to_owned(),
            duration_ms: 1.23,
            reason: "connected".to_owned(),
        }),
        configured_weight: None,
        flows: None,
        drained: None,
    }
}
