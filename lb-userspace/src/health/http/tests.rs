//! Endpoints of every kind: each gets its verdict in time, with a reason to read.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use super::{socket::tests::left_behind, *};

/// For answers that come.
const PATIENT: Duration = Duration::from_secs(10);
/// For those that do not.
const SHORT: Duration = Duration::from_millis(300);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

/// Accepts connections for ever, each one left to a behaviour.
struct Endpoint {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Endpoint {
    async fn new<F>(behaviour: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(Ipv4Addr::LOCALHOST.into(), behaviour).await
    }

    async fn on<F>(address: IpAddr, behaviour: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            task: tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(behaviour(stream));
                }
            }),
        }
    }

    /// Reads a request, sends this, and keeps the connection open.
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Vec<u8> = answer.into();
        Self::new(move |mut stream| {
            let answer = answer.clone();
            async move {
                request(&mut stream).await;
                // A probe that has seen enough resets the connection.
                let _ = stream.write_all(&answer).await;
                hold(stream).await;
            }
        })
        .await
    }

    async fn probe(&self, limit: Duration) -> Outcome {
        probe(self.address, &http(&[200]), limit).await
    }

    /// Fails with `reason`, and does not wait for a timeout to do so.
    async fn assert_fails_soon(&self, reason: &str) {
        let started = Instant::now();
        assert_eq!(self.probe(PATIENT).await, failed(reason));
        assert!(started.elapsed() < PATIENT, "{:?}", started.elapsed());
    }

    /// Uses up its time and no more.
    async fn assert_times_out(&self) {
        let started = Instant::now();
        assert_eq!(self.probe(SHORT).await, failed("timed out after 300ms"));
        let elapsed = started.elapsed();
        assert!(
            (SHORT..SHORT + Duration::from_secs(5)).contains(&elapsed),
            "{elapsed:?}"
        );
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The head of a request, as text; empty where the connection ends before it does.
async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

/// Keeps a connection open, and silent, until the other side ends it.
async fn hold(mut stream: TcpStream) {
    while stream.read_u8().await.is_ok() {}
}

fn http(expect_status: &[u16]) -> HttpProbe {
    HttpProbe {
        path: "/healthz?deep=1".to_owned(),
        host: None,
        expect_status: expect_status.to_vec(),
    }
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed(reason.to_owned())
}

fn passed(reason: &str) -> Outcome {
    Outcome::Passed(reason.to_owned())
}

#[tokio::test]
async fn a_backend_of_ipv6_is_asked_by_its_address_in_brackets() {
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let endpoint = Endpoint::on(Ipv6Addr::LOCALHOST.into(), move |mut stream| {
        let told = told.clone();
        async move {
            let head = request(&mut stream).await;
            told.send(head).await.expect("somebody listens");
            let _ = stream.write_all(OK).await;
            hold(stream).await;
        }
    })
    .await;
    assert_eq!(
        endpoint.probe(PATIENT).await,
        Outcome::Passed("200".to_owned())
    );
    let head = heard.recv().await.unwrap().to_lowercase();
    let host = format!("host: [::1]:{}\r\n", endpoint.address.port());
    assert!(head.contains(&host), "{head}");
}

#[tokio::test]
async fn an_expected_status_passes() {
    let endpoint = Endpoint::answering(OK).await;
    assert_eq!(endpoint.probe(PATIENT).await, passed("200"));
}

#[tokio::test]
async fn any_of_several_expected_statuses_passes() {
    let endpoint = Endpoint::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let ask = |codes: &'static [u16]| {
        let address = endpoint.address;
        async move { probe(address, &http(codes), PATIENT).await }
    };
    assert_eq!(ask(&[200, 204]).await, passed("204"));
    assert_eq!(ask(&[200, 202]).await, failed("status 204"));
}

#[tokio::test]
async fn an_unexpected_status_fails_with_its_number() {
    for (line, reason) in [
        ("HTTP/1.1 503 Service Unavailable", "status 503"),
        ("HTTP/1.0 404 Not Found", "status 404"),
        ("HTTP/1.1 500", "status 500"),
    ] {
        let endpoint = Endpoint::answering(format!("{line}\r\ncontent-length: 0\r\n\r\n")).await;
        endpoint.assert_fails_soon(reason).await;
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let elsewhere = Endpoint::answering(OK).await;
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    );
    let endpoint = Endpoint::answering(answer).await;
    endpoint.assert_fails_soon("status 302").await;
}

#[tokio::test]
async fn the_request_is_the_configured_one() {
    let (heard_in, mut heard) = tokio::sync::mpsc::channel(2);
    let endpoint = Endpoint::new(move |mut stream| {
        let heard_in = heard_in.clone();
        async move {
            let head = request(&mut stream).await;
            heard_in.send(head).await.unwrap();
            stream.write_all(OK).await.unwrap();
            hold(stream).await;
        }
    })
    .await;
    assert_eq!(endpoint.probe(PATIENT).await, passed("200"));
    let head = heard.recv().await.unwrap();
    assert!(
        head.starts_with("GET /healthz?deep=1 HTTP/1.1\r\n"),
        "{head}"
    );
    let host = format!("\r\nhost: {}\r\n", endpoint.address);
    assert!(head.contains(&host), "{head}");
    assert!(head.contains("\r\nuser-agent: sluice/"), "{head}");

    let named = HttpProbe {
        host: Some("www.example.com".to_owned()),
        ..http(&[200])
    };
    assert_eq!(
        probe(endpoint.address, &named, PATIENT).await,
        passed("200")
    );
    let head = heard.recv().await.unwrap();
    assert!(head.contains("\r\nhost: www.example.com\r\n"), "{head}");
}

