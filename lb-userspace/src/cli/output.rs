//! What a command prints. A reader that has gone away (`sluice status | head -1`) is no failure,
//! and never a panic as `println!` makes of it.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
};

use anyhow::Context;
use serde::Serialize;
use tokio::io::{Interest, unix::AsyncFd};

/// Whether anybody reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    Gone,
}

/// An error and what caused it, each said once: many an error quotes its cause.
pub(super) fn causes(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Prints to standard output and ends the line.
pub(super) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    print_bytes(text.as_bytes()).map(drop)
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(serde_json::to_string_pretty(value).context("writing JSON")?)
}

/// Prints to standard output, at once.
pub(super) fn print_bytes(bytes: &[u8]) -> anyhow::Result<Reader> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error).context("writing to standard output"),
    }
}

/// Prints a line to standard error. There is no place left to tell that this failed.
pub(super) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Ends when the reader of standard output has gone away; never, where there is nothing like a
/// reader.
pub(super) async fn reader_gone() {
    if wait_for_hangup(io::stdout().as_fd()).await.is_err() {
        // A file: epoll refuses it, and nobody hangs up.
        std::future::pending().await
    }
}

/// Waits until the other end of a pipe, socket or terminal is gone.
async fn wait_for_hangup(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` names the same open file until it is dropped, and nothing takes it out
    // of the `AsyncFd`, which drops it only after it has deregistered it.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::WRITABLE) }?;
    loop {
        let mut guard = fd.writable().await?;
        if guard.ready().is_write_closed() {
            return Ok(());
        }
        guard.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_goes_away_is_noticed() {
        let (reader, writer) = io::pipe().unwrap();
        let gone = tokio::spawn(async move { wait_for_hangup(&writer).await });
        // Let it start to wait, so that it is woken rather than just told.
        tokio::task::yield_now().await;
        assert!(!gone.is_finished());
        drop(reader);
        timeout(Duration::from_secs(10), gone)
            .await
            .expect("is noticed")
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn a_file_has_no_reader() {
        let file = tempfile::tempfile().unwrap();
        assert!(wait_for_hangup(&file).await.is_err());
    }

    #[test]
    fn a_cause_that_is_quoted_already_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("{doing}: {source}")]
        struct Quoting {
            doing: &'static str,
            source: io::Error,
        }
        let quoting = |doing| Quoting {
            doing,
            source: io::Error::other("no"),
        };
        assert_eq!(causes(&quoting("asking").into()), "asking: no");
        let error = anyhow::Error::new(quoting("asking")).context("beginning");
        assert_eq!(causes(&error), "beginning: asking: no");
    }
}
