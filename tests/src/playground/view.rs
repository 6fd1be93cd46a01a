//! With a terminal: the live view.

use std::{sync::mpsc::Sender, thread};

use anyhow::{Context, Result};
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event as Input, KeyCode, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Cell, Paragraph, Row as TableRow, Table, Wrap},
};

use crate::{
    ledger::HISTORY,
    run::Event,
    scene::{Daemon, Row, Scene, in_brackets},
};

/// The terminal while it is ours; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct View {
    terminal: DefaultTerminal,
}

impl View {
    /// Takes the terminal; keys become events.
    pub(crate) fn open(events: Sender<Event>) -> Result<Self> {
        let terminal = ratatui::try_init().context("opening the terminal")?;
        thread::spawn(move || read_keys(&events));
        Ok(Self { terminal })
    }

    /// Draws.
    pub(crate) fn show(&mut self, scene: &Scene) -> Result<()> {
        self.terminal
            .draw(|frame| draw(frame, scene))
            .context("drawing")?;
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn read_keys(events: &Sender<Event>) {
    while let Ok(input) = event::read() {
        let event = match input {
            Input::Resize(..) => Event::Resized,
            Input::Key(key) => {
                let interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if !interrupt && !matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    continue;
                }
                Event::Stop
            }
            _ => continue,
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

fn draw(frame: &mut Frame<'_>, scene: &Scene) {
    let rows = u16::try_from(scene.backends.len()).unwrap_or(u16::MAX);
    let hints = u16::try_from(scene.hints.len()).unwrap_or(u16::MAX);
    let areas = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(rows.saturating_add(3)),
        Constraint::Length(hints.saturating_add(2)),
        Constraint::Min(3),
    ]);
    let [head, table, commands, news] = areas.areas(frame.area());
    frame.render_widget(header(scene), head);
    frame.render_widget(backends(scene), table);
    frame.render_widget(to_try(scene), commands);
    frame.render_widget(happened(scene), news);
}

fn header(scene: &Scene) -> Paragraph<'static> {
    let by_udp = scene.udp.unwrap_or_default();
    let excused = scene.excused + by_udp.excused;
    let udp = match scene.udp {
        Some(udp) => format!("and {} by UDP{}, ", udp.requests, in_brackets(udp.by_ipv6)),
        None => String::new(),
    };
    let failed = Span::styled(
        format!("{} failed", scene.failed + by_udp.failed),
        if scene.failed + by_udp.failed == excused {
            Color::Green
        } else {
            Color::Red
        },
    );
    let excused = match excused {
        0 => String::new(),
        excused => format!(" ({excused} before a death was noticed)"),
    };
    let line = Line::from(vec![
        format!(
            "{}s   {} requests{}, {udp}",
            scene.elapsed.as_secs(),
            scene.requests,
            in_brackets(scene.by_ipv6),
        )
        .into(),
        failed,
        format!(
            "{excused}   {}/s   XDP saw {} packets",
            scene.rate() + scene.udp_rate(),
            scene.packets_seen()
        )
        .into(),
    ]);
    let modes = scene
        .modes()
        .map_or_else(String::new, |modes| format!(": {modes}"));
    let title = format!(" Sluice playground{modes} ");
    Paragraph::new(line).block(Block::bordered().title(title.bold()))
}

fn backends(scene: &Scene) -> Table<'static> {
    let history = u16::try_from(HISTORY).unwrap_or(u16::MAX);
    let widths = [
        Constraint::Length(8),
        Constraint::Length(18),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7 * u16::from(scene.udp.is_some())),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Max(history),
    ];
    let titles = [
        "backend", "address", "health", "slots", "req/s", "udp/s", "pkt/s", "requests", "",
    ];
    let highest = scene
        .backends
        .iter()
        .flat_map(|row| row.history.iter().copied())
        .max();
    let rows = scene
        .backends
        .iter()
        .map(|row| backend(row, highest.unwrap_or(0)));
    Table::new(rows, widths)
        .header(TableRow::new(titles).style(Modifier::DIM))
        .block(Block::bordered().title(" backends "))
}

