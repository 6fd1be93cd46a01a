//! Clients that do not behave.

use std::time::Instant;

use super::*;
use crate::admin::{places::MAX_CONNECTIONS, server::MAX_HEADER_BYTES};

/// Of nobody's patience.
const SOON: Duration = Duration::from_secs(1);

fn assert_code(answer: &str, code: u16) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {code} ")),
        "not {code}: {answer}"
    );
}

fn assert_error(answer: &str, code: u16) {
    assert_code(answer, code);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(!body["error"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_asked_well_is_answered_with_an_error_as_json() {
    let daemon = Daemon::new().await;
    for (request, code) in [
        ("GET /", 404),
        ("GET /v1/status/", 404),
        ("GET /v1/%00%ff/../..", 404),
        ("POST /v1/status", 405),
        ("GET /v1/reload", 405),
        ("GET /v1/trace?limit=0", 400),
        ("GET /v1/trace?limit=-1", 400),
        ("GET /v1/trace?limit=many", 400),
        ("GET /v1/trace?colour=red", 400),
    ] {
        let answer = say(
            &daemon.socket,
            format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        )
        .await;
        assert_error(&answer, code);
    }
    daemon.assert_well().await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let daemon = Daemon::start(Script::default(), SHORT).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\r\n\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1/trace?service=%ff%fe%zz HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &every_byte,
        &[0; 4096],
    ] {
        let answer = say(&daemon.socket, garbage).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{garbage:?}: {answer}"
        );
    }
    daemon.assert_well().await;
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let daemon = Daemon::new().await;
    let padding = "x".repeat(MAX_HEADER_BYTES);
    let request = format!("GET /v1/status HTTP/1.1\r\nHost: x\r\nPadding: {padding}\r\n\r\n");
    assert_code(&say(&daemon.socket, request.as_bytes()).await, 431);
    let many = "A: b\r\n".repeat(1000);
    let request = format!("GET /v1/status HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert_code(&say(&daemon.socket, request.as_bytes()).await, 431);
    daemon.assert_well().await;
}

#[tokio::test]
async fn a_large_body_is_refused_and_never_waited_for() {
    let daemon = Daemon::new().await;
    let large = b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n";
    assert_error(&say(&daemon.socket, large).await, 413);
    // Announced, and never sent.
    let chunked = b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_code(&say(&daemon.socket, chunked).await, 200);
    daemon.assert_well().await;
}

#[tokio::test]
async fn a_silent_client_is_sent_away() {
    let daemon = Daemon::start(Script::default(), SHORT).await;
    for words in ["", "GET /v1/sta", "GET /v1/status HTTP/1.1\r\nHost: x\r\n"] {
        let answer = say(&daemon.socket, words.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{answer}"
        );
    }
    daemon.assert_well().await;
}

#[tokio::test]
async fn silent_clients_in_every_place_delay_nobody() {
    let daemon = Daemon::new().await;
    let _silent = be_silent(&daemon, 200).await;
    let asked = Instant::now();
    daemon.assert_well().await;
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn who_is_being_answered_is_not_cut_for_silent_clients() {
    let mut daemon = Daemon::new().await;
    let client = daemon.client();
    let mut trace = client.trace(&TraceOptions::default()).await.unwrap();
    let asked = in_time(daemon.asked.recv()).await.unwrap();
    let _silent = be_silent(&daemon, 3 * MAX_CONNECTIONS).await;
    daemon.assert_well().await;
    asked.lines.send("still here".to_owned()).await.unwrap();
    let line = in_time(trace.next()).await.unwrap().unwrap();
    assert_eq!(line, "still here\n");
}

/// Connects so many clients that say nothing; they stay for as long as the daemon lets them.
async fn be_silent(daemon: &Daemon, count: usize) -> Vec<UnixStream> {
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(in_time(UnixStream::connect(&daemon.socket)).await.unwrap());
    }
    silent
}

#[tokio::test]
async fn a_client_that_does_not_read_its_trace_loses_it() {
    let mut daemon = Daemon::start(Script::default(), SHORT).await;
    let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
    stream
        .write_all(b"GET /v1/trace HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let asked = in_time(daemon.asked.recv()).await.unwrap();
    let line = "x".repeat(1000);
    in_time(async { while asked.lines.send(line.clone()).await.is_ok() {} }).await;
    daemon.assert_well().await;
    drop(stream);
}
