//! `control`: what the daemon does besides packets, with 10, 100 and 1,000 services of 100 backends.
//!
//! First the daemon's own parts, one by one: the table, the plan, its writes, and both again after
//! one backend has changed. Then the daemon as a whole: from its start to the first packet that comes
//! out at a backend, its memory, a reload.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::{
    admin::ReloadReport,
    config,
    dataplane::{Dataplane, Options},
    plan::{self, Desired, Endpoint, Image, Scope, Seed, maglev},
};
use nix::sys::signal::Signal;
use testbed::{
    cli::Cli,
    packets::{Side, backend_mac},
    process::Process,
    programs, sweep,
};

use crate::{
    cases::TWO_PORTS,
    ends::{Arriving, Ends},
    figure::{Figure, Goal, Part},
    progress::Progress,
    world::{self, Net, SEED, Shape, TABLE_SIZE},
};

/// Backends of each service.
const BACKENDS: u8 = 100;

/// How long a start, and an end, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    runs: u32,
    services: &'static [u32],
}

impl Effort {
    /// For a quick run, or a whole one.
    pub(crate) const fn of(quick: bool) -> Self {
        if quick {
            Self {
                runs: 3,
                services: &[10, 100],
            }
        } else {
            Self {
                runs: 7,
                services: &[10, 100, 1000],
            }
        }
    }
}

/// Times of one number of services, in milliseconds.
#[derive(Debug, Default)]
struct Times {
    parse: Vec<f64>,
    load: Vec<f64>,
    plan: Vec<f64>,
    apply: Vec<f64>,
    replan: Vec<f64>,
    reapply: Vec<f64>,
    first_packet: Vec<f64>,
    reload: Vec<f64>,
    reload_parse: Vec<f64>,
    memory: Vec<f64>,
}

/// Measures every number of services, whatever becomes of the others.
pub(crate) fn run(effort: Effort, progress: &Progress) -> Vec<Part> {
    let steps = effort.services.len() as u64 * u64::from(effort.runs);
    progress.begin("control", steps);
    let mut parts = vec![("control, a table".to_owned(), tables(effort.runs))];
    // Of the smallest number, if that could be measured.
    let mut bases = None;
    for (number, services) in effort.services.iter().enumerate() {
        let figures = with(*services, effort.runs, progress).map(|(mut figures, mut judged)| {
            if number == 0 {
                bases = Some(judged.each_ref().map(|figure| figure.total.median));
            }
            for (figure, base) in judged.iter_mut().zip(bases.into_iter().flatten()) {
                // The goal is on the change of one backend: how much it grows with the number of
                // services.
                figure.relative = Some(figure.total.median / base);
                figure.judge(Goal::AtMost(2.0), &[]);
            }
            figures.extend(judged);
            figures
        });
        parts.push((format!("control, {services} services"), figures));
    }
    parts
}

/// Measures one number of services: all figures, and apart those that a goal is on.
fn with(services: u32, runs: u32, progress: &Progress) -> Result<(Vec<Figure>, [Figure; 2])> {
    let shape = Shape {
        services,
        backends: BACKENDS,
        ..TWO_PORTS
    };
    let mut times = Times::default();
    for _ in 0..runs {
        parts(shape, &mut times)?;
        whole(shape, &mut times)?;
        progress.step();
    }
    Ok(rows(services, &times))
}

/// One service's table.
fn tables(runs: u32) -> Result<Vec<Figure>> {
    let shape = Shape {
        backends: BACKENDS,
        ..TWO_PORTS
    };
    let weights = world::backend_addresses(shape)
        .map(|address| {
            let endpoint = Endpoint {
                address,
                port: Some(80),
            };
            (endpoint, 1)
        })
        .collect();
    let key = Seed::derive(Some(SEED)).table;
    let mut times = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        let table = maglev::table(&weights, TABLE_SIZE, key);
        times.push(milliseconds(start));
        ensure!(table.len() == TABLE_SIZE as usize, "the table is not full");
    }
    let name = format!("table of {TABLE_SIZE} slots for {BACKENDS} backends");
    Ok(vec![Figure::new("control", name, "ms", &times)])
}

/// The daemon's parts, each by itself.
fn parts(shape: Shape, times: &mut Times) -> Result<()> {
    let net = Net::build(shape, 1)?;
    let text = world::text(&net.name, shape);
    let start = Instant::now();
    let model = config::parse("bench", &text)?.model;
    times.parse.push(milliseconds(start));
    let seed = Seed::derive(model.daemon.seed.as_deref());

    let start = Instant::now();
    let (mut dataplane, mut image) = Dataplane::open(Options {
        bpffs: &model.daemon.bpffs,
        instance: &net.name,
        limits: model.limits,
        settings: plan::settings(&model),
    })?;
    times.load.push(milliseconds(start));
    let measure = || -> Result<()> {
        let port = net.assign_ports(&mut dataplane)?;
        let mut model = model;
        let views = world::views(&model, port)?;
        let mut reconcile = |model: &_, image: &mut Image, scope| -> Result<[f64; 2]> {
            let desired = Desired {
                model,
                views: &views,
                overrides: &BTreeMap::new(),
                seed: &seed,
                progress: plan::Progress::none(),
                scope,
            };
            let start = Instant::now();
            let plan = plan::reconcile(&desired, image)?;
            let planned = milliseconds(start);
            let start = Instant::now();
            dataplane.apply(&plan, image)?;
            Ok([planned, milliseconds(start)])
        };
        let [planned, applied] = reconcile(&model, &mut image, Scope::All)?;
        times.plan.push(planned);
        times.apply.push(applied);
        let service = model.services.last_mut().context("there are services")?;
        service
            .backends
            .first_mut()
            .context("with backends")?
            .weight = 0;
        // As the daemon does when it hears of a backend.
        let changed = BTreeSet::from([Arc::clone(&service.name)]);
        let [planned, applied] = reconcile(&model, &mut image, Scope::Services(&changed))?;
        times.replan.push(planned);
        times.reapply.push(applied);
        Ok(())
    };
    let result = measure();
    dataplane.remove()?;
    result
}

