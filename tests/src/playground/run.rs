//! The playground's one loop: outcomes, samples, requests and signals come in, a scene goes out.

use std::{
    io::{IsTerminal, stdin, stdout},
    process::ExitStatus,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use testbed::{host::Host, http::Timeouts, load::Load, mode::Family, programs};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use crate::{
    arguments::Options,
    control::{self, Request},
    ledger::{Ledger, Ledgers},
    plain,
    sampler::{self, Sample},
    scene::{Scene, Traffic},
    view::View,
    world::{DaemonState, World},
};

/// What the loop waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// The daemon's state; `None`: it did not answer.
    Sample(Option<Box<Sample>>),
    /// Somebody at a second terminal wants something.
    Request(Request),
    /// Ctrl-C, a signal, a key.
    Stop,
    /// The terminal has another size.
    Resized,
}

/// One request every so often.
const PACE: Duration = Duration::from_millis(5);
const UDP_PACE: Duration = Duration::from_millis(10);
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    answer: Duration::from_secs(2),
};
/// Nobody repeats a question: one that is lost, or its answer, is a failure.
const UDP_DEADLINE: Duration = Duration::from_secs(2);
/// How often the loop looks around when nothing comes in.
const TICK: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// Builds, runs, shows and removes it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let (sender, events) = channel();
    watch_signals(sender.clone())?;
    println!(
        "playground: building client, router, load balancer and {} backends",
        options.backends
    );
    let mut playground = Playground::build(options)?;
    control::listen(sender.clone())?;
    sampler::start(playground.world.cli(), sender.clone());
    let end = options.duration.map(|duration| playground.start + duration);

    let turned = if stdin().is_terminal() && stdout().is_terminal() {
        let mut view = View::open(sender)?;
        playground.turn(&events, end, |scene, _| view.show(scene))
    } else {
        plain::introduce(&playground.scene);
        playground.turn(&events, end, |scene, second| {
            if second {
                plain::show(scene);
            }
            Ok(())
        })
    };
    let finished = playground.finish();
    turned.and(finished)
}

/// Everything that runs, and what is known of it.
#[derive(Debug)]
struct Playground {
    clients: Vec<Client>,
    world: World,
    ledgers: Ledgers,
    scene: Scene,
    start: Instant,
}

/// Requests of one kind, sent all the time.
#[derive(Debug)]
struct Client {
    load: Load,
    protocol: Protocol,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Udp,
}

impl Playground {
    fn build(options: &Options) -> Result<Self> {
        let world = World::build(options)?;
        let (client, lb) = (world.client().name(), world.lb_name());
        let Options { udp, ipv6, .. } = *options;
        let mut scene = Scene::new(client, lb, &programs::sluice()?, Traffic { udp, ipv6 });
        scene.look(sampler::take(&world.cli(), None));
        let clients = Client::kinds(options);
        Ok(Self {
            clients: clients
                .map(|(protocol, family)| Client::start(world.client(), protocol, family))
                .collect(),
            world,
            ledgers: Ledgers::default(),
            scene,
            start: Instant::now(),
        })
    }

    /// Until it is to end. `show` is told whether another second has passed.
    fn turn(
        &mut self,
        events: &Receiver<Event>,
        end: Option<Instant>,
        mut show: impl FnMut(&Scene, bool) -> Result<()>,
    ) -> Result<()> {
        let mut next_second = self.start + SECOND;
        loop {
            match events.recv_timeout(TICK) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Event::Sample(sample)) => self.scene.look(sample.map(|sample| *sample)),
                Ok(Event::Request(request)) => self.answer(request),
                Ok(Event::Resized) | Err(RecvTimeoutError::Timeout) => {}
            }
            for client in &self.clients {
                let ledger = client.protocol.ledger(&mut self.ledgers);
                ledger.record_all(client.family, client.load.drain());
            }
            let state = self.world.daemon_state()?;
            if let DaemonState::Ended(status) = state {
                return self.lament(status);
            }
            let now = Instant::now();
            let second = now >= next_second;
            if second {
                next_second += SECOND;
                self.scene.rates = self.ledgers.http.end_second();
                self.scene.udp_rates = self.ledgers.udp.end_second();
            }
            self.scene.update(now - self.start, state, &self.ledgers);
            show(&self.scene, second)?;
            if end.is_some_and(|end| now >= end) {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, request: Request) {
        let Request {
            action,
            target,
            answer,
        } = request;
        let result = self.world.act(action, &target, &mut self.ledgers);
        let result = result.map_err(|error| format!("{error:#}"));
        if let Ok(done) = &result {
            self.scene.tell(self.start.elapsed(), done);
        }
        // Whoever asked may have left.
        let _ = answer.send(result);
    }

