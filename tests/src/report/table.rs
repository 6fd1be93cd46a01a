//! The report for people.

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use testbed::{
    baseline::{self, Baseline},
    costs::{Costs, MEMORY_LIMIT, Map, Program},
};

/// Two tables, and a closing line on the baseline.
pub(crate) fn render(costs: &Costs, baseline: Option<&Baseline>) -> String {
    let Costs {
        kernel,
        arch,
        cpus,
        programs,
        maps,
        map_bytes,
        map_bytes_on_two_cpus,
        map_bytes_in_full_on_two_cpus,
        slot_writes_ns,
    } = costs;
    format!(
        "The program on kernel {kernel}, {arch}\n{}\n\n\
         The maps at the default limits, {cpus} CPUs\n{}\n\
         total {} MB; on 2 CPUs {} MB of the {} MB allowed, {} MB with every feature\n\
         65537 slots written through the mapping in {:.3} ms, the best of 25\n\n{}",
        program_table(programs),
        map_table(maps),
        megabytes(*map_bytes),
        megabytes(*map_bytes_on_two_cpus),
        MEMORY_LIMIT / 1_000_000,
        megabytes(*map_bytes_in_full_on_two_cpus),
        milliseconds(*slot_writes_ns),
        compared(costs, baseline),
    )
}

fn program_table(programs: &[Program]) -> Table {
    let mut table = table([
        "features",
        "in the object",
        "after the verifier",
        "verified",
        "stack",
        "jited",
        "load",
    ]);
    for program in programs {
        let Program {
            features,
            object_instructions,
            instructions,
            verified_instructions,
            stack,
            jited_bytes,
            load_us,
        } = program;
        table.add_row([
            features.clone(),
            object_instructions.to_string(),
            instructions.to_string(),
            verified_instructions.to_string(),
            format!("{stack} B"),
            format!("{jited_bytes} B"),
            format!("{:.1} ms", milliseconds(load_us * 1000)),
        ]);
    }
    table
}

fn map_table(maps: &[Map]) -> Table {
    let mut table = table(["map", "bytes", "MB", "MB, every feature", "per CPU"]);
    for Map {
        name,
        bytes,
        bytes_in_full,
        per_cpu,
    } in maps
    {
        table.add_row([
            name.clone(),
            bytes.to_string(),
            megabytes(*bytes),
            megabytes(*bytes_in_full),
            if *per_cpu { "yes" } else { "" }.to_owned(),
        ]);
    }
    table
}

fn compared(costs: &Costs, baseline: Option<&Baseline>) -> String {
    let file = baseline::path(&costs.kernel);
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    let Some(baseline) = baseline else {
        return format!(
            "no baseline for this kernel and processor: `{}` writes tests/baseline/{file}\n",
            baseline::HOW
        );
    };
    let complaints = baseline.complaints(costs);
    if complaints.is_empty() {
        return format!(
            "tests/baseline/{file}: nothing has grown by {} %\n",
            baseline::TOLERANCE
        );
    }
    format!("tests/baseline/{file}:\n  {}\n", complaints.join("\n  "))
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn megabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
