//! The one task that owns the state.
//!
//! Events come in (health, next hops, links, admin commands, signals); each batch of them leads to
//! one plan, and the plan to the fewest writes. Nobody else writes maps.

mod addresses;
mod alarms;
mod changes;
mod explain;
mod flows;
mod interfaces;
mod names;
mod overrides;
mod reload;
mod retired;
mod startup;
mod state;
mod status;
mod touched;
mod trace;
mod upkeep;
mod views;
mod written;

use std::{path::Path, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval, timeout},
};

pub use self::startup::Options;
use self::state::Controller;
use crate::{admin, config, dataplane, health, model::OnStop, neighbor, overrides as said, plan};

/// Events handled before one plan is made of them all.
const BATCH: usize = 4096;

/// How long the admin server may take to finish what it is answering.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why the daemon cannot run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is not valid, or cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Neither the configuration nor the command line names an interface.
    #[error(
        "no interface to attach to; add [[interface]] name = \"eth0\" to {file}, or use --interface"
    )]
    NoInterface {
        /// The configuration.
        file: String,
    },
    /// There is nothing to attach to.
    #[error(transparent)]
    Interface(#[from] crate::interfaces::Error),
    /// The pinned link holds an interface of the same name elsewhere.
    #[error(
        "interface {name} did not get the program: instance `{instance}` is attached in another \
         network namespace; use another instance there"
    )]
    NotAttached {
        /// As configured.
        name: String,
        /// The instance.
        instance: String,
    },
    /// What the operator said of backends cannot be read.
    #[error(transparent)]
    Overrides(#[from] said::Error),
    /// The data path refuses.
    #[error(transparent)]
    Dataplane(#[from] dataplane::Error),
    /// The limits are too small.
    #[error(transparent)]
    Plan(#[from] plan::PlanError),
    /// Netlink refuses.
    #[error("asking the kernel for routes and links: {0}")]
    Neighbor(#[from] neighbor::Error),
    /// The admin socket cannot be made.
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    /// Signals or sockets.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the configuration is at fault.
    pub const fn is_config(&self) -> bool {
        matches!(
            self,
            Self::Config(config::Error::Invalid { .. }) | Self::NoInterface { .. } | Self::Plan(_)
        )
    }
}

/// Where events come from.
struct Inbox {
    health: mpsc::Receiver<health::Event>,
    neighbor: mpsc::Receiver<neighbor::Event>,
    commands: mpsc::Receiver<admin::Command>,
    trace_ended: mpsc::Receiver<()>,
    look: Interval,
    tend: Interval,
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// One thing that happened.
enum Event {
    Health(health::Event),
    Neighbor(neighbor::Event),
    Command(admin::Command),
    TraceEnded,
    Look,
    Tend,
    HangUp,
    Stop,
}

impl Inbox {
    /// Waits for the next event.
    async fn next(&mut self) -> Event {
        tokio::select! {
            Some(event) = self.health.recv() => Event::Health(event),
            Some(event) = self.neighbor.recv() => Event::Neighbor(event),
            Some(command) = self.commands.recv() => Event::Command(command),
            Some(()) = self.trace_ended.recv() => Event::TraceEnded,
            _ = self.look.tick() => Event::Look,
            _ = self.tend.tick() => Event::Tend,
            Some(()) = self.hang_up.recv() => Event::HangUp,
            Some(()) = self.terminate.recv() => Event::Stop,
            Some(()) = self.interrupt.recv() => Event::Stop,
            else => Event::Stop,
        }
    }

    /// More of the kinds that come in numbers, if they are there already.
    fn more(&mut self) -> Option<Event> {
        self.health
            .try_recv()
            .map(Event::Health)
            .or_else(|_| self.neighbor.try_recv().map(Event::Neighbor))
            .ok()
    }
}

/// Runs the daemon until SIGTERM or SIGINT; calls `ready` once packets are handled and the admin
/// socket is there.
///
/// # Errors
/// Any [`Error`] of starting; nothing is left attached or pinned that was not before. Later
/// troubles are logged and shown in the status, and the data path goes on.
pub async fn run(options: Options, ready: impl FnOnce()) -> Result<(), Error> {
    let io = |doing| move |source| Error::Io { doing, source };
    let (trace_end, trace_ended) = mpsc::channel(1);
    let (command_sender, commands) = mpsc::channel(64);
    let startup::Started {
        mut controller,
        health,
        neighbor,
    } = startup::start(options, trace_end).await?;

    let bound = match admin::bind(controller.admin_socket()).await {
        Ok(bound) => bound,
        Err(error) => {
            controller.abandon().await;
            return Err(error.into());
        }
    };
    let mut inbox = Inbox {
        health,
        neighbor,
        commands,
        trace_ended,
        look: every(interfaces::LOOK),
        tend: every(upkeep::TURN),
        hang_up: signal(SignalKind::hangup()).map_err(io("listening for SIGHUP"))?,
        terminate: signal(SignalKind::terminate()).map_err(io("listening for SIGTERM"))?,
        interrupt: signal(SignalKind::interrupt()).map_err(io("listening for SIGINT"))?,
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(bound.serve(command_sender, async move {
        let _dropped_counts_too = stopped.await;
    }));
    controller.announce();
    ready();

    while controller.handle_batch(&mut inbox).await {}

    let _server_gone = stop.send(());
    if timeout(GOODBYE, server).await.is_err() {
        log::debug!("the admin server was still answering somebody");
    }
    controller.stop().await
}

impl Controller {
    /// Handles one event and what else is there, then makes the maps agree. `false`: stop.
    async fn handle_batch(&mut self, inbox: &mut Inbox) -> bool {
        let mut next = Some(inbox.next().await);
        let mut handled = 0;
        while let Some(event) = next {
            match event {
                Event::Health(event) => self.on_health(event),
                Event::Neighbor(event) => self.on_neighbor(event),
                Event::Command(command) => self.on_command(command).await,
                Event::TraceEnded => self.on_trace_ended(),
                Event::Look => self.on_look(),
                Event::Tend => self.on_tend(),
                Event::HangUp => self.on_hang_up().await,
                Event::Stop => return false,
            }
            handled += 1;
            next = if handled < BATCH { inbox.more() } else { None };
        }
        let look = self.watched.due;
        if look {
            self.tend_interfaces().await;
        }
        self.reconcile_or_log();
        if look {
            self.log_alarms();
        }
        true
    }

    async fn on_command(&mut self, command: admin::Command) {
        // A client that went away before its answer has nothing coming.
        match command {
            admin::Command::Status(reply) => {
                let _gone = reply.send(self.status());
            }
            admin::Command::Reload(reply) => {
                let _gone = reply.send(self.reload().await);
            }
            admin::Command::Override {
                target,
                change,
                reply,
            } => {
                let _gone = reply.send(self.change_backend(&target, change));
            }
            admin::Command::Flows { query, from, reply } => {
                let _gone = reply.send(self.flow_page(&query, from));
            }
            admin::Command::Explain { query, reply } => {
                let _gone = reply.send(self.explain(&query));
            }
            admin::Command::Trace { options, reply } => {
                let _gone = reply.send(self.start_trace(options));
            }
        }
    }

    async fn on_hang_up(&mut self) {
        if let Err(refusal) = self.reload().await {
            log::error!("reload failed, the old configuration stays: {refusal}");
        }
    }

    /// The end of a daemon that was told to stop.
    async fn stop(self) -> Result<(), Error> {
        match self.on_stop() {
            OnStop::Keep => {
                log::info!("stopping; the program stays attached and packets keep flowing");
                Ok(())
            }
            OnStop::Detach => {
                log::info!("stopping; detaching");
                self.remove().await
            }
        }
    }
}

/// What is done again and again; not in a hurry where some of it was missed.
fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What `sluice detach` does: removes what an instance left without a daemon. Returns what that was, a
/// line each.
///
/// # Errors
/// [`dataplane::Error`] while the instance's daemon runs, or where the kernel refuses.
pub async fn detach(bpffs: &Path, instance: &str, socket: &Path) -> Result<Vec<String>, Error> {
    dataplane::check_host()?;
    let mut removed = dataplane::remove(bpffs, instance)?;
    match neighbor::forget_managed().await? {
        0 => {}
        count => removed.push(format!("{count} neighbours no longer kept resolved")),
    }
    if admin::remove_stale(socket).await? {
        removed.push(format!("removed {}", socket.display()));
    }
    Ok(removed)
}
