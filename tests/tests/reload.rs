//! A changed file takes effect on `reload`; a wrong one changes nothing.

use std::{collections::BTreeSet, fs, net::SocketAddrV4, time::Duration};

use anyhow::Result;
use testbed::{
    cli::stderr,
    config::{Backend, Config, Health, Limits},
    http::{self, Timeouts},
    site::Site,
    status::Status,
    topology::{Topology, VIP},
};

/// Where a second service listens.
const SHOP: SocketAddrV4 = SocketAddrV4::new(*VIP.ip(), 8080);

#[test]
fn a_backend_comes_and_another_goes() -> Result<()> {
    let network = Topology::builder().backends(4);
    let without_b4 = |config: &mut testbed::config::Config| {
        config.web().backends.pop();
    };
    let Some(mut site) = Site::build(&network, without_b4)? else {
        return Ok(());
    };
    assert_eq!(site.get_many(60)?.answered.get("b4"), None);
    let before = site.daemon.status()?;
    let address = site.topology.backends[3].address;
    site.daemon.set_config(|config| {
        config.web().backends.remove(0);
        config.web().backends.push(Backend::new("b4", address));
    })?;

    let output = site.daemon.reload()?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // It gets nothing before its first probe has succeeded.
    let recovery = Health::quick().recovery();
    let status = site.daemon.wait_until("b4 to serve", recovery, |status| {
        status
            .web()
            .backends
            .iter()
            .any(|backend| backend.name == "b4" && backend.serves())
    })?;
    assert_eq!(
        status.slots().keys().collect::<Vec<_>>(),
        ["b2", "b3", "b4"]
    );
    assert_eq!(
        status.slots().values().sum::<u64>(),
        status.web().table_size
    );
    assert!(status.config.generation > before.config.generation);
    assert!(
        status
            .config
            .last_reload
            .as_ref()
            .is_some_and(|reload| reload.ok)
    );

    let report = site.get_many(100)?;
    assert_eq!(
        report.answered.keys().collect::<Vec<_>>(),
        ["b2", "b3", "b4"],
        "{report}"
    );
    Ok(())
}

/// Only the service that gets it differs from the configuration before: the other one, where it is
/// finishing its connections, has to give it up all the same.
#[test]
fn a_backend_that_one_service_lost_serves_another() -> Result<()> {
    let split = |config: &mut Config| {
        let web = config.web();
        web.connections.drain_timeout = Some(Duration::from_secs(600));
        let mut shop = web.clone();
        shop.name = "shop".to_owned();
        shop.listen = vec![format!("tcp://{SHOP}")];
        shop.backends = web.backends.split_off(2);
        config.services.push(shop);
    };
    let Some(mut site) = Site::build(&Topology::builder(), split)? else {
        return Ok(());
    };
    let lost = site.daemon.config().services[0].backends[1].clone();
    let reload = |site: &mut Site, change: &dyn Fn(&mut Config)| {
        site.daemon.set_config(change)?;
        let output = site.daemon.reload()?;
        anyhow::ensure!(output.status.success(), "{}", stderr(&output));
        site.daemon.status()
    };
    let status = reload(&mut site, &|config| drop(config.services[0].backends.pop()))?;
    let leaving = |status: &Status| status.web().backends.iter().any(|b| b.name == lost.address);
    assert!(leaving(&status), "{:#?}", status.web());

    let status = reload(&mut site, &|config| {
        config.services[1].backends.push(lost.clone());
    })?;
    assert!(!leaving(&status), "{:#?}", status.web());
    let recovery = Health::quick().recovery();
    site.daemon.wait_until("b2 to serve", recovery, |status| {
        let shop = status.services.iter().find(|s| s.name == "shop");
        shop.is_some_and(|shop| shop.backends.iter().any(|b| b.name == "b2" && b.serves()))
    })?;
    let mut answered = BTreeSet::new();
    for _ in 0..40 {
        let get = || http::get(SHOP.into(), Timeouts::default());
        let reply = site.client().block_on(get)?;
        answered.insert(reply.backend().to_owned());
    }
    assert_eq!(answered, ["b2", "b3"].map(str::to_owned).into());
    let answered = site.get_many(20)?.answered;
    assert_eq!(answered.keys().collect::<Vec<_>>(), ["b1"]);
    Ok(())
}

