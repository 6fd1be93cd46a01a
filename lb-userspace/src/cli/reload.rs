//! `sluice reload`: has the daemon read its configuration again, and shows what changed.

use super::{Exit, Format, Global, block_on, output};
use crate::admin::{ClientError, ReloadReport};

pub(super) fn run(global: &Global) -> anyhow::Result<Exit> {
    let client = global.client();
    let outcome = block_on(async { Ok(client.reload().await) })?;
    match (outcome, global.output) {
        (Ok(report), Format::Json) => output::print_json(&report)?,
        (Ok(report), Format::Table) => {
            for warning in &report.warnings {
                output::complain(format_args!("warning: {warning}"));
            }
            output::print(text(&report))?;
        }
        (Err(error), _) if error.is_invalid_config() => {
            complain(&error);
            return Ok(Exit::InvalidConfig);
        }
        (Err(error), _) => return Err(error.into()),
    }
    Ok(Exit::Done)
}

fn complain(error: &ClientError) {
    output::complain(error);
    output::complain("sluice: the configuration is not valid; the daemon keeps the one it has");
}

fn text(report: &ReloadReport) -> String {
    let ReloadReport {
        generation,
        changes,
        warnings: _,
        read_ms: _,
        applied_ms: _,
    } = report;
    if changes.is_empty() {
        return format!("nothing changed (generation {generation})");
    }
    let mut text = changes.join("\n");
    text.push_str(&format!("\nin force now (generation {generation})"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_changed() {
        let mut report = ReloadReport {
            generation: 4,
            changes: vec!["service web: backend web-3 added".to_owned()],
            ..ReloadReport::default()
        };
        assert_eq!(
            text(&report),
            "service web: backend web-3 added\nin force now (generation 4)"
        );
        report.changes.clear();
        assert_eq!(text(&report), "nothing changed (generation 4)");
    }
}
