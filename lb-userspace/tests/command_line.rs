//! The `sluice` binary against a daemon that has no data path: what it prints and how it exits.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command as Process, Output, Stdio},
};

use lb_userspace::{
    admin::{
        Command, ExplainQuery, Explanation, FlowPage, OverrideReport, Refusal, ReloadReport,
        Status, bind,
        flows::{Flow, FlowState, FlowTable},
        status::Admin,
    },
    overrides::{Change, Target},
};
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

const STATUS: &str = r#"{"schema":1,"version":"0.1.0","abi":1,"instance":"default","pid":1,"uptime_s":12,
 "config":{"path":null,"generation":1,"loaded_at":null,"last_reload":null},"interfaces":[],
 "services":[{"name":"web","listen":["tcp://203.0.113.80:80"],"forward":"dnat","scheduler":"maglev","table_size":7,
   "slots":{"stable":7,"transition":0,"tracked":0},"packets":0,"bytes":0,"new_flows":0,
   "backends":[{"name":"web-1","address":"10.0.1.11:8080","weight":1,"effective_weight":1,"admin":"enabled","health":"up","neighbor":"resolved",
     "slots":7,"packets":0,"bytes":0,"new_flows":0,"last_check":null}]}],
 "verdicts":{"tx":0,"redirect":0,"pass":0,"drop":0},"drops":{}}"#;

/// A daemon that answers like this, on threads of its own.
struct Daemon {
    folder: TempDir,
    _runtime: Runtime,
    trace_ended: oneshot::Receiver<()>,
}

impl Daemon {
    fn start(status: Status, reload: Result<ReloadReport, Refusal>) -> Self {
        let folder = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let (ended, trace_ended) = oneshot::channel();
        let bound = runtime
            .block_on(bind(folder.path().join("admin.sock")))
            .unwrap();
        let (commands, mut received) = mpsc::channel(1);
        runtime.spawn(bound.serve(commands, std::future::pending()));
        runtime.spawn(async move {
            let mut ended = Some(ended);
            while let Some(command) = received.recv().await {
                match command {
                    Command::Status(reply) => drop(reply.send(status.clone())),
                    Command::Reload(reply) => drop(reply.send(reload.clone())),
                    Command::Override {
                        target,
                        change,
                        reply,
                    } => drop(reply.send(changed(&target, change))),
                    Command::Flows { reply, .. } => drop(reply.send(Ok(FlowPage {
                        flows: vec![flow(); 3],
                        next: None,
                    }))),
                    Command::Explain { query, reply } => drop(reply.send(Ok(explained(query)))),
                    Command::Trace { options: _, reply } => {
                        // One line, and then no packet for ever.
                        let (lines, receiver) = mpsc::channel(1);
                        lines.send("a packet".to_owned()).await.unwrap();
                        drop(reply.send(Ok(receiver)));
                        let ended = ended.take();
                        tokio::spawn(async move {
                            lines.closed().await;
                            ended.map(|e| e.send(()))
                        });
                    }
                }
            }
        });
        Self {
            folder,
            _runtime: runtime,
            trace_ended,
        }
    }

    fn healthy() -> Self {
        Self::start(
            serde_json::from_str(STATUS).unwrap(),
            Ok(ReloadReport::default()),
        )
    }

    fn sluice(&self, line: &str) -> Process {
        sluice(&self.folder.path().join("admin.sock"), line)
    }
}

fn sluice(socket: &Path, line: &str) -> Process {
    let mut process = Process::new(env!("CARGO_BIN_EXE_sluice"));
    process
        .args(line.split_whitespace())
        .env("SLUICE_SOCKET", socket)
        .env_remove("SLUICE_INSTANCE")
        .stdin(Stdio::null());
    process
}

/// The backend `web-1` of two does as it is told; there is no other.
fn changed(target: &Target, change: Change) -> Result<OverrideReport, Refusal> {
    if *target.backend != *"web-1" {
        return Err(Refusal::bad_request(
            "service `web` has no backend `wbe-1`, did you mean `web-1`?",
        ));
    }
    Ok(OverrideReport {
        service: target.service.to_string(),
        backend: target.backend.to_string(),
        changed: true,
        admin: match change {
            Change::Drain => Admin::Draining,
            Change::Disable => Admin::Disabled,
            _ => Admin::Enabled,
        },
        weight: Some(match change {
            Change::Weight(weight) => weight,
            _ => 1,
        }),
        takes_new: !matches!(change, Change::Drain | Change::Disable),
        remaining: 1,
        warnings: vec!["the disk is old".to_owned()],
    })
}