fn backend(row: &Row, highest: u64) -> TableRow<'static> {
    let colour = match row.health.as_str() {
        "up" => Color::Green,
        "down" => Color::Red,
        _ => Color::Yellow,
    };
    TableRow::new([
        Cell::from(row.name.clone()),
        Cell::from(row.address.clone()),
        Cell::from(row.health.clone()).style(colour),
        Cell::from(format!("{:.1}%", row.share)),
        Cell::from(row.request_rate.to_string()),
        Cell::from(row.udp_rate.to_string()),
        Cell::from(row.packet_rate.to_string()),
        Cell::from(row.requests.to_string()),
        Cell::from(graph(&row.history, highest)).style(Color::Cyan),
    ])
}

fn to_try(scene: &Scene) -> Paragraph<'static> {
    let lines: Vec<_> = scene
        .hints
        .iter()
        .map(|hint| {
            Line::from(vec![
                hint.command.clone().bold(),
                Span::styled(format!("   {}", hint.what), Modifier::DIM),
            ])
        })
        .collect();
    Paragraph::new(lines).block(Block::bordered().title(" try, from a second terminal "))
}

fn happened(scene: &Scene) -> Paragraph<'static> {
    let (daemon, style) = match &scene.daemon {
        Daemon::Running { pid } => (format!("the daemon runs, process {pid}"), Style::new()),
        Daemon::Silent => (
            "the daemon does not answer".to_owned(),
            Style::new().yellow(),
        ),
        Daemon::Killed { restart } => {
            let text =
                format!("the daemon was killed, packets keep flowing. Restart it: {restart}");
            (text, Style::new().yellow())
        }
    };
    let mut lines = vec![Line::styled(daemon, style)];
    lines.extend(scene.news.iter().cloned().map(Line::from));
    Paragraph::new(lines)
        .wrap(Wrap { trim: false })
        .block(Block::bordered().title(" q or Ctrl-C ends it "))
}

