//! Tables for people: no lines around cells, so that `grep` and `awk` like them, too.

use comfy_table::{CellAlignment, Table, presets};

/// A table without lines. Columns of numbers, marked by a `>`, stand to the right.
pub(super) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|c| c.trim_start_matches('>')));
    for (column, name) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if name.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A cell that may have nothing to say.
pub(super) fn dash(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("-")
}