/// The daemon: from its start to the first packet, memory, a reload.
fn whole(shape: Shape, times: &mut Times) -> Result<()> {
    let net = Net::build(shape, 1)?;
    for address in world::backend_addresses(shape) {
        let mac = backend_mac(world::last_octet(address));
        net.host.set_neighbour(Side::Back.name(), address, mac)?;
    }
    let folder = tempfile::Builder::new().prefix(&net.name).tempdir()?;
    let path = folder.path().join("sluice.toml");
    let state = format!(
        "seed = \"{SEED}\"\nstate_dir = \"{}\"",
        folder.path().display()
    );
    let text = world::text(&net.name, shape).replace(&format!("seed = \"{SEED}\""), &state);
    fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
    let mut ends = Ends::build(&net, Arriving::ForBackends)?;

    let mut command = net.host.command(programs::sluice()?);
    let log = folder.path().join("daemon.log");
    command.arg("run").arg("--config").arg(&path);
    command
        .stdout(fs::File::create(&log)?)
        .stderr(fs::File::options().append(true).open(&log)?);
    let start = Instant::now();
    let mut daemon = Process::spawn(command)?;
    let result = (|| {
        wait_for_packet(&mut daemon, &mut ends, &net, &log)?;
        times.first_packet.push(milliseconds(start));
        times.memory.push(memory(daemon.pid())?);
        // The first backend of the first service drains.
        fs::write(&path, text.replacen("weight = 1", "weight = 0", 1))?;
        // Not inside the namespace: entering it takes a fork of this process and all its memory, which is
        // no part of what an operator waits for.
        let cli = Cli::new(&net.name);
        // Packets are forwarded some moments before the daemon can be asked.
        let socket = Path::new("/run/sluice").join(&net.name).join("admin.sock");
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            ensure!(
                Instant::now() < deadline,
                "the daemon made no admin socket within {PATIENCE:?}"
            );
            thread::sleep(Duration::from_millis(1));
        }
        // An answer shows that it has done what belongs to its start.
        let listed = cli.run(&["flows", "--count"])?;
        ensure!(listed.status.success(), "the daemon listed no flows");
        let start = Instant::now();
        let reloaded = cli.run(&["--output", "json", "reload"])?;
        times.reload.push(milliseconds(start));
        ensure!(
            reloaded.status.success(),
            "the daemon refused a reload: {}",
            String::from_utf8_lossy(&reloaded.stderr).trim()
        );
        let report: ReloadReport =
            serde_json::from_slice(&reloaded.stdout).context("reading what the reload tells")?;
        times.reload_parse.push(report.read_ms);
        Ok(())
    })();
    daemon.signal(Signal::SIGTERM);
    daemon.wait(PATIENCE)?;
    sweep::remove_instance(&net.name);
    result
}

/// Sends frames until one has come out at a backend.
fn wait_for_packet(daemon: &mut Process, ends: &mut Ends, net: &Net, log: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Until a program is on the other end, frames are dropped, and where there is no receiver at
        // all, refused.
        ends.reset()?;
        ends.send(&net.peer, 1, 1)?;
        let received = ends.arrived(1, Duration::from_millis(1))?;
        if received.packets > received.wrong {
            return Ok(());
        }
        let ended = daemon.try_wait()?.is_some();
        let said = || fs::read_to_string(log).unwrap_or_default();
        ensure!(!ended, "the daemon ended: {}", said().trim());
        ensure!(
            Instant::now() < deadline,
            "no packet came through: {}",
            said().trim()
        );
    }
}

/// The figures of one number of services, and apart those that a goal is on.
fn rows(services: u32, times: &Times) -> (Vec<Figure>, [Figure; 2]) {
    let Times {
        parse,
        load,
        plan,
        apply,
        replan,
        reapply,
        first_packet,
        reload,
        reload_parse,
        memory,
    } = times;
    let row = |what: &str, unit: &str, values: &[f64]| {
        Figure::new(
            "control",
            format!("{services} services: {what}"),
            unit,
            values,
        )
    };
    let both: Vec<_> = replan.iter().zip(reapply).map(|(a, b)| a + b).collect();
    let rest: Vec<_> = (reload.iter().zip(reload_parse))
        .map(|(all, parse)| all - parse)
        .collect();
    let figures = vec![
        row("parse the file", "ms", parse),
        row("load the program", "ms", load),
        row("first plan", "ms", plan),
        row("apply it", "ms", apply),
        row(
            "start of the daemon to its first packet",
            "ms",
            first_packet,
        ),
        row(
            "memory of the daemon, mapped tables included",
            "MiB",
            memory,
        ),
        row("sluice reload after one backend changed", "ms", reload),
        row("plan for one changed backend", "ms", replan),
        row("apply it for one changed backend", "ms", reapply),
    ];
    let judged = [
        row("plan and apply for one changed backend", "ms", &both),
        row("that reload, parsing aside", "ms", &rest),
    ];
    (figures, judged)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// Resident memory in MiB.
fn memory(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading its status")?;
    let kilobytes: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .context("the kernel does not tell its memory")?
        .trim()
        .parse()?;
    Ok(kilobytes / 1024.0)
}
