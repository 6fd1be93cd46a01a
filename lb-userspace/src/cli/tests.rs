use clap::{CommandFactory, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn refusal(line: &str) -> ErrorKind {
    let error = parse(line).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}");
    error.kind()
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_parses() {
    for line in [
        "sluice run",
        "sluice run --config a.toml --interface eth0 --interface eth1 --xdp-mode generic",
        "sluice check a.toml",
        "sluice --instance a-1 status --output json",
        "sluice status --socket /tmp/s",
        "sluice reload",
        "sluice drain web/web-1",
        "sluice drain web/10.0.1.11:8080 --wait --timeout 90s",
        "sluice undrain web/web-1",
        "sluice disable web/web-1",
        "sluice enable web/web-1 --reset",
        "sluice weight web/web-1 0",
        "sluice weight web/web-1 256",
        "sluice weight web/web-1 --reset",
        "sluice flows",
        "sluice flows --service web --backend web-1 --limit 10",
        "sluice flows --count",
        "sluice explain tcp 192.0.2.7:40000 203.0.113.80:80",
        "sluice detach",
        "sluice decap --interface eth0 --from 10.0.0.1",
        "sluice decap --interface eth0 --interface eth1 --from 10.0.0.0/24 --from fd00::/64 \
         --gue-port 5555 --xdp-mode native --bpffs /run/bpf --instance tunnels",
        "sluice decap --counters --output json",
        "sluice decap --detach --instance tunnels",
        "sluice trace --service web --limit 10",
        "sluice version",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn what_is_wrong_is_refused_as_usage() {
    for (line, kind) in [
        ("sluice status --instance Web", ErrorKind::ValueValidation),
        ("sluice status --instance ../x", ErrorKind::ValueValidation),
        (
            "sluice status --instance 123456789012345678901234567890123",
            ErrorKind::ValueValidation,
        ),
        ("sluice status --output xml", ErrorKind::InvalidValue),
        ("sluice run --xdp-mode fast", ErrorKind::InvalidValue),
        ("sluice trace --limit 0", ErrorKind::ValueValidation),
        ("sluice drain web", ErrorKind::ValueValidation),
        ("sluice drain /web-1", ErrorKind::ValueValidation),
        (
            "sluice drain web/web-1 --timeout 1s",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "sluice drain web/web-1 --wait --timeout soon",
            ErrorKind::ValueValidation,
        ),
        ("sluice weight web/web-1 257", ErrorKind::ValueValidation),
        (
            "sluice weight web/web-1",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "sluice weight web/web-1 1 --reset",
            ErrorKind::ArgumentConflict,
        ),
        ("sluice flows --limit 0", ErrorKind::ValueValidation),
        (
            "sluice flows --limit 9 --count",
            ErrorKind::ArgumentConflict,
        ),
        (
            "sluice explain icmp 192.0.2.7:1 203.0.113.80:80",
            ErrorKind::InvalidValue,
        ),
        (
            "sluice explain tcp 192.0.2.7 203.0.113.80:80",
            ErrorKind::ValueValidation,
        ),
        (
            "sluice decap --from 10.0.0.1",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "sluice decap --interface eth0 --from lb1",
            ErrorKind::ValueValidation,
        ),
        (
            "sluice decap --interface eth0 --from 0.0.0.0/0",
            ErrorKind::ValueValidation,
        ),
        (
            "sluice decap --interface eth0 --from 10.0.0.1 --gue-port 0",
            ErrorKind::ValueValidation,
        ),
        (
            "sluice decap --interface a/b --from 10.0.0.1",
            ErrorKind::ValueValidation,
        ),
        (
            "sluice decap --counters --interface eth0",
            ErrorKind::ArgumentConflict,
        ),
        ("sluice check", ErrorKind::MissingRequiredArgument),
        ("sluice fly", ErrorKind::InvalidSubcommand),
    ] {
        assert_eq!(refusal(line), kind, "{line}");
    }
}

#[test]
fn the_socket_wins_over_the_instance() {
    let client = |line| parse(line).unwrap().global.client();
    assert_eq!(
        client("sluice status --instance a --socket /tmp/s").socket(),
        "/tmp/s"
    );
    assert_eq!(
        client("sluice status --instance a").socket(),
        "/run/sluice/a/admin.sock"
    );
}

#[test]
fn exit_codes_are_those_of_the_help() {
    for (exit, code) in [
        (Exit::Done, 0),
        (Exit::Failed, 1),
        (Exit::Usage, 2),
        (Exit::Different, 3),
        (Exit::InvalidConfig, 78),
    ] {
        assert_eq!(ExitCode::from(exit), ExitCode::from(code));
        assert!(EXIT_CODES.contains(&format!("\n  {code} ")));
    }
}
