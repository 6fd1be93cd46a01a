//! What the requests do.

use super::*;
use crate::admin::{ClientError, RefusalKind, Version};

#[tokio::test]
async fn the_status_arrives_as_the_controller_gave_it() {
    let daemon = Daemon::new().await;
    daemon.assert_well().await;
    let json = daemon.client().status_json().await.unwrap();
    assert_eq!(
        json,
        serde_json::to_string(&fixtures::status())
            .unwrap()
            .as_bytes()
    );
}

#[tokio::test]
async fn the_version_needs_no_controller() {
    let daemon = Daemon::new().await;
    assert_eq!(daemon.client().version().await.unwrap(), Version::current());
}

#[tokio::test]
async fn a_reload_tells_what_changed() {
    let report = ReloadReport {
        generation: 4,
        changes: vec!["service web: backend web-3 added".to_owned()],
        warnings: vec!["daemon.seed: missing".to_owned()],
        read_ms: 1.5,
        applied_ms: 0.25,
    };
    let script = Script {
        reload: Ok(report.clone()),
        ..Script::default()
    };
    let daemon = Daemon::start(script, Patience::default()).await;
    assert_eq!(daemon.client().reload().await.unwrap(), report);
}

#[tokio::test]
async fn a_refusal_keeps_its_kind_and_every_line() {
    let message = "sluice.toml:3: a\nsluice.toml:9: b";
    for (kind, code) in [
        (RefusalKind::BadRequest, 400),
        (RefusalKind::Conflict, 409),
        (RefusalKind::InvalidConfig, 422),
        (RefusalKind::Unavailable, 503),
    ] {
        let script = Script {
            reload: Err(Refusal {
                kind,
                message: message.to_owned(),
            }),
            ..Script::default()
        };
        let daemon = Daemon::start(script, Patience::default()).await;
        let error = daemon.client().reload().await.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(
            error.is_invalid_config(),
            kind == RefusalKind::InvalidConfig
        );
        assert!(matches!(error, ClientError::Refused { code: c, .. } if c == code));
    }
}

#[tokio::test]
async fn a_trace_streams_its_lines_and_ends_with_them() {
    let mut daemon = Daemon::new().await;
    let options = TraceOptions {
        service: Some("a name & more".to_owned()),
        limit: None,
    };
    let mut trace = daemon.client().trace(&options).await.unwrap();
    let asked = daemon.asked.recv().await.unwrap();
    assert_eq!(asked.options, options);
    for line in ["one", "two"] {
        asked.lines.send(line.to_owned()).await.unwrap();
        // It comes at once, not when there is more.
        let heard = in_time(trace.next()).await.unwrap().unwrap();
        assert_eq!(heard, format!("{line}\n"));
    }
    drop(asked);
    assert_eq!(in_time(trace.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_trace_ends_behind_its_limit() {
    let mut daemon = Daemon::new().await;
    let options = TraceOptions {
        service: None,
        limit: Some(2),
    };
    let mut trace = daemon.client().trace(&options).await.unwrap();
    let asked = daemon.asked.recv().await.unwrap();
    assert_eq!(asked.options, options);
    let talk = tokio::spawn(async move {
        let mut sent = 0;
        while asked.lines.send("line".to_owned()).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let mut heard = Vec::new();
    while let Some(bytes) = in_time(trace.next()).await.unwrap() {
        heard.extend_from_slice(&bytes);
    }
    assert_eq!(heard, b"line\nline\n");
    assert!(in_time(talk).await.unwrap() >= 2);
}

#[tokio::test]
async fn the_controller_notices_that_the_client_of_a_trace_is_gone() {
    let mut daemon = Daemon::new().await;
    let trace = daemon
        .client()
        .trace(&TraceOptions::default())
        .await
        .unwrap();
    let asked = daemon.asked.recv().await.unwrap();
    assert!(!asked.lines.is_closed());
    drop(trace);
    // Without a packet, too.
    in_time(asked.lines.closed()).await;
}

#[tokio::test]
async fn a_trace_can_be_refused() {
    let script = Script {
        trace: Err(Refusal::conflict("somebody traces already")),
        ..Script::default()
    };
    let daemon = Daemon::start(script, Patience::default()).await;
    let error = daemon
        .client()
        .trace(&TraceOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(&error, ClientError::Refused { code: 409, .. }));
    assert_eq!(error.to_string(), "somebody traces already");
}

#[tokio::test]
async fn a_daemon_without_controller_says_that_it_stops() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("admin.sock");
    let bound = bind(&socket).await.unwrap();
    let (commands, received) = mpsc::channel(1);
    drop(received);
    tokio::spawn(bound.serve(commands, std::future::pending()));
    let error = in_time(Client::new(&socket).status()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: 503, .. }));
}

#[tokio::test]
async fn stopping_ends_a_trace_that_the_controller_forgot() {
    let mut daemon = Daemon::start(Script::default(), SHORT).await;
    let mut trace = daemon
        .client()
        .trace(&TraceOptions::default())
        .await
        .unwrap();
    let asked = daemon.asked.recv().await.unwrap();
    daemon.stop.send(()).unwrap();
    in_time(daemon.server).await.unwrap();
    assert!(matches!(
        in_time(trace.next()).await,
        Err(ClientError::Broken { .. })
    ));
    in_time(asked.lines.closed()).await;
    assert!(matches!(
        Client::new(&daemon.socket).status().await,
        Err(ClientError::Unreachable { .. })
    ));
}