    fn lament(&self, status: ExitStatus) -> Result<()> {
        bail!(
            "the daemon ended by itself: {status}\n{}",
            self.world.daemon_log()
        )
    }

    /// Waits for what is under way, sums up, and removes everything.
    fn finish(self) -> Result<()> {
        let Self {
            clients,
            world,
            mut ledgers,
            mut scene,
            start,
        } = self;
        let elapsed = start.elapsed();
        let mut kinds = Vec::new();
        for client in clients {
            let ledger = client.protocol.ledger(&mut ledgers);
            ledger.record_all(client.family, client.load.end()?);
            kinds.push((client.protocol, client.family));
        }
        scene.look(sampler::take(&world.cli(), None));
        scene.update(elapsed, DaemonState::Running, &ledgers);
        println!("{}", scene.summary());
        world.stop_foreign_daemon();
        drop(world);
        for (protocol, family) in kinds {
            judge(protocol, family, protocol.ledger(&mut ledgers))?;
        }
        Ok(())
    }
}

impl Client {
    fn kinds(options: &Options) -> impl Iterator<Item = (Protocol, Family)> {
        let Options { udp, ipv6, .. } = *options;
        let all = [Protocol::Http, Protocol::Udp]
            .into_iter()
            .flat_map(|protocol| Family::ALL.map(|family| (protocol, family)));
        all.filter(move |(protocol, family)| {
            (udp || *protocol == Protocol::Http) && (ipv6 || *family == Family::Ipv4)
        })
    }

    fn start(host: &Host, protocol: Protocol, family: Family) -> Self {
        let vip = family.vip();
        let load = match protocol {
            Protocol::Http => Load::start(host, vip, PACE, TIMEOUTS),
            Protocol::Udp => Load::start_udp(host, vip, UDP_PACE, UDP_DEADLINE),
        };
        Self {
            load,
            protocol,
            family,
        }
    }
}

impl Protocol {
    fn ledger(self, ledgers: &mut Ledgers) -> &mut Ledger {
        match self {
            Self::Http => &mut ledgers.http,
            Self::Udp => &mut ledgers.udp,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Udp => "UDP",
        }
    }
}

/// Fails where a request did that was not excused, or where nobody answered.
fn judge(protocol: Protocol, family: Family, ledger: &Ledger) -> Result<()> {
    let what = protocol.word();
    match (ledger.unexcused, ledger.answered_by(family)) {
        (0, 0) => bail!("no {what} request to {} was answered", family.vip()),
        (0, _) => Ok(()),
        (failed, _) => {
            let why = ledger.first_error.as_deref().unwrap_or_default();
            bail!("{failed} {what} requests failed without a death to excuse it; the first: {why}")
        }
    }
}

/// The handlers are in place when this returns.
fn watch_signals(events: Sender<Event>) -> Result<()> {
    let (ready, is_ready) = sync_channel(1);
    thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let kinds = [
                SignalKind::interrupt(),
                SignalKind::terminate(),
                SignalKind::hangup(),
            ];
            let signals: std::io::Result<Vec<_>> = kinds.into_iter().map(signal).collect();
            let Ok([mut interrupt, mut terminate, mut hangup]) =
                signals.map(|all| <[_; 3]>::try_from(all).expect("three signals"))
            else {
                return;
            };
            let _ = ready.send(());
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if events.send(Event::Stop).is_err() {
                    return;
                }
            }
        });
    });
    is_ready.recv().context("watching for signals")
}
