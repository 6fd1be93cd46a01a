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
    scene::{Daemon, Row, Scene},
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
    let failed = Span::styled(
        format!("{} failed", scene.failed),
        if scene.failed == scene.excused {
            Color::Green
        } else {
            Color::Red
        },
    );
    let excused = match scene.excused {
        0 => String::new(),
        excused => format!(" ({excused} before a death was noticed)"),
    };
    let line = Line::from(vec![
        format!(
            "{}s   {} requests, ",
            scene.elapsed.as_secs(),
            scene.requests
        )
        .into(),
        failed,
        format!(
            "{excused}   {}/s   XDP saw {} packets",
            scene.rate(),
            scene.packets_seen()
        )
        .into(),
    ]);
    Paragraph::new(line).block(Block::bordered().title(" Sluice playground ".bold()))
}

fn backends(scene: &Scene) -> Table<'static> {
    let history = u16::try_from(HISTORY).unwrap_or(u16::MAX);
    let widths = [
        Constraint::Length(8),
        Constraint::Length(18),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Max(history),
    ];
    let titles = [
        "backend", "address", "health", "slots", "req/s", "pkt/s", "requests", "",
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
    use super::*;

    #[test]
    fn the_graph_shows_nothing_for_zero_and_something_for_one() {
        assert_eq!(graph(&[0, 1, 50, 100], 100), " ▁▄█");
        assert_eq!(graph(&[0, 0], 0), "  ");
    }
}
