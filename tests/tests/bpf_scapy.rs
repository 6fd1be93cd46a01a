//! Packets that scapy builds go through the program, and scapy reads what it made of them: every length and
//! checksum as scapy computes it, and nothing changed but what the mode changes.
//!
//! Neither the program nor the other fixtures share a line of code with it.

use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow};
use lb_common::wire::tcp::Flags;
use serde_json::{Value, json};
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, CLIENT_MAC, GUE_PORT, Setup, Side, Way, backend_mac},
    scapy::Scapy,
    topology::CLIENT,
};

const TAGGED: Setup<'_> = Setup {
    vlan: true,
    ..Setup::PLAIN
};

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// `XDP_REDIRECT` of linux/bpf.h.
const REDIRECT: u32 = 4;

/// Frames with their names.
type Packets = Vec<(String, Vec<u8>)>;

/// Scapy's packets between these ends: an address and two ports each, for segments and for datagrams.
fn packets<const N: usize>(
    scapy: &Scapy,
    ends: [[(IpAddr, [u16; 2]); 2]; N],
) -> Result<[Packets; N]> {
    let ends = ends.map(|[(source, from), (destination, to)]| {
        json!({
            // Where a frame is addressed to makes no difference.
            "from": mac(CLIENT_MAC),
            "to": mac([2, 0, 0, 0, 1, 1]),
            "source": source,
            "destination": destination,
            "tcp": [from[0], to[0]],
            "udp": [from[1], to[1]],
        })
    });
    let text = scapy.run("packets.py", &ends.as_slice())?;
    let lists: Vec<Vec<(String, String)>> = serde_json::from_str(&text)?;
    let lists: Result<Vec<Packets>> = lists
        .into_iter()
        .map(|list| {
            let list = list.into_iter();
            list.map(|(name, hex)| Ok((name, from_hex(&hex)?)))
                .collect()
        })
        .collect();
    let lists = lists?;
    assert!(lists.iter().all(|list| list.len() > 100));
    lists
        .try_into()
        .map_err(|_| anyhow!("as many lists as ends"))
}

/// Name, frame before and frame after of every packet.
fn through(bed: &mut Bed, from: Side, packets: &[(String, Vec<u8>)]) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for (name, frame) in packets {
        let ran = bed.run(from, frame)?;
        let hex = to_hex(frame);
        assert_eq!(ran.action, REDIRECT, "{name}: {hex}: {:?}", ran.counters);
        all.push(json!([name, hex, to_hex(&ran.frame)]));
    }
    Ok(all)
}

/// Fails where scapy complains, or has not read every packet.
fn judge(scapy: &Scapy, runs: &[Value]) -> Result<()> {
    let wanted: usize = runs
        .iter()
        .filter_map(|run| run["packets"].as_array().map(Vec::len))
        .sum();
    let said = scapy.run("dissect.py", &runs)?;
    assert_eq!(said.trim(), format!("read {wanted}"));
    Ok(())
}

#[test]
fn scapy_reads_what_backends_get() -> Result<()> {
    let Some(scapy) = Scapy::find()? else {
        return Ok(());
    };
    let ends = FAMILIES.map(|family| {
        let vip = family.vip();
        let client = family.at(CLIENT.into());
        [(client, [40_000; 2]), (vip.ip(), [vip.port(); 2])]
    });
    let [ipv4, ipv6] = packets(&scapy, ends)?;
    let mut runs = Vec::new();
    Way::each(Way::all(), &TAGGED, |bed, way| {
        let packets = match way.inner {
            Family::Ipv4 => &ipv4,
            Family::Ipv6 => &ipv6,
        };
        let outer = way.outer(bed, &way.segment(bed, Flags::SYN), Side::Back)?;
        let [tcp, udp] = Way::PORTS;
        runs.push(json!({
            "forward": way.forward.word(),
            "from": mac(bed.mac(Side::Back)),
            "to": mac(backend_mac(Way::BACKEND)),
            "source": outer.source,
            "backend": outer.destination,
            "ports": { "tcp": tcp, "udp": udp },
            "gue_port": GUE_PORT,
            "outer_length": outer.length(),
            "packets": through(bed, Side::Front, packets)?,
        }));
        Ok(())
    })?;
    judge(&scapy, &runs)
}

#[test]
fn scapy_reads_what_clients_get() -> Result<()> {
    let Some(scapy) = Scapy::find()? else {
        return Ok(());
    };
    let ends = FAMILIES.map(|family| {
        let backend = Side::Back.address(family, Way::BACKEND);
        let client = family.at(CLIENT.into());
        [(backend, Way::PORTS), (client, [40_000; 2])]
    });
    let mut runs = Vec::new();
    let [ipv4, ipv6] = packets(&scapy, ends)?;
    Way::each(Way::of(Forward::Dnat), &TAGGED, |bed, way| {
        let packets = match way.inner {
            Family::Ipv4 => &ipv4,
            Family::Ipv6 => &ipv6,
        };
        let vip = way.inner.vip();
        runs.push(json!({
            "forward": "reply",
            "from": mac(bed.mac(Side::Front)),
            "to": mac(CLIENT_MAC),
            "vip": vip.ip(),
            "ports": { "tcp": vip.port(), "udp": vip.port() },
            "packets": through(bed, Side::Back, packets)?,
        }));
        Ok(())
    })?;
    judge(&scapy, &runs)
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| {
            let digits = text.get(at..at + 2).context("an odd digit")?;
            Ok(u8::from_str_radix(digits, 16)?)
        })
        .collect()
}
