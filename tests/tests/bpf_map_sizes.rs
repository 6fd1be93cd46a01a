//! Maps that only some configurations use have one entry until one does, and are full from then on.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result};
use lb_common::abi::{
    flow::FlowEntry,
    service::{ServiceId, ServiceRef},
    settings::{Settings, feature},
};
use lb_userspace::{
    dataplane::{Dataplane, IpVersion, Options, Table, Walked},
    model::Limits,
    plan::{FlowKey, Image, Phase, Plan, RecordIndex, ReplyTarget, SlotIndex, VipKey, Write},
};
use testbed::sweep;

/// What is put into each map.
const HUNDRED: u32 = 100;

const LIMITS: Limits = Limits {
    services: 16,
    backends: 64,
    slots: 1 << 10,
    flows_ipv4: 1 << 12,
    flows_ipv6: 1 << 12,
};

const OFF: u32 = feature::TRANSITION;

fn settings(features: u32) -> Settings {
    Settings {
        features,
        ..Settings::default()
    }
}

fn open(name: &str, features: u32) -> Result<(Dataplane, Image)> {
    Ok(Dataplane::open(Options {
        bpffs: Path::new("/sys/fs/bpf"),
        instance: name,
        limits: LIMITS,
        settings: settings(features),
    })?)
}

/// A flow of nobody.
fn stranger(version: IpVersion, number: u32) -> Result<FlowKey> {
    let (client, vip): (SocketAddr, SocketAddr) = match version {
        IpVersion::V4 => (
            (Ipv4Addr::from(0x0a00_0000 + number), 1).into(),
            (Ipv4Addr::from(0x0a09_0001), 80).into(),
        ),
        IpVersion::V6 => (
            (Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(number)), 1).into(),
            (Ipv6Addr::from(0xfd09_u128 << 112 | 1), 80).into(),
        ),
    };
    FlowKey::new(client, vip, 6).context("of one family")
}

/// How many of a hundred entries stay.
fn room(dataplane: &Dataplane, table: Table, version: IpVersion) -> Result<usize> {
    for number in 0..HUNDRED {
        // A table that does not forget is full at some time.
        let _full = dataplane.put_flow_back(table, &stranger(version, number)?, FlowEntry(1));
    }
    let walked = Walked { table, version };
    Ok(dataplane.flows(walked, None, HUNDRED)?.entries.len())
}

/// Goes through every way in which a feature is switched on and off; `room`: how much of a map that needs
/// `on` there is.
fn grows(on: u32, room: impl Fn(&mut Dataplane, &mut Image) -> Result<usize>) -> Result<()> {
    let name = sweep::unique_name();
    let name = name.as_str();
    let all = HUNDRED as usize;
    let (mut dataplane, mut image) = open(name, OFF)?;
    let small = room(&mut dataplane, &mut image)?;
    assert!(small < 10, "{small}");
    dataplane.reload(settings(on))?;
    assert_eq!(room(&mut dataplane, &mut image)?, all, "by a reload");
    dataplane.reload(settings(OFF))?;
    assert_eq!(
        room(&mut dataplane, &mut image)?,
        all,
        "kept: it may hold something"
    );
    drop(dataplane);
    let (mut dataplane, mut image) = open(name, on)?;
    assert!(dataplane.adopted());
    assert_eq!(room(&mut dataplane, &mut image)?, all, "adopted");
    drop(dataplane);
    let (dataplane, _) = open(name, OFF)?;
    assert!(dataplane.adopted());
    dataplane.remove()?;

    drop(open(name, OFF)?);
    let (mut dataplane, mut image) = open(name, on)?;
    assert!(dataplane.adopted());
    assert_eq!(room(&mut dataplane, &mut image)?, all, "by another daemon");
    Ok(dataplane.remove()?)
}

#[test]
fn the_table_of_always_tracked_services_is_large_only_where_there_are_some() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    grows(OFF | feature::ALWAYS, |dataplane, _| {
        room(dataplane, Table::Always, IpVersion::V4)
    })
}

#[test]
fn the_flow_tables_of_ipv6_are_large_only_where_it_is_used() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    grows(OFF | feature::IPV6, |dataplane, _| {
        room(dataplane, Table::Transition, IpVersion::V6)
    })?;
    grows(OFF | feature::IPV6 | feature::ALWAYS, |dataplane, _| {
        room(dataplane, Table::Always, IpVersion::V6)
    })
}

/// The service that the VIPs below are of; an image does not read back without one.
fn publish() -> Vec<Write> {
    let record = lb_common::abi::service::ServiceRecord {
        slots_count: 1,
        backends_count: 1,
        ..Default::default()
    };
    vec![
        Write::Record {
            index: RecordIndex(0),
            record,
        },
        Write::Slots {
            first: SlotIndex(0),
            slots: vec![Default::default()],
        },
        Write::Publish {
            service: ServiceId(0),
            record: ServiceRef::record(0),
        },
    ]
}

/// How many of these the maps take that plans write.
fn planned(
    dataplane: &mut Dataplane,
    image: &mut Image,
    insert: impl Fn(VipKey) -> Write,
    held: fn(&Image) -> usize,
) -> Result<usize> {
    dataplane.apply(&Plan::of(vec![Phase(publish())]), image)?;
    for port in 1..=HUNDRED as u16 {
        let key = VipKey::new(Ipv6Addr::LOCALHOST.into(), port, 6);
        if image.vips().contains_key(&key) || image.replies().contains_key(&key) {
            continue;
        }
        let plan = Plan::of(vec![Phase(vec![insert(key)])]);
        if dataplane.apply(&plan, image).is_err() {
            break;
        }
    }
    Ok(held(image))
}

#[test]
fn the_vips_and_replies_of_ipv6_have_room_only_where_it_is_used() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let service = ServiceId(0);
    grows(OFF | feature::IPV6, |dataplane, image| {
        let insert = |key| Write::InsertVip { key, service };
        planned(dataplane, image, insert, |image| image.vips().len())
    })?;
    let vip = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
    grows(OFF | feature::IPV6, |dataplane, image| {
        let insert = |key| Write::InsertReply {
            key,
            reply: ReplyTarget::new(vip, service, 0),
        };
        planned(dataplane, image, insert, |image| image.replies().len())
    })
}
