//! `sluice trace` shows packets, and is gone without a trace.

use std::time::Duration;

use anyhow::Result;
use testbed::{cli::stderr, poll, site::Site};

const SOON: Duration = Duration::from_secs(10);
const VERDICTS: [&str; 4] = ["tx", "redirect", "pass", "drop"];

#[test]
fn a_limited_trace_prints_that_many_verdicts_and_costs_no_request() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let programs = site.programs()?;
    let load = site.load();
    let output = site.daemon.cli().run(&["trace", "--limit", "5"])?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    for line in lines {
        let line = line.to_lowercase();
        assert!(
            VERDICTS.iter().any(|verdict| line.contains(verdict)),
            "no verdict: {line}"
        );
    }
    poll::until_true("the tracing program to be gone", SOON, || {
        site.programs().is_ok_and(|now| now == programs)
    })?;
    load.wait_for(50, SOON)?;
    let report = load.finish()?;
    assert!(
        report.failures.is_empty(),
        "{report}\n{}",
        site.daemon.log_tail()
    );
    Ok(())
}

#[test]
fn a_trace_that_is_broken_off_leaves_nothing_behind() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let programs = site.programs()?;
    let load = site.load();
    let mut command = site.daemon.cli().command(&["trace"])?;
    command.stdout(std::process::Stdio::null());
    let trace = testbed::process::Process::spawn(command)?;
    poll::until_true("the tracing program", SOON, || {
        site.programs().is_ok_and(|now| now != programs)
    })?;
    // SIGKILL: it can say no farewell.
    drop(trace);
    poll::until_true("the tracing program to be gone", SOON, || {
        site.programs().is_ok_and(|now| now == programs)
    })?;
    let report = load.finish()?;
    assert!(
        report.failures.is_empty(),
        "{report}\n{}",
        site.daemon.log_tail()
    );
    Ok(())
}