/// A character a second, eight heights.
fn graph(history: &[u64], highest: u64) -> String {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |value: u64| {
        let step = (value * 8).div_ceil(highest.max(1));
        HEIGHTS[usize::try_from(step.min(8)).unwrap_or(0)]
    };
    history.iter().map(|value| height(*value)).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        time::{Duration, Instant},
    };

    use ratatui::{Terminal, backend::TestBackend};
    use testbed::{load::Outcome, mode::Family, status::Status};

    use super::*;
    use crate::{ledger::Ledgers, plain, sampler::Sample, scene::Traffic, world::DaemonState};

    const STATUS: &str = r#"{
        "instance": "playground", "pid": 4711, "interfaces": [], "drops": {}, "alarms": [], "warnings": [],
        "plans": {"applied": 1, "writes": 9, "slots_written": 16381, "slots_moved": 0, "barriers": 0},
        "config": {"generation": 1, "last_reload": null},
        "verdicts": {"redirect": 600, "pass": 12},
        "services": [{
            "name": "web", "forward": "dnat", "table_size": 16381,
            "slots": {"stable": 16381, "transition": 0, "tracked": 0}, "packets": 600, "bytes": 36000, "new_flows": 100,
            "backends": [
                {"name": "b1", "weight": 1, "effective_weight": 1, "admin": "enabled",
                 "address": "10.77.2.11:80", "health": "up", "neighbor": "resolved", "slots": 16381,
                 "packets": 600, "bytes": 36000, "new_flows": 100},
                {"name": "b2", "weight": 1, "effective_weight": 1, "admin": "enabled",
                 "address": "10.77.2.12:80", "health": "down", "neighbor": "failed", "slots": 0,
                 "packets": 0, "bytes": 0, "new_flows": 0}
            ]
        }]
    }"#;

    fn drawn(scene: &Scene) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).expect("a terminal");
        terminal
            .draw(|frame| draw(frame, scene))
            .expect("a drawing");
        terminal.backend().to_string()
    }

    #[test]
    fn the_view_shows_backends_the_daemon_and_what_to_try() {
        let status = Status::parse(STATUS).expect("a status");
        let mut scene = Scene::new(
            "sluice-client",
            "sluice-lb",
            Path::new("target/debug/sluice"),
            Traffic::default(),
        );
        scene.look(Some(Sample::first(status)));
        scene.tell(Duration::from_secs(7), "b2 is killed");
        scene.update(
            Duration::from_secs(9),
            DaemonState::Running,
            &Ledgers::default(),
        );
        let screen = drawn(&scene);
        for text in [
            "XDP saw 612 packets",
            "10.77.2.11:80",
            "100.0%",
            "ip netns exec sluice-client curl http://10.77.0.80/",
            "cargo xtask playground kill b2",
            "--socket /run/sluice/playground/admin.sock status",
            "process 4711",
            "7s  b2 is killed",
        ] {
            assert!(screen.contains(text), "`{text}` is not in:\n{screen}");
        }

        scene.look(None);
        scene.update(
            Duration::from_secs(10),
            DaemonState::Killed,
            &Ledgers::default(),
        );
        let screen = drawn(&scene);
        assert!(
            screen.contains("packets keep flowing. Restart it: "),
            "{screen}"
        );
        assert!(
            screen.contains("nsenter --net=/run/netns/sluice-lb"),
            "{screen}"
        );
    }

    #[test]
    fn udp_is_shown_where_there_is_a_service_for_it() {
        let status = Status::parse(STATUS).expect("a status");
        let path = Path::new("target/debug/sluice");
        for (udp, shown) in [(true, true), (false, false)] {
            let traffic = Traffic { udp, ipv6: false };
            let mut scene = Scene::new("sluice-client", "sluice-lb", path, traffic);
            scene.look(Some(Sample::first(status.clone())));
            scene.udp_rates.insert("b1".to_owned(), 93);
            let mut ledgers = Ledgers::default();
            let now = Instant::now();
            let answered = |backend: &str| Outcome {
                started: now,
                ended: now,
                result: Ok(backend.to_owned()),
            };
            let family = Family::Ipv4;
            ledgers.http.record_all(family, [answered("b1")]);
            ledgers
                .udp
                .record_all(family, [answered("b1"), answered("b1")]);
            scene.update(Duration::from_secs(9), DaemonState::Running, &ledgers);
            let screen = drawn(&scene);
            for text in ["and 2 by UDP", "udp/s", " 93 "] {
                assert_eq!(screen.contains(text), shown, "`{text}`:\n{screen}");
            }
            let line = plain::line(&scene);
            assert_eq!(line.contains("2 UDP (93/s), 0 failed"), shown, "{line}");
            assert_eq!(line.contains("93 udp/s"), shown, "{line}");
            let summary = scene.summary();
            assert_eq!(summary.contains("2 UDP requests"), shown, "{summary}");
        }
    }

    #[test]
    fn requests_by_ipv6_are_told_apart() {
        let status = Status::parse(STATUS).expect("a status");
        let path = Path::new("target/debug/sluice");
        let traffic = Traffic {
            udp: true,
            ipv6: true,
        };
        let mut scene = Scene::new("sluice-client", "sluice-lb", path, traffic);
        scene.look(Some(Sample::first(status)));
        let mut ledgers = Ledgers::default();
        let now = Instant::now();
        let outcome = |result| Outcome {
            started: now,
            ended: now,
            result,
        };
        let answered = || outcome(Ok("b1".to_owned()));
        ledgers
            .http
            .record_all(Family::Ipv4, [answered(), answered()]);
        ledgers.http.record_all(Family::Ipv6, [answered()]);
        let failed = outcome(Err("no answer".to_owned()));
        ledgers.udp.record_all(Family::Ipv6, [answered(), failed]);
        scene.update(Duration::from_secs(9), DaemonState::Running, &ledgers);
        let screen = drawn(&scene);
        for text in [
            "3 requests (1 by IPv6), and 2 by UDP (2 by IPv6), 1 failed",
            "curl 'http://[fd77::80]/'",
        ] {
            assert!(screen.contains(text), "`{text}` is not in:\n{screen}");
        }
        let line = plain::line(&scene);
        assert!(line.contains("3 requests (1 by IPv6) ("), "{line}");
        assert!(line.contains("2 UDP (2 by IPv6) ("), "{line}");
        let summary = scene.summary();
        assert!(summary.contains(" IPv4 and IPv6, "), "{summary}");
        assert!(summary.contains("2 (2 by IPv6), failed 1 "), "{summary}");
    }

    #[test]
    fn the_graph_shows_nothing_for_zero_and_something_for_one() {
        assert_eq!(graph(&[0, 1, 50, 100], 100), " ▁▄█");
        assert_eq!(graph(&[0, 0], 0), "  ");
    }
}
