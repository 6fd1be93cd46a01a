//! Running a command as a named step: what runs is printed before, how long it took after.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Runs `command` to its end.
///
/// # Errors
/// When it does not start or does not succeed.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<()> {
    announce(name, command);
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("starting {name}"))?;
    if !status.success() {
        bail!(
            "{name} failed after {} ({status})",
            seconds(start.elapsed())
        );
    }
    println!("== {name}: ok, {}", seconds(start.elapsed()));
    Ok(())
}

/// Prints what is about to run, in a form that can be pasted into a shell where that matters.
pub(crate) fn announce(name: &str, command: &Command) {
    println!("== {name}: {}", line(command));
}

/// How times are printed: to a tenth of a second.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn line(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let args = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_the_folder_of_its_program() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["fmt", "--check"]);
        assert_eq!(line(&command), "cargo fmt --check");
    }

    #[test]
    fn a_failing_step_says_its_name() {
        let error = run("nothing", &mut Command::new("false")).unwrap_err();
        assert!(
            error.to_string().starts_with("nothing failed after"),
            "{error}"
        );
    }
}
