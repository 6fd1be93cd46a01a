//! Interfaces that go, come and change while the daemon runs, and programs that others take off them.

use std::{os::fd::AsFd, time::Duration};

use anyhow::Result;
use testbed::{
    capture::Capture,
    cli::stderr,
    config::Interface,
    host::Host,
    netlink, poll,
    site::Site,
    status::Status,
    topology::{CLIENT, LB_BACK, LB_FRONT, Topology, VIP},
    xdp,
};

/// What the daemon is told of.
const SOON: Duration = Duration::from_secs(5);
/// What it finds at its next look, each five seconds.
const NEXT_LOOK: Duration = Duration::from_secs(10);
/// An alarm about something mended stays for three looks.
const SOME_LOOKS: Duration = Duration::from_secs(30);

fn is_attached(status: &Status, name: &str) -> bool {
    let interface = status.interface(name);
    interface.xdp == "native" && interface.up && interface.ifindex != 0
}

/// Runs `take_off`, which makes `front` lose the program; it must come back, with an alarm for a
/// while.
fn is_put_back(take_off: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let programs = site.programs()?;
    take_off(&site)?;
    assert_ne!(site.programs()?, programs, "it was not taken off");

    let taken_off = ["front", "taken off", "somebody else"];
    site.daemon
        .wait_until("the loss to be noticed", NEXT_LOOK, |status| {
            status.has_alarm(&taken_off) && is_attached(status, "front")
        })?;
    assert_eq!(site.programs()?, programs);
    assert!(site.daemon.log_tail().contains("taken off interface front"));
    site.get_many(30)?;
    site.daemon
        .wait_until("the alarm to end", SOME_LOOKS, |status| {
            status.alarms.is_empty()
        })?;
    Ok(())
}

#[test]
fn a_program_that_somebody_detached_is_put_back() -> Result<()> {
    is_put_back(|site| xdp::detach_link(&site.daemon.pins().join("links/front")))
}

#[test]
fn a_program_that_somebody_replaced_is_put_back() -> Result<()> {
    is_put_back(|site| {
        let other = xdp::load_passing_program()?;
        xdp::replace_in_link(&site.daemon.pins().join("links/front"), other.as_fd())
    })
}

#[test]
fn somebody_elses_program_in_our_place_is_an_alarm_until_it_is_gone() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let programs = site.programs()?;
    let other = xdp::load_passing_program()?;
    xdp::detach_link(&site.daemon.pins().join("links/front"))?;
    let lb = &site.topology.lb;
    lb.run(|| netlink::attach_xdp("front", other.as_fd()))?;

    let occupied = ["interface front carries another XDP program"];
    let occupied = |status: &Status| status.has_alarm(&occupied);
    site.daemon.wait_until("the alarm", NEXT_LOOK, |status| {
        occupied(status) && status.interface("front").xdp == "none"
    })?;
    assert_ne!(site.programs()?, programs, "it is not ours to remove");

    lb.run(|| netlink::detach_xdp("front"))?;
    site.daemon
        .wait_until("the program to be back", NEXT_LOOK, |status| {
            !occupied(status) && is_attached(status, "front")
        })?;
    assert_eq!(site.programs()?, programs);
    site.get_many(30)?;
    Ok(())
}

#[test]
fn an_interface_that_goes_down_serves_again_when_it_is_up() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let lb = &site.topology.lb;
    for name in site.topology.lb_interfaces() {
        let down = format!("interface {name} is down");
        lb.set_up(name, false)?;
        site.daemon.wait_until("the alarm", SOON, |status| {
            status.has_alarm(&[&down]) && !status.interface(name).up
        })?;
        lb.set_up(name, true)?;
        site.daemon.wait_until("the alarm to end", SOON, |status| {
            !status.has_alarm(&[&down]) && is_attached(status, name)
        })?;
        site.daemon.wait_until_all_up()?;
        site.get_many(30)?;
    }
    Ok(())
}

/// Forgets the link-layer addresses that a new interface of the load balancer has not any more.
fn forget_the_old_one(site: &Site) -> Result<()> {
    site.client().forget_neighbour("eth0", LB_FRONT)?;
    for backend in &site.topology.backends {
        backend.host.forget_neighbour("eth0", LB_BACK)?;
    }
    Ok(())
}

