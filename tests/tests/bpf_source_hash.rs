//! `hash = "source"`: a client's flows go to one backend, whatever their ports and protocol.

use std::collections::BTreeSet;

use anyhow::Result;
use lb_common::wire::tcp::Flags;
use testbed::{
    mode::{Family, Forward},
    packets::{Bed, Segment, Side, Way},
};

/// Five backends, of which a client's flows may go to one.
fn services(way: Way, hash: &str) -> String {
    let backends: String = (11..16)
        .map(|number| {
            let address = Side::Back.address(way.outer, number);
            format!("[[service.backend]]\nname = \"b{number}\"\naddress = \"{address}\"\n")
        })
        .collect();
    let (vip, forward) = (way.inner.vip(), way.forward.word());
    format!(
        "[[service]]\nname = \"web\"\nlisten = [\"tcp://{vip}\", \"udp://{vip}\"]\n\
         forward = \"{forward}\"\n{hash}\n{backends}"
    )
}

/// Every flow of a client from this address: the backend that each goes to, as the program has it.
fn backends(bed: &mut Bed, way: Way, client: &str) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for port in [1, 1024, 40_000, 40_001, 65_535] {
        for segment in [
            way.segment(bed, Flags::SYN),
            way.segment(bed, Flags::ACK),
            way.datagram(bed, b"data"),
        ] {
            let mut segment = segment;
            segment.source = (client.parse::<std::net::IpAddr>()?, port).into();
            all.insert(backend(bed, &segment)?);
        }
    }
    Ok(all)
}

fn backend(bed: &mut Bed, segment: &Segment) -> Result<String> {
    let expected = bed.chosen(segment)?.to_owned();
    let ran = bed.run(Side::Front, &segment.bytes())?;
    let counted: Vec<_> = ran.backends.keys().cloned().collect();
    assert_eq!(counted, std::slice::from_ref(&expected));
    Ok(expected)
}

#[test]
fn a_clients_flows_go_to_one_backend_and_clients_to_all() -> Result<()> {
    for way in Way::of(Forward::Dsr) {
        let Some(mut bed) = Bed::new(&services(way, "hash = \"source\""))? else {
            return Ok(());
        };
        let mut all = BTreeSet::new();
        for client in 1..60 {
            let client = match way.inner {
                Family::Ipv4 => format!("192.0.2.{client}"),
                Family::Ipv6 => format!("2001:db8::{client:x}"),
            };
            let chosen = backends(&mut bed, way, &client)?;
            assert_eq!(chosen.len(), 1, "{way:?}: {client}: {chosen:?}");
            all.extend(chosen);
        }
        assert_eq!(all.len(), 5, "{way:?}");
    }
    Ok(())
}

#[test]
fn a_prefix_makes_one_client_of_a_network() -> Result<()> {
    let hash = "hash = \"source\"\nsource_prefix_ipv4 = 20\nsource_prefix_ipv6 = 52";
    for way in Way::of(Forward::Dsr) {
        let Some(mut bed) = Bed::new(&services(way, hash))? else {
            return Ok(());
        };
        let network = match way.inner {
            Family::Ipv4 => ["192.0.32.0", "192.0.32.1", "192.0.47.255", "192.0.40.9"],
            Family::Ipv6 => [
                "2001:db8:0:1000::",
                "2001:db8:0:1000::1",
                "2001:db8:0:1fff:ffff:ffff:ffff:ffff",
                "2001:db8:0:1234::9",
            ],
        };
        let mut chosen = BTreeSet::new();
        for client in network {
            chosen.extend(backends(&mut bed, way, client)?);
        }
        assert_eq!(chosen.len(), 1, "{way:?}: {chosen:?}");

        let mut all = BTreeSet::new();
        for number in 0..60 {
            let client = match way.inner {
                Family::Ipv4 => format!("192.{number}.16.1"),
                Family::Ipv6 => format!("2001:db8:{number:x}:2000::1"),
            };
            all.extend(backends(&mut bed, way, &client)?);
        }
        assert_eq!(all.len(), 5, "{way:?}");
    }
    Ok(())
}

#[test]
fn beside_it_other_services_hash_the_whole_flow() -> Result<()> {
    for way in Way::of(Forward::Dsr) {
        let by_source = services(way, "hash = \"source\"");
        let other = way.inner.vip().to_string();
        let whole = services(way, "hash = \"5-tuple\"")
            .replace(&other, &format!("{}1", other.trim_end_matches('0')))
            .replace("\"web\"", "\"whole\"")
            .replace("name = \"b1", "name = \"w1");
        let Some(mut bed) = Bed::new(&(by_source + &whole))? else {
            return Ok(());
        };
        let mut all = BTreeSet::new();
        for port in 1..60 {
            let mut segment = way.segment(&bed, Flags::SYN);
            segment.source.set_port(port);
            segment.destination.set_port(81);
            all.insert(backend(&mut bed, &segment)?);
        }
        assert_eq!(all.len(), 5, "{way:?}: {all:?}");
    }
    Ok(())
}

/// The entropy of an outer header is then the client's, not the flow's.
#[test]
fn what_is_sent_is_the_same_but_for_the_entropy() -> Result<()> {
    for way in Way::all() {
        let services = way.services().replace(
            "[[service.backend]]",
            "hash = \"source\"\n[[service.backend]]",
        );
        let Some(mut bed) = Bed::new(&services)? else {
            return Ok(());
        };
        let mut outers = Vec::new();
        for port in [1, 40_000, 65_535] {
            for mut segment in [
                way.segment(&bed, Flags::SYN).payload(b"a payload"),
                way.datagram(&bed, b"data"),
            ] {
                segment.source.set_port(port);
                way.fixture("by source", &bed, &segment)?.check(&mut bed)?;
                if segment.flags.is_some() {
                    let outer = way.outer(&bed, &segment, Side::Back)?;
                    outers.push((outer.flow_label, outer.ports));
                }
            }
        }
        outers.dedup();
        assert_eq!(outers.len(), 1, "{way:?}: {outers:?}");
    }
    Ok(())
}
