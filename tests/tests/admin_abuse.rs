//! Garbage, slowness and silence on the admin socket: others are answered, and packets flow.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use testbed::{poll, site::Site};

/// More than the places that the daemon has.
const SILENT: usize = 200;
const SLOW: usize = 8;
const SOON: Duration = Duration::from_secs(1);
const ROUNDS: usize = 20;

const GARBAGE: [&[u8]; 5] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET /v1/trace?limit=never HTTP/1.1\r\n\r\n",
    &[0xff; 20_000],
];

/// Sends what makes no sense, again and again; counts the times.
fn talk_garbage(socket: &Path, stop: &AtomicBool, sent: &AtomicU64) {
    for garbage in GARBAGE.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut stream) = UnixStream::connect(socket) else {
            continue;
        };
        let _ = stream.set_read_timeout(Some(SOON));
        let _ = stream.write_all(garbage);
        let _ = stream.read(&mut [0; 256]);
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// A byte at a time, never to the end of a request; a new connection whenever the daemon has had
/// enough of the last.
fn talk_slowly(socket: &Path, stop: &AtomicBool) {
    let request = b"GET /v1/status HTTP/1.1\r\nHost: sluice\r\nX: ";
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = UnixStream::connect(socket) else {
            continue;
        };
        // Reading with a time limit is the pause between two bytes.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
        for byte in request.iter().chain([b'x'].iter().cycle()) {
            let over = stream.write_all(&[*byte]).is_err()
                || stream.read(&mut [0]).is_ok()
                || stop.load(Ordering::Relaxed);
            if over {
                break;
            }
        }
    }
}

#[test]
fn abuse_of_the_socket_delays_nobody_and_loses_no_request() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let socket: PathBuf = site.daemon.socket().to_owned();
    let before = site.daemon.status()?;
    let load = site.load();

    let silent = (0..SILENT).map(|_| UnixStream::connect(&socket));
    let silent: Vec<_> = silent.collect::<Result<_, _>>()?;
    // Asks for every packet, and reads none of them.
    let mut deaf = UnixStream::connect(&socket)?;
    deaf.write_all(b"GET /v1/trace HTTP/1.1\r\nHost: x\r\n\r\n")?;

    let (stop, garbage) = (AtomicBool::new(false), AtomicU64::new(0));
    let slowest = thread::scope(|scope| -> Result<Duration> {
        scope.spawn(|| talk_garbage(&socket, &stop, &garbage));
        for _ in 0..SLOW {
            scope.spawn(|| talk_slowly(&socket, &stop));
        }
        let ask = || -> Result<Duration> {
            let mut slowest = Duration::ZERO;
            for _ in 0..ROUNDS {
                let asked = Instant::now();
                site.daemon.status()?;
                slowest = slowest.max(asked.elapsed());
            }
            poll::until_true("garbage to arrive", Duration::from_secs(20), || {
                garbage.load(Ordering::Relaxed) >= GARBAGE.len() as u64
            })?;
            Ok(slowest)
        };
        let asked = ask();
        stop.store(true, Ordering::Relaxed);
        asked
    })?;
    assert!(slowest < SOON, "a status took {slowest:?}");

    let report = load.finish()?;
    assert!(
        report.failures.is_empty() && report.answered() > 0,
        "{report}"
    );
    drop((silent, deaf));
    let after = site.daemon.status()?;
    assert_eq!((after.pid, after.slots()), (before.pid, before.slots()));
    assert_eq!(after.config.generation, before.config.generation);
    Ok(())
}