fn flow() -> Flow {
    Flow {
        protocol: "tcp".to_owned(),
        source: "192.0.2.7:40000".to_owned(),
        destination: "203.0.113.80:80".to_owned(),
        service: Some("web".to_owned()),
        backend: Some("web-1".to_owned()),
        state: FlowState::Established,
        idle_s: 1,
        table: FlowTable::Transition,
    }
}

/// The program agrees for every client but the one at port 666.
fn explained(query: ExplainQuery) -> Explanation {
    Explanation {
        connection: query,
        service: None,
        tracking: None,
        slot: None,
        entry: None,
        packets: Vec::new(),
        agrees: query.source.port() != 666,
    }
}

/// Exit code, standard output, standard error.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn end(mut process: Process) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = process.output().unwrap();
    Ended {
        code: status.code().expect("not killed"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

#[test]
fn the_version_needs_no_daemon() {
    let ended = end(sluice(Path::new("/nonexistent"), "version"));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.starts_with("sluice 0."), "{}", ended.out);
}

#[test]
fn wrong_usage_exits_with_2() {
    let ended = end(sluice(Path::new("/nonexistent"), "trace --limit none"));
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
}

#[test]
fn without_a_daemon_every_client_says_so_in_one_line() {
    for line in [
        "status",
        "status --output json",
        "reload",
        "trace",
        "drain web/web-1",
        "weight web/web-1 3",
        "flows",
        "explain tcp 192.0.2.7:1 203.0.113.80:80",
    ] {
        let ended = end(sluice(Path::new("/nonexistent/admin.sock"), line));
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{line}");
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        assert!(ended.err.contains("/nonexistent/admin.sock"));
    }
}

#[test]
fn a_healthy_status_exits_with_0() {
    let daemon = Daemon::healthy();
    let ended = end(daemon.sluice("status"));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("web-1"), "{}", ended.out);
    let ended = end(daemon.sluice("status --output json"));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let status: Status = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(status, serde_json::from_str(STATUS).unwrap());
}

