//! Devices of which the program would miss packets, the real ones: refused by name, with the device to
//! use instead. In the guest, since not every kernel has them.

use anyhow::Result;
use testbed::{
    capture::Tag,
    config::{Config, Interface},
    daemon::Daemon,
    decap::Decap,
    netlink,
    site::{self, Site},
    topology::Topology,
    tunnel_end::{TunnelEnd, arguments},
};

/// What the daemon says when it is told to attach to `name`, which `make` makes on the load balancer.
fn refusal(name: &str, make: impl FnOnce() -> Result<()> + Send) -> Result<Option<String>> {
    let network = Topology::builder().backends(1);
    let attach = |config: &mut Config| {
        config.interfaces.push(Interface {
            name: name.to_owned(),
            xdp: "auto",
            vlan: false,
        });
    };
    let Some((topology, config)) = Site::prepare(&network, attach)? else {
        return Ok(None);
    };
    topology.lb.run(make)?;
    let daemon = Daemon::prepare(&topology.lb, config)?;
    let ended = daemon.run_to_end(|_| {})?;
    assert_eq!(ended.code(), Some(1), "{}", ended.output);
    let line = ended.only_line()?.to_owned();
    assert_eq!(site::programs(&topology)?, [None, None]);
    assert!(!daemon.pins().exists() && !daemon.socket().exists());
    Ok(Some(line))
}

#[test]
fn a_vlan_device_is_refused_with_its_parent() -> Result<()> {
    if let Some(line) = refusal("front.5", || {
        netlink::add_vlan("front.5", "front", Tag::dot1q(5))
    })? {
        let wanted = "interface front.5 is a VLAN device; attach to its parent front";
        assert!(line.ends_with(wanted), "{line}");
    }
    Ok(())
}

#[test]
fn a_bond_device_is_refused_with_its_member() -> Result<()> {
    let make = || {
        netlink::add_bond("bond0")?;
        netlink::set_up("back", false)?;
        netlink::enslave("back", "bond0")
    };
    if let Some(line) = refusal("bond0", make)? {
        let wanted = "interface bond0 is a bond device; attach to its member back";
        assert!(line.ends_with(wanted), "{line}");
    }
    Ok(())
}

#[test]
fn a_vlan_on_a_bond_is_refused_with_the_bonds_member() -> Result<()> {
    let make = || {
        netlink::add_bond("bond0")?;
        netlink::set_up("back", false)?;
        netlink::enslave("back", "bond0")?;
        netlink::add_vlan("bond0.7", "bond0", Tag::dot1q(7))
    };
    if let Some(line) = refusal("bond0.7", make)? {
        let wanted = "interface bond0.7 is a VLAN device; attach to its member back";
        assert!(line.ends_with(wanted), "{line}");
    }
    Ok(())
}

#[test]
fn a_vlan_device_of_a_backend_is_refused_with_its_parent() -> Result<()> {
    let Some(end) = TunnelEnd::build()? else {
        return Ok(());
    };
    end.backend
        .run(|| netlink::add_vlan("eth0.5", "eth0", Tag::dot1q(5)))?;
    let decap = Decap::prepare(&end.backend, &arguments(&["--interface", "eth0.5"]))?;
    let ended = decap.run_to_end()?;
    let wanted = "interface eth0.5 is a VLAN device; attach to its parent eth0";
    assert!(ended.only_line()?.ends_with(wanted), "{}", ended.output);
    assert_eq!((ended.code(), end.program()?), (Some(1), None));
    assert!(!decap.pins().exists());
    Ok(())
}
