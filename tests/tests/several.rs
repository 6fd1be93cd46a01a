//! Several load balancers that do not talk: connections that one has to leave go on through another.

use std::{net::SocketAddrV4, time::Duration};

use anyhow::{Context, Result, ensure};
use lb_common::wire::tcp::Flags;
use testbed::{
    config::Config,
    daemon::Daemon,
    packets::Segment,
    several::{Balancer, Several, Spread},
    status::Service,
    stream::{
        client::{Hold, Streams},
        tally::Tally,
    },
    sweep,
    test_run::PinnedProgram,
    topology::{CLIENT, VIP},
};

const BACKENDS: u8 = 5;
const SOON: Duration = Duration::from_secs(10);

/// `enum xdp_action` of linux/bpf.h.
const XDP_REDIRECT: u32 = 4;

/// The configuration of the second load balancer: the same file, written down the other way round.
fn the_other_way_round(config: &mut Config) {
    config.services.reverse();
    for service in &mut config.services {
        service.backends.reverse();
    }
}

fn reseed(config: &mut Config, seed: Option<&str>) {
    if let Some(seed) = seed {
        seed.clone_into(&mut config.daemon.seed);
    }
}

/// `web`, and a service beside it with other backends first and other weights.
fn two_services(several: &Several) -> Config {
    let mut config = several.config();
    let mut dns = config.services[0].clone();
    dns.name = "dns".to_owned();
    dns.listen = vec![format!("udp://{VIP}")];
    dns.backends.rotate_left(2);
    dns.backends[0].weight = 3;
    config.services.push(dns);
    config
}

/// One daemon a load balancer, the second started after the first has seen a backend go and come.
fn start_apart(several: &mut Several, second_seed: Option<&str>) -> Result<[Daemon; 2]> {
    let first = Daemon::start(&several.balancers[0].host, two_services(several))?;
    first.wait_until_all_up()?;
    several.backends[1].kill();
    first.wait_until("the death to be noticed", SOON, |status| {
        status.backend("b2").is_left_out()
    })?;
    several.backends[1].revive()?;
    first.wait_until_all_up()?;

    let mut config = two_services(several);
    the_other_way_round(&mut config);
    reseed(&mut config, second_seed);
    let second = Daemon::start(&several.balancers[1].host, config)?;
    at_rest(&first)?;
    at_rest(&second)?;
    Ok([first, second])
}

/// Waits until every backend is up and every slot stable: one in motion sends whom it does not know
/// where it was before.
fn at_rest(daemon: &Daemon) -> Result<()> {
    daemon.wait_until("every slot to be stable", SOON, |status| {
        let rests = |service: &Service| service.slots.stable == service.table_size;
        status.all_up() && status.services.iter().all(rests)
    })?;
    Ok(())
}

/// The MAC that each of many new flows is sent to: its backend.
fn backends_of_flows(balancer: &Balancer, daemon: &Daemon) -> Result<Vec<[u8; 6]>> {
    let front = balancer.host.link("front")?;
    let mut program = PinnedProgram::open(&daemon.pins())?;
    balancer.host.run(|| {
        flows()
            .map(|segment| {
                let frame = segment.link([2, 0, 0, 0, 0, 1], front.mac).bytes();
                let (action, out) = program.run(&frame, front.index)?;
                ensure!(action == XDP_REDIRECT, "action {action}");
                out.first_chunk().copied().context("a frame without a head")
            })
            .collect()
    })
}

/// 20,000 of them, TCP and UDP in turns.
fn flows() -> impl Iterator<Item = Segment> {
    let client = |port| SocketAddrV4::new(CLIENT, port);
    let base = Segment::new("0.0.0.0:0", "0.0.0.0:0", Flags::SYN);
    (10_000..30_000).map(move |port| Segment {
        source: client(port).into(),
        destination: VIP.into(),
        flags: (port % 2 == 0).then_some(Flags::SYN),
        ..base.clone()
    })
}