/// The interface is removed, and made again some time later.
fn comes_back_as_another(name: &str) -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let before = site.daemon.status()?;
    site.topology.lb.delete_link(name)?;
    let gone = format!("interface {name} is gone");
    let status = site
        .daemon
        .wait_until("the alarm", SOON, |status| status.has_alarm(&[&gone]))?;
    let interface = status.interface(name);
    assert_eq!(
        (interface.ifindex, interface.xdp.as_str(), interface.up),
        (0, "none", false)
    );
    assert!(!site.daemon.pins().join("links").join(name).exists());

    // What else there is to do is done meanwhile.
    let output = site.daemon.reload()?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(site.daemon.status()?.has_alarm(&[&gone]));

    site.topology.plug_lb(name)?;
    forget_the_old_one(&site)?;
    let status = site.daemon.wait_until("its return", SOON, |status| {
        !status.has_alarm(&[&gone]) && is_attached(status, name)
    })?;
    assert_ne!(
        status.interface(name).ifindex,
        before.interface(name).ifindex
    );
    site.daemon.wait_until_all_up()?;
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    site.daemon
        .wait_until("no alarm", SOON, |status| status.alarms.is_empty())?;
    Ok(())
}

#[test]
fn the_interface_to_the_clients_comes_back_as_another() -> Result<()> {
    comes_back_as_another("front")
}

#[test]
fn the_interface_to_the_backends_comes_back_as_another() -> Result<()> {
    comes_back_as_another("back")
}

#[test]
fn an_interface_made_anew_while_no_daemon_runs_is_attached_to_by_the_next() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    site.daemon.kill9();
    site.topology.lb.delete_link("back")?;
    site.topology.plug_lb("back")?;
    forget_the_old_one(&site)?;
    site.daemon.restart()?;
    site.daemon.wait_until("all to serve", SOON, |status| {
        is_attached(status, "back") && status.all_up() && status.alarms.is_empty()
    })?;
    let report = site.get_many(60)?;
    assert_eq!(report.answered.len(), 3, "{report}");
    Ok(())
}

#[test]
fn an_interface_made_after_the_start_is_attached_to_by_a_reload() -> Result<()> {
    let Some(mut site) = Site::build(&Topology::builder().backends(1), |_| {})? else {
        return Ok(());
    };
    let programs = site.programs()?;
    site.daemon
        .set_config(|config| config.interfaces.push(Interface::new("late")))?;
    let output = site.daemon.reload()?;
    assert_ne!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(said.contains("interface late does not exist"), "{said}");
    assert_eq!(site.programs()?, programs);

    let lb = &site.topology.lb;
    lb.join("late", site.client(), "eth1")?;
    let output = site.daemon.reload()?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(is_attached(&site.daemon.status()?, "late"));
    assert!(lb.link("late")?.xdp.is_some());

    site.daemon.set_config(|config| {
        config.interfaces.pop();
    })?;
    assert_eq!(site.daemon.reload()?.status.code(), Some(0));
    assert_eq!(lb.link("late")?.xdp, None);
    site.get_many(10)?;
    Ok(())
}

#[test]
fn another_mac_address_of_an_own_interface_is_followed() -> Result<()> {
    const MAC: [u8; 6] = [2, 0, 0, 0, 0x77, 1];
    let Some(site) = Site::build(&Topology::builder().backends(1), |_| {})? else {
        return Ok(());
    };
    // Its neighbours hear of it.
    let lb = &site.topology.lb;
    lb.sysctl("net/ipv4/conf/back/arp_notify", "1")?;
    lb.set_mac("back", MAC)?;
    let backend = &site.topology.backends[0].host;
    poll::until("frames from the new address", SOON, || {
        let sources = sources_of_requests(&site, backend).ok()?;
        (!sources.is_empty() && sources.iter().all(|source| *source == MAC)).then_some(())
    })?;
    site.daemon.wait_until_all_up()?;
    site.get_many(30)?;
    Ok(())
}

/// The Ethernet sources of the client's frames in one request, as the backend sees them.
fn sources_of_requests(site: &Site, backend: &Host) -> Result<Vec<[u8; 6]>> {
    let capture = Capture::start(backend, "eth0")?;
    let answer = site.get();
    let frames = capture.finish()?;
    answer?;
    let from_client = frames.iter().filter(|frame| {
        frame.segment().is_some_and(|segment| {
            segment.source == CLIENT && segment.destination_port == VIP.port()
        })
    });
    Ok(from_client
        .filter_map(|frame| frame.0.get(6..12)?.try_into().ok())
        .collect())
}
