//! `sluice drain|undrain|enable|disable|weight SERVICE/BACKEND`: what the operator says of a backend.

use clap::Args;

use super::{Exit, Format, Global, block_on, drained, output};
use crate::{
    admin::{OverrideReport, status::Admin},
    overrides::{Change, Target},
};

#[derive(Debug, Args)]
pub(super) struct Drain {
    /// The backend, by the names of `sluice status`
    #[arg(value_name = "SERVICE/BACKEND")]
    target: Target,
    /// Return when none of its connections is left; exit code 3 if that takes longer than --timeout
    #[arg(long)]
    wait: bool,
    /// How long to wait, such as 90s or 10m [default: as long as it takes]
    #[arg(long, requires = "wait", value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<std::time::Duration>,
}

/// For commands that take nothing else.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The backend, by the names of `sluice status`
    #[arg(value_name = "SERVICE/BACKEND")]
    target: Target,
}

#[derive(Debug, Args)]
pub(super) struct Enable {
    /// The backend, by the names of `sluice status`
    #[arg(value_name = "SERVICE/BACKEND")]
    target: Target,
    /// Forget all that was said of it, its weight too: the configuration holds again
    #[arg(long)]
    reset: bool,
}

#[derive(Debug, Args)]
pub(super) struct Weight {
    /// The backend, by the names of `sluice status`
    #[arg(value_name = "SERVICE/BACKEND")]
    target: Target,
    /// Its part of new connections relative to the others'; 0: none
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(0..=Change::MAX_WEIGHT as i64))]
    #[arg(required_unless_present = "reset", conflicts_with = "reset")]
    weight: Option<u16>,
    /// The configured weight again
    #[arg(long)]
    reset: bool,
}

pub(super) fn drain(args: &Drain, global: &Global) -> anyhow::Result<Exit> {
    let Drain {
        target,
        wait,
        timeout,
    } = args;
    change(target, Change::Drain, global)?;
    if *wait {
        block_on(drained::wait(&global.client(), target, *timeout))
    } else {
        Ok(Exit::Done)
    }
}

pub(super) fn undrain(args: &Named, global: &Global) -> anyhow::Result<Exit> {
    change(&args.target, Change::Undrain, global)
}

pub(super) fn disable(args: &Named, global: &Global) -> anyhow::Result<Exit> {
    change(&args.target, Change::Disable, global)
}

pub(super) fn enable(args: &Enable, global: &Global) -> anyhow::Result<Exit> {
    let Enable { target, reset } = args;
    let change = if *reset {
        Change::Reset
    } else {
        Change::Enable
    };
    self::change(target, change, global)
}

pub(super) fn weight(args: &Weight, global: &Global) -> anyhow::Result<Exit> {
    let Weight {
        target,
        weight,
        reset: _,
    } = args;
    let change = weight.map_or(Change::ResetWeight, Change::Weight);
    self::change(target, change, global)
}

fn change(target: &Target, change: Change, global: &Global) -> anyhow::Result<Exit> {
    let client = global.client();
    let report = block_on(async { Ok(client.change(target, change).await?) })?;
    match global.output {
        Format::Json => output::print_json(&report)?,
        Format::Table => {
            for warning in &report.warnings {
                output::complain(format_args!("warning: {warning}"));
            }
            output::print(text(&report))?;
        }
    }
    Ok(Exit::Done)
}

fn text(report: &OverrideReport) -> String {
    let OverrideReport {
        service,
        backend,
        changed,
        admin,
        weight,
        takes_new,
        remaining,
        warnings: _,
    } = report;
    let already = if *changed { "" } else { " already" };
    let Some(weight) = weight else {
        return format!(
            "{service}/{backend} is not in the configuration; nothing is said of it any more"
        );
    };
    let state = match admin {
        Admin::Enabled => format!("is enabled{already}, with weight {weight}"),
        Admin::Draining => {
            format!("is draining{already}: it keeps its connections and gets no new ones")
        }
        Admin::Disabled => format!("is disabled{already}: it gets no packets, as if dead"),
    };
    let mut lines = vec![format!("{service}/{backend} {state}")];
    if *admin == Admin::Enabled && !takes_new {
        lines.push(
            "it gets no new connections yet: `sluice status` shows its health and next hop"
                .to_owned(),
        );
    }
    lines.push(match remaining {
        0 => format!("NO backend of {service} takes new connections: they are dropped"),
        1 => format!("1 backend of {service} takes new connections"),
        n => format!("{n} backends of {service} take new connections"),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> OverrideReport {
        OverrideReport {
            service: "web".to_owned(),
            backend: "web-1".to_owned(),
            changed: true,
            admin: Admin::Draining,
            weight: Some(1),
            takes_new: false,
            remaining: 2,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn it_says_what_holds_and_who_remains() {
        let mut report = report();
        assert_eq!(
            text(&report),
            "web/web-1 is draining: it keeps its connections and gets no new ones\n\
             2 backends of web take new connections"
        );
        report.changed = false;
        report.remaining = 1;
        assert_eq!(
            text(&report),
            "web/web-1 is draining already: it keeps its connections and gets no new ones\n\
             1 backend of web takes new connections"
        );
        report.admin = Admin::Disabled;
        report.remaining = 0;
        assert_eq!(
            text(&report),
            "web/web-1 is disabled already: it gets no packets, as if dead\n\
             NO backend of web takes new connections: they are dropped"
        );
    }

    #[test]
    fn enabled_is_not_yet_in_use() {
        let mut report = OverrideReport {
            admin: Admin::Enabled,
            weight: Some(5),
            takes_new: true,
            ..report()
        };
        assert_eq!(
            text(&report),
            "web/web-1 is enabled, with weight 5\n2 backends of web take new connections"
        );
        report.takes_new = false;
        assert!(text(&report).contains("it gets no new connections yet"));
        report.weight = None;
        assert_eq!(
            text(&report),
            "web/web-1 is not in the configuration; nothing is said of it any more"
        );
    }
}
