//! Every tunnel of Sluice's ends at the kernel's own devices, on backends that run nothing of Sluice's. In
//! the guest, since not every kernel has them.

use anyhow::{Context, Result, ensure};
use testbed::{
    kernel_tunnels::{self, DEVICES},
    mode::XdpMode::{self, Generic, Native},
    netlink::LinkCounters,
    topology::Topology,
    transfer::MODEST,
    ways::{DIRECT, REQUESTS, Way, Ways},
};

/// Both kinds, within and around IPv4 and IPv6: eight.
fn kernels_take_out(xdp: XdpMode) -> Result<()> {
    let ways = DIRECT.iter().copied();
    let ways: Vec<Way> = ways.filter(|way| way.forward.is_tunnel()).collect();
    assert_eq!(ways.len(), 8);
    let network = Topology::builder().backends(2).kernel_tunnels();
    let Some(all) = Ways::start(network, &ways, |config| config.attach_as(xdp))? else {
        return Ok(());
    };
    for backend in &all.site.topology.backends {
        assert!(backend.decap.is_none());
        assert_eq!(backend.host.link("eth0")?.xdp, None);
    }
    for &way in &ways {
        let before = counters(&all)?;
        all.ask(way)?;
        let asked = counters(&all)?;
        // SYN, ACK, request and FIN at least, and a question.
        let least = 5 * REQUESTS as u64;
        check(way, &before, &asked, |one| one.rx_packets, least).with_context(|| way.name())?;
        all.transfer_bytes(way, MODEST)?;
        let after = counters(&all)?;
        check(way, &asked, &after, |one| one.rx_bytes, MODEST).with_context(|| way.name())?;
    }
    let status = all.site.daemon.status()?;
    assert_eq!(status.drops.values().sum::<u64>(), 0, "{:?}", status.drops);
    Ok(())
}

/// Those of each backend.
fn counters(all: &Ways) -> Result<Vec<[LinkCounters; 3]>> {
    let backends = all.site.topology.backends.iter();
    backends
        .map(|backend| kernel_tunnels::counters(&backend.host))
        .collect()
}

/// All backends together took `least` at least out by the way's device, and nothing by another one.
fn check(
    way: Way,
    before: &[[LinkCounters; 3]],
    after: &[[LinkCounters; 3]],
    count: impl Fn(&LinkCounters) -> u64,
    least: u64,
) -> Result<()> {
    let sum = |of: &[[LinkCounters; 3]], n: usize| of.iter().map(|all| count(&all[n])).sum::<u64>();
    for (n, device) in DEVICES.into_iter().enumerate() {
        let taken = sum(after, n) - sum(before, n);
        let right = match device == kernel_tunnels::device(way) {
            true => taken >= least,
            false => taken == 0,
        };
        ensure!(right, "{taken} by {device}");
    }
    let lost: u64 = after.iter().flatten().map(|one| one.rx_dropped).sum();
    ensure!(lost == 0, "{lost} dropped");
    Ok(())
}

#[test]
fn every_tunnel_from_the_driver_ends_at_the_kernels_devices() -> Result<()> {
    kernels_take_out(Native)
}

#[test]
fn every_tunnel_from_the_stack_ends_at_the_kernels_devices() -> Result<()> {
    kernels_take_out(Generic)
}