#[tokio::test]
async fn a_closed_port_fails_as_refused() {
    let endpoint = Endpoint::answering(OK).await;
    let address = endpoint.address;
    endpoint.task.abort();
    // The listener goes with its task.
    while TcpStream::connect(address).await.is_ok() {}
    assert_eq!(
        probe(address, &http(&[200]), PATIENT).await,
        failed("connection refused")
    );
}

#[tokio::test]
async fn an_endpoint_that_never_answers_times_out() {
    Endpoint::new(hold).await.assert_times_out().await;
    Endpoint::new(|mut stream| async move {
        request(&mut stream).await;
        hold(stream).await;
    })
    .await
    .assert_times_out()
    .await;
}

#[tokio::test]
async fn an_endpoint_that_answers_byte_by_byte_gets_no_extra_time() {
    let endpoint = Endpoint::new(|mut stream| async move {
        request(&mut stream).await;
        // Each byte would be in time; the answer is not.
        for byte in OK.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(SHORT / 10).await;
        }
    })
    .await;
    endpoint.assert_times_out().await;
}

#[tokio::test]
async fn a_slow_answer_that_is_complete_in_time_passes() {
    let endpoint = Endpoint::new(|mut stream| async move {
        request(&mut stream).await;
        for byte in OK {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        hold(stream).await;
    })
    .await;
    assert_eq!(endpoint.probe(PATIENT).await, passed("200"));
}

/// Sends `start` and then `more` until the other side has enough.
async fn flood(start: &'static [u8], more: &'static [u8]) -> Endpoint {
    Endpoint::new(move |mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(start).await;
        let more = more.repeat(1024);
        while stream.write_all(&more).await.is_ok() {}
    })
    .await
}

#[tokio::test]
async fn a_body_without_end_is_not_read() {
    let endpoint = flood(b"HTTP/1.1 200 OK\r\n\r\n", b"more and more").await;
    assert_eq!(endpoint.probe(PATIENT).await, passed("200"));
    let start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let endpoint = flood(start, b"4\r\nmore\r\n").await;
    assert_eq!(endpoint.probe(PATIENT).await, passed("200"));
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let reason = "the answer's head is too long";
    let endpoint = flood(b"HTTP/1.1 200 OK\r\nx: ", b"more and more").await;
    endpoint.assert_fails_soon(reason).await;
    let endpoint = flood(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n").await;
    endpoint.assert_fails_soon(reason).await;
}

#[tokio::test]
async fn announcements_without_end_time_out() {
    let endpoint = flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n").await;
    endpoint.assert_times_out().await;
}

#[tokio::test]
async fn an_early_end_is_named() {
    let reason = "closed before it answered";
    for (beginning, read_first) in [
        (&b""[..], false),
        (b"", true),
        (b"HTTP/1.", true),
        (b"HTTP/1.1 200 OK\r\ncontent-le", true),
    ] {
        let endpoint = Endpoint::new(move |mut stream| async move {
            if read_first {
                request(&mut stream).await;
            }
            let _ = stream.write_all(beginning).await;
            let _ = stream.shutdown().await;
            hold(stream).await;
        })
        .await;
        endpoint.assert_fails_soon(reason).await;
    }
}

#[tokio::test]
async fn a_reset_is_named() {
    let endpoint = Endpoint::new(|mut stream| async move {
        request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    endpoint.assert_fails_soon("connection reset by peer").await;
}

#[tokio::test]
async fn other_protocols_are_not_http() {
    for words in [
        // An alert of TLS: what a TLS server says to a plain request (RFC 8446 section 6).
        &b"\x15\x03\x01\x00\x02\x02\x46"[..],
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"-ERR unknown command\r\n",
        b"<html>hello</html>",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2.0 200\r\n\r\n",
        b"\x00\x00\x00\x00",
        b"\xff\xfe\xfd",
    ] {
        let endpoint = Endpoint::answering(words).await;
        endpoint.assert_fails_soon("not HTTP").await;
    }
}

#[tokio::test]
async fn a_banner_before_the_question_is_not_http() {
    let endpoint = Endpoint::new(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await;
        hold(stream).await;
    })
    .await;
    for _ in 0..20 {
        endpoint.assert_fails_soon("not HTTP").await;
    }
}

#[tokio::test]
async fn a_thousand_probes_leave_no_socket_behind() {
    const PROBES: usize = 1000;
    // Servers of the older kind end the connection themselves, in good order.
    let endpoint = Endpoint::new(|mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nok\n").await;
        let _ = stream.shutdown().await;
    })
    .await;
    let probes = (0..PROBES).map(|_| endpoint.probe(PATIENT));
    let outcomes: Vec<_> = stream::iter(probes).buffer_unordered(32).collect().await;
    for outcome in outcomes {
        assert_eq!(outcome, passed("200"));
    }
    // The last connections may just be ending.
    let in_time = Instant::now() + PATIENT;
    while !left_behind(endpoint.address).is_empty() && Instant::now() < in_time {
        tokio::task::yield_now().await;
    }
    assert_eq!(left_behind(endpoint.address), Vec::<String>::new());
}
