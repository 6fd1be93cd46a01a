//! What a run found: every figure, what was left out and why; as a table and as JSON.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::figure::{Figure, Spread};

/// The version of the file; raised when the meaning of a field changes.
pub(crate) const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    /// Kernel release and number of CPUs: figures of other machines do not compare.
    pub(crate) kernel: String,
    pub(crate) cpus: usize,
    /// Whether it was a quick run.
    pub(crate) quick: bool,
    pub(crate) figures: Vec<Figure>,
    /// Benchmarks that did not run to their end, with the reason.
    pub(crate) left_out: Vec<LeftOut>,
}

/// A benchmark that did not run to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) bench: String,
    pub(crate) why: String,
}

impl Report {
    /// Empty, on this machine.
    pub(crate) fn new(quick: bool) -> Result<Self> {
        let name = nix::sys::utsname::uname().context("asking for the kernel's version")?;
        Ok(Self {
            schema: SCHEMA,
            kernel: name.release().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            quick,
            figures: Vec::new(),
            left_out: Vec::new(),
        })
    }

    /// Notes what did not run to its end, and why, in one line.
    pub(crate) fn leave_out(&mut self, bench: &str, error: &anyhow::Error) {
        let why = format!("{error:#}");
        let lines: Vec<_> = why.lines().map(str::trim).collect();
        self.left_out.push(LeftOut {
            bench: bench.to_owned(),
            why: lines.join("; "),
        });
    }

    /// Whether both were measured on the same machine, as far as that can be told.
    pub(crate) fn is_of_machine_of(&self, other: &Self) -> bool {
        (&self.kernel, self.cpus) == (&other.kernel, other.cpus)
    }

    /// Reads what an earlier run wrote.
    ///
    /// # Errors
    /// Where it cannot be read, or another version wrote it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }

        let shown = path.display();
        let text = fs::read(path).with_context(|| format!("reading {shown}"))?;
        let Version { schema } = serde_json::from_slice(&text).map_err(|error| {
            anyhow!("{shown} is not a report ({error}): give a file that --json wrote")
        })?;
        ensure!(
            schema == SCHEMA,
            "{shown} is of version {schema}, this is version {SCHEMA}: measure it anew"
        );
        serde_json::from_slice(&text)
            .map_err(|error| anyhow!("{shown} is not a whole report ({error}): measure it anew"))
    }

    /// Writes it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("composing the report")? + "\n";
        save(path, &text)
    }

    /// The figures as tables, one a benchmark, and what was left out.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut benches: Vec<_> = self.figures.iter().map(|f| f.bench.as_str()).collect();
        benches.dedup();
        for bench in benches {
            text += &format!("\n{bench} ({}, {} CPUs)\n", self.kernel, self.cpus);
            let rows = self.figures.iter().filter(|figure| figure.bench == bench);
            text += &table(rows);
            text.push('\n');
        }
        for LeftOut { bench, why } in &self.left_out {
            text += &format!("\nleft out: {bench}: {why}\n");
        }
        text
    }
}

/// Looks whether a file could be written, before all that is to be written.
///
/// # Errors
/// Where there is a folder, or none to put it into.
pub(crate) fn find_place(path: &Path) -> Result<()> {
    let shown = path.display();
    ensure!(
        !path.is_dir(),
        "{shown} is a folder: name a file, in it or elsewhere"
    );
    let folder = path.parent().unwrap_or(path);
    ensure!(
        folder.as_os_str().is_empty() || folder.is_dir(),
        "{shown} cannot be written: there is no folder {}; make it, or name another place",
        folder.display()
    );
    Ok(())
}

/// Writes a file whole, or leaves none.
pub(crate) fn save(path: &Path, text: &str) -> Result<()> {
    let written = fs::write(path, text);
    // A device is not ours to remove.
    if written.is_err() && path.is_file() {
        let _ = fs::remove_file(path);
    }
    written.with_context(|| {
        let shown = path.display();
        format!("{shown} cannot be written: make room for it, or name another place")
    })
}

fn table<'a>(figures: impl Iterator<Item = &'a Figure>) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "case", "flows", "unit", "min", "median", "max", "CPU", "floor", "relative", "goal",
        "reached",
    ]);
    for figure in figures {
        let Figure {
            bench: _,
            case,
            chart: _,
            flows,
            unit,
            more_is_better: _,
            total,
            cpu,
            floor,
            relative,
            goal,
            reached,
            required: _,
        } = figure;
        let median = |spread: &Option<Spread>| {
            spread
                .as_ref()
                .map_or_else(String::new, |spread| number(spread.median))
        };
        table.add_row([
            case.clone(),
            flows.map_or_else(String::new, |flows| flows.to_string()),
            unit.clone(),
            number(total.minimum),
            number(total.median),
            number(total.maximum),
            median(cpu),
            median(floor),
            relative.map_or_else(String::new, |value| format!("{value:.2}")),
            goal.clone().unwrap_or_default(),
            match reached {
                Some(true) => "yes".to_owned(),
                Some(false) => "no".to_owned(),
                None => String::new(),
            },
        ]);
    }
    for column in [1, 3, 4, 5, 6, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// Three digits that mean something; counts as they are.
fn number(value: f64) -> String {
    match value.abs() {
        whole if whole.fract() == 0.0 => format!("{value:.0}"),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(true).unwrap();
        report
            .figures
            .push(Figure::new("veth", "relay", "Mpps", &[3.9]));
        report.left_out.push(LeftOut {
            bench: "control".to_owned(),
            why: "no room".to_owned(),
        });
        report
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        report().write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap().figures, report().figures);
    }

    #[test]
    fn a_report_of_another_version_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, r#"{"schema":0,"old":[]}"#).unwrap();
        let error = format!("{:#}", Report::read(&path).unwrap_err());
        assert!(
            error.contains("version 0") && !error.contains('\n'),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_report_is_refused_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let whole = serde_json::to_string(&report()).unwrap();
        for (text, hint) in [
            ("", "--json wrote"),
            ("{\"jobs\":[]}", "--json wrote"),
            (&whole[..whole.len() / 2], "--json wrote"),
            ("{\"schema\":1}", "measure it anew"),
        ] {
            fs::write(&path, text).unwrap();
            let error = format!("{:#}", Report::read(&path).unwrap_err());
            assert!(error.contains(hint) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_reason_of_several_lines_is_told_in_one() {
        let mut report = report();
        report.leave_out("veth", &anyhow::anyhow!("the daemon ended:\n  no room\n"));
        let LeftOut { bench: _, why } = report.left_out.last().unwrap();
        assert_eq!(why, "the daemon ended:; no room");
    }

    #[test]
    fn what_cannot_be_written_says_where_and_what_to_do() {
        let error = report().write(Path::new("/proc/report.json")).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.starts_with("/proc/report.json cannot be written: make room"),
            "{error}"
        );
        for (path, hint) in [("/proc", "name a file"), ("/proc/no/x.json", "make it")] {
            let error = find_place(Path::new(path)).unwrap_err().to_string();
            assert!(error.starts_with(path) && error.contains(hint), "{error}");
        }
        assert!(find_place(Path::new("x.json")).is_ok());
    }

    #[test]
    fn the_table_names_what_was_left_out() {
        let table = report().table();
        assert!(
            table.contains("relay") && table.contains("left out: control: no room"),
            "{table}"
        );
    }
}