#[test]
fn an_unhealthy_status_exits_with_3() {
    let status = serde_json::from_str(&STATUS.replace(r#""up""#, r#""down""#)).unwrap();
    let daemon = Daemon::start(status, Ok(ReloadReport::default()));
    for line in ["status", "status --output json"] {
        assert_eq!(end(daemon.sluice(line)).code, 3, "{line}");
    }
}

#[test]
fn a_reload_exits_with_78_only_if_the_configuration_is_not_valid() {
    let status: Status = serde_json::from_str(STATUS).unwrap();
    let problems = "sluice.toml:3: a\nsluice.toml:9: b";
    for (answer, code) in [
        (Ok(ReloadReport::default()), 0),
        (Err(Refusal::invalid_config(problems)), 78),
        (Err(Refusal::unavailable(problems)), 1),
    ] {
        let failed = answer.is_err();
        let daemon = Daemon::start(status.clone(), answer);
        let ended = end(daemon.sluice("reload"));
        assert_eq!(ended.code, code, "{}", ended.err);
        assert_eq!(ended.err.contains(problems), failed, "{}", ended.err);
    }
}

/// A daemon whose `web-1` is in this state.
fn daemon_with(admin: &str, drained: &str) -> Daemon {
    let status = STATUS.replace(r#""admin":"enabled""#, &format!(r#""admin":"{admin}""#));
    let last = r#""last_check":null"#;
    let status = status.replace(last, &format!(r#"{last},"flows":5{drained}"#));
    let status = serde_json::from_str(&status).unwrap();
    Daemon::start(status, Ok(ReloadReport::default()))
}

#[test]
fn a_change_of_a_backend_says_what_holds_now() {
    let daemon = Daemon::healthy();
    for (line, words) in [
        ("drain web/web-1", "web/web-1 is draining"),
        ("disable web/web-1", "web/web-1 is disabled"),
        ("undrain web/web-1", "web/web-1 is enabled, with weight 1"),
        ("enable web/web-1 --reset", "web/web-1 is enabled"),
        ("weight web/web-1 7", "web/web-1 is enabled, with weight 7"),
        ("weight web/web-1 --reset", "with weight 1"),
    ] {
        let ended = end(daemon.sluice(line));
        assert_eq!(ended.code, 0, "{line}: {}", ended.err);
        assert!(ended.out.contains(words), "{line}: {}", ended.out);
        assert!(ended.out.contains("1 backend of web takes new connections"));
        assert_eq!(ended.err, "warning: the disk is old\n", "{line}");
        let ended = end(daemon.sluice(&format!("{line} --output json")));
        let report: OverrideReport = serde_json::from_str(&ended.out).unwrap();
        assert_eq!((ended.code, report.remaining), (0, 1), "{line}");
    }
    let ended = end(daemon.sluice("drain web/wbe-1"));
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert_eq!(
        ended.err,
        "sluice: service `web` has no backend `wbe-1`, did you mean `web-1`?\n"
    );
}

#[test]
fn waiting_for_a_drain_ends_when_it_is_done_or_in_vain() {
    for (admin, drained, code, words) in [
        ("draining", r#","drained":true"#, 0, "web/web-1 is drained"),
        (
            "draining",
            r#","drained":false"#,
            3,
            "is not drained after 0s: 5 connections of it are remembered",
        ),
        ("draining", "", 3, "is not drained after 0s"),
        ("enabled", "", 3, "somebody took that back"),
    ] {
        let daemon = daemon_with(admin, drained);
        let ended = end(daemon.sluice("drain web/web-1 --wait --timeout 300ms"));
        assert_eq!(ended.code, code, "{admin} {drained}: {}", ended.err);
        assert!(ended.err.contains(words), "{}", ended.err);
    }
    // What cannot be drained is not waited for.
    let daemon = daemon_with("draining", "");
    assert_eq!(end(daemon.sluice("drain web/other --wait")).code, 1);
}

#[test]
fn flows_are_listed_and_counted() {
    let daemon = Daemon::healthy();
    let ended = end(daemon.sluice("flows --limit 2"));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.out.lines().count(), 3, "{}", ended.out);
    assert!(ended.err.contains("more than 2"), "{}", ended.err);
    let ended = end(daemon.sluice("flows --count"));
    assert!(ended.out.ends_with("3 in all\n"), "{}", ended.out);
    let ended = end(daemon.sluice("flows --output json"));
    let list: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(list["flows"].as_array().unwrap().len(), 3);
    assert_eq!(list["more"], false);
}

#[test]
fn a_program_that_disagrees_with_the_rules_is_a_failure() {
    let daemon = Daemon::healthy();
    for (port, code) in [(667, 0), (666, 1)] {
        for format in ["table", "json"] {
            let line = format!("explain tcp 192.0.2.7:{port} 203.0.113.80:80 --output {format}");
            let ended = end(daemon.sluice(&line));
            assert_eq!(ended.code, code, "{line}: {}", ended.err);
            assert!(ended.out.contains("192.0.2.7"), "{}", ended.out);
        }
    }
}

#[test]
fn a_trace_ends_with_its_reader_though_no_packet_comes() {
    let daemon = Daemon::healthy();
    let mut trace = daemon
        .sluice("trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(trace.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "a packet\n");
    // The reader is gone here.
    let ended = trace.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    daemon.trace_ended.blocking_recv().unwrap();
}

#[test]
fn ctrl_c_ends_a_trace_and_the_daemon_notices() {
    let daemon = Daemon::healthy();
    let mut trace = daemon
        .sluice("trace")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(trace.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(trace.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(trace.wait().unwrap().code(), Some(0));
    daemon.trace_ended.blocking_recv().unwrap();
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let daemon = Daemon::healthy();
    for line in [
        "status",
        "status --output json",
        "version",
        "help",
        "help run",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut process = daemon.sluice(line);
        process.stdout(writer);
        process.stderr(Stdio::piped());
        let output = process.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{line}");
    }
}