#[test]
fn a_wrong_file_changes_nothing_and_is_reported() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let before = site.daemon.status()?;
    let load = site.load();
    let path = site.daemon.config_path();
    let good = fs::read_to_string(&path)?;
    fs::write(&path, good.replace("weight = 1", "weight = 257"))?;
    let output = site.daemon.reload()?;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let line = 1 + good
        .lines()
        .position(|line| line == "weight = 1")
        .expect("a weight");
    let place = format!("{}:{line}", path.display());
    assert!(
        said.contains(&place) && said.contains("weight"),
        "{place} is not in: {said}"
    );

    let after = site.daemon.status()?;
    assert_eq!(after.slots(), before.slots());
    assert_eq!(after.config.generation, before.config.generation);
    let reload = after.config.last_reload.expect("the reload is remembered");
    assert!(!reload.ok);
    assert!(
        reload
            .error
            .as_deref()
            .is_some_and(|error| error.contains("weight")),
        "{reload:?}"
    );

    fs::write(&path, good)?;
    assert_eq!(site.daemon.reload()?.status.code(), Some(0));
    let report = load.finish()?;
    assert!(
        report.failures.is_empty() && report.answered() > 0,
        "{report}"
    );
    Ok(())
}

/// A reload that must be refused with one error that has all of `words`; what was in force stays.
fn refuses(site: &mut Site, change: impl FnOnce(&mut Config), words: &[&str]) -> Result<()> {
    let (before, good) = (site.daemon.status()?, site.daemon.config().clone());
    site.daemon.set_config(change)?;
    let output = site.daemon.reload()?;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }

    let after = site.daemon.status()?;
    assert_eq!(after.plans, before.plans);
    assert_eq!(after.slots(), before.slots());
    assert_eq!(after.config.generation, before.config.generation);
    let reload = after.config.last_reload.expect("the reload is remembered");
    assert!(!reload.ok && reload.error.is_some_and(|error| error.contains(words[0])));
    assert_eq!(site.get_many(10)?.answered(), 10);
    site.daemon.set_config(|config| *config = good)
}

#[test]
fn what_the_limits_have_no_room_for_changes_nothing() -> Result<()> {
    let tight = |config: &mut Config| {
        config.limits = Limits {
            services: Some(1),
            backends: Some(3),
            slots: Some(16_384),
            ..Limits::default()
        };
        config.web().health[0].fall = 100;
    };
    let Some(mut site) = Site::build(&Topology::builder(), tight)? else {
        return Ok(());
    };
    let raise = |limit: &str| format!("raise limits.{limit}, then `sluice detach`");
    // Each fits by itself; while one takes the other's place there are both.
    let other_port = |config: &mut Config| {
        config.web().listen = vec![format!("tcp://{}:8080", VIP.ip())];
        config.web().name = "shop".to_owned();
    };
    refuses(
        &mut site,
        other_port,
        &["service shop: no room", &raise("services")],
    )?;
    let other_backend = |config: &mut Config| {
        config.web().backends[2] = Backend::new("b9", "10.77.2.19:80");
    };
    refuses(
        &mut site,
        other_backend,
        &["service web: no room for 4 backends", &raise("backends")],
    )?;
    refuses(
        &mut site,
        |config| config.web().table_size = 509,
        &["service web: no room for 509 slots", &raise("slots")],
    )
}

#[test]
fn limits_do_not_change_while_the_daemon_runs() -> Result<()> {
    let Some(mut site) = Site::start()? else {
        return Ok(());
    };
    for (limit, change) in [
        (
            "services",
            (|limits| limits.services = Some(9)) as fn(&mut Limits),
        ),
        ("backends", |limits| limits.backends = Some(99)),
        ("slots", |limits| limits.slots = Some(99_999)),
    ] {
        let fixed = format!("limits.{limit} cannot change while the daemon runs");
        refuses(&mut site, |config| change(&mut config.limits), &[&fixed])?;
    }
    Ok(())
}

#[test]
fn the_same_file_again_moves_nothing() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let before = site.daemon.status()?;
    let load = site.load();
    for _ in 0..3 {
        let output = site.daemon.reload()?;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let after = site.daemon.status()?;
    assert_eq!(after.slots(), before.slots());
    assert!(after.all_up(), "{:#?}", after.web());
    let report = load.finish()?;
    assert!(report.failures.is_empty(), "{report}");
    Ok(())
}
