//! Changes of backends: every one arrives as it was asked for.

use super::*;
use crate::admin::{ClientError, status::Admin};

/// Tells what it was asked in the answer's warnings.
fn echo(target: &Target, change: Change) -> Result<OverrideReport, Refusal> {
    Ok(OverrideReport {
        service: target.service.to_string(),
        backend: target.backend.to_string(),
        changed: true,
        admin: Admin::Draining,
        weight: Some(1),
        takes_new: false,
        remaining: 2,
        warnings: vec![format!("{change:?}")],
    })
}

async fn echoing() -> Daemon {
    let script = Script {
        change: echo,
        ..Script::default()
    };
    Daemon::start(script, Patience::default()).await
}

#[tokio::test]
async fn each_change_arrives_whole() {
    let daemon = echoing().await;
    let target: Target = "a.b:c/[fd00::1]:80".parse().unwrap();
    for change in [
        Change::Drain,
        Change::Undrain,
        Change::Disable,
        Change::Enable,
        Change::Weight(0),
        Change::Weight(256),
        Change::ResetWeight,
        Change::Reset,
    ] {
        let report = daemon.client().change(&target, change).await.unwrap();
        assert_eq!(report, echo(&target, change).unwrap());
    }
}

#[tokio::test]
async fn a_change_that_makes_no_sense_never_reaches_the_controller() {
    let daemon = echoing().await;
    for (query, why) in [
        ("", "missing field"),
        ("service=a&backend=b", "missing field"),
        ("service=a&backend=b&change=explode", "unknown variant"),
        ("service=a&backend=b&change=drain&x=1", "unknown field"),
        ("service=a&backend=b&change=weight", "needs weight=N"),
        (
            "service=a&backend=b&change=weight&weight=257",
            "out of range",
        ),
        ("service=a&backend=b&change=weight&weight=-1", "invalid"),
        (
            "service=a&backend=b&change=drain&weight=1",
            "goes with change=weight",
        ),
    ] {
        let request =
            format!("POST /v1/override?{query} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
        let answer = say(&daemon.socket, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{query}: {answer}");
        assert!(answer.contains(why), "{query}: {answer}");
    }
    let answer = say(
        &daemon.socket,
        b"GET /v1/override?service=a&backend=b&change=drain HTTP/1.1\r\nHost: s\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test]
async fn a_change_can_be_refused() {
    let daemon = Daemon::new().await;
    let target: Target = "web/b1".parse().unwrap();
    let error = daemon.client().change(&target, Change::Drain).await;
    assert!(matches!(error, Err(ClientError::Refused { code: 503, .. })));
}
