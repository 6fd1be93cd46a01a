//! What a run found: every figure, what was left out and why; as a table and as JSON.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
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
        let text = fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
        let Version { schema } = serde_json::from_str(&text)
            .with_context(|| format!("{shown} is not a report of this benchmark"))?;
        ensure!(
            schema == SCHEMA,
            "{shown} is of version {schema}, this is version {SCHEMA}: measure it anew"
        );
        serde_json::from_str(&text).with_context(|| format!("{shown} is not a whole report"))
    }

    /// Writes it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("composing the report")? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
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
    fn the_table_names_what_was_left_out() {
        let table = report().table();
        assert!(
            table.contains("relay") && table.contains("left out: control: no room"),
            "{table}"
        );
    }
}