#[test]
fn load_balancers_with_one_file_send_every_flow_to_one_backend() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let mut several = Several::build(2, BACKENDS)?;
    let daemons = start_apart(&mut several, None)?;
    let first = backends_of_flows(&several.balancers[0], &daemons[0])?;
    let second = backends_of_flows(&several.balancers[1], &daemons[1])?;
    let differ = first.iter().zip(&second).filter(|(a, b)| a != b).count();
    assert_eq!(differ, 0, "of {} flows", first.len());
    let mut used = first;
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), usize::from(BACKENDS), "{used:x?}");
    Ok(())
}

/// What the test above rests on: it can fail.
#[test]
fn load_balancers_with_different_seeds_disagree() -> Result<()> {
    if !sweep::ready() {
        return Ok(());
    }
    let mut several = Several::build(2, BACKENDS)?;
    let daemons = start_apart(&mut several, Some("another"))?;
    let first = backends_of_flows(&several.balancers[0], &daemons[0])?;
    let second = backends_of_flows(&several.balancers[1], &daemons[1])?;
    let differ = first.iter().zip(&second).filter(|(a, b)| a != b).count();
    assert!(differ * 2 > first.len(), "{differ} of {}", first.len());
    Ok(())
}

/// Connections that passed through the load balancer that was killed, and what became of all.
struct Loss {
    through_it: u64,
    tally: Tally,
}

/// Kills the first of two load balancers while connections speak.
fn lose_one(spread: Spread, second_seed: Option<&str>) -> Result<Option<Loss>> {
    const CONNECTIONS: u32 = 300;

    if !sweep::ready() {
        return Ok(None);
    }
    let several = Several::build(2, BACKENDS)?;
    let mut second = several.config();
    the_other_way_round(&mut second);
    reseed(&mut second, second_seed);
    let mut first = Daemon::start(&several.balancers[0].host, several.config())?;
    let second = Daemon::start(&several.balancers[1].host, second)?;
    at_rest(&first)?;
    at_rest(&second)?;
    several.route(spread)?;

    let hold = Hold::new(VIP.into(), CONNECTIONS);
    let streams = Streams::open(&several.client, hold, SOON)?;
    let through_it = first.status()?.web().new_flows;
    let through_the_other = second.status()?.web().new_flows;
    assert_eq!(through_it + through_the_other, u64::from(CONNECTIONS));

    several.unplug(&several.balancers[0])?;
    first.kill9();
    let detached = first.cli().run(&["detach"])?;
    assert!(detached.status.success(), "{detached:?}");
    std::thread::sleep(Duration::from_secs(3));
    let tally = Tally::of(streams.finish()?, &[]);
    println!("{spread:?}: {through_it} through the one that was killed; {tally}");
    Ok(Some(Loss { through_it, tally }))
}

fn survives(spread: Spread) -> Result<()> {
    let Some(Loss { through_it, tally }) = lose_one(spread, None)? else {
        return Ok(());
    };
    // Half of 300, give or take six standard deviations.
    assert!((98..=202).contains(&through_it), "{through_it} of 300");
    assert_eq!(tally.alive, 300, "{tally}");
    assert!(tally.broken.is_empty(), "{tally}");
    Ok(())
}

#[test]
fn connections_of_a_killed_load_balancer_go_on_through_the_other() -> Result<()> {
    survives(Spread::Ecmp)
}

#[test]
fn connections_of_a_killed_load_balancer_go_on_with_resilient_next_hops() -> Result<()> {
    survives(Spread::Resilient)
}

/// What the tests above rest on: the connections do pass from one to the other.
#[test]
fn connections_of_a_killed_load_balancer_break_where_the_other_has_another_seed() -> Result<()> {
    let Some(Loss { through_it, tally }) = lose_one(Spread::Ecmp, Some("another"))? else {
        return Ok(());
    };
    assert!(tally.broken.len() as u64 * 2 > through_it, "{tally}");
    assert!(tally.broken.len() as u64 <= through_it, "{tally}");
    Ok(())
}
