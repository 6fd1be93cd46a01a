//! `kill`, `stop` and `revive` from a second terminal: a line over a unix socket, a line back.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    sync::mpsc::{Sender, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{paths, run::Event};

/// What can be done to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Kill,
    Stop,
    Revive,
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) action: Action,
    pub(crate) target: String,
    pub(crate) answer: SyncSender<Result<String, String>>,
}

const ACTIONS: [(Action, &str); 3] = [
    (Action::Kill, "kill"),
    (Action::Stop, "stop"),
    (Action::Revive, "revive"),
];
const PATIENCE: Duration = Duration::from_secs(30);

/// The client's side.
pub(crate) fn send(action: Action, target: &str) -> Result<()> {
    let mut stream = UnixStream::connect(paths::CONTROL_SOCKET)
        .context("no playground is running, or it runs as another user")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{} {target}", action.word())?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .context("waiting for the playground's answer")?;
    match answer.trim_end().split_once(' ') {
        Some(("ok", text)) => {
            println!("{text}");
            Ok(())
        }
        Some((_, text)) => bail!("{text}"),
        None => bail!("the playground ended"),
    }
}

/// The playground's side: a thread that turns lines into events.
pub(crate) fn listen(events: Sender<Event>) -> Result<()> {
    let listener = UnixListener::bind(paths::CONTROL_SOCKET)
        .with_context(|| format!("listening on {}", paths::CONTROL_SOCKET))?;
    fs::set_permissions(paths::CONTROL_SOCKET, fs::Permissions::from_mode(0o660))?;
    // Started by sudo: whoever did that may also use the second terminal.
    if let Some(user) = sudo_user() {
        chown(paths::CONTROL_SOCKET, Some(user), None)?;
    }
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One at a time: they come from a person's hand.
            let _ = serve(&stream, &events);
        }
    });
    Ok(())
}

impl Action {
    pub(crate) fn word(self) -> &'static str {
        ACTIONS
            .iter()
            .find(|(action, _)| *action == self)
            .map_or("", |(_, word)| word)
    }

    fn parse(word: &str) -> Option<Self> {
        ACTIONS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(action, _)| *action)
    }
}

fn serve(mut stream: &UnixStream, events: &Sender<Event>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let answer = match parse(&line) {
        None => Err(format!("not understood: {}", line.trim_end())),
        Some((action, target)) => {
            let (answer, answered) = sync_channel(1);
            events.send(Event::Request(Request {
                action,
                target,
                answer,
            }))?;
            answered.recv_timeout(PATIENCE)?
        }
    };
    match answer {
        Ok(text) => writeln!(stream, "ok {text}")?,
        Err(text) => writeln!(stream, "error {text}")?,
    }
    Ok(())
}

fn parse(line: &str) -> Option<(Action, String)> {
    let (word, target) = line.trim_end().split_once(' ')?;
    Some((Action::parse(word)?, target.to_owned()))
}

fn sudo_user() -> Option<u32> {
    std::env::var("SUDO_UID").ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_an_action_and_a_target() {
        assert_eq!(parse("kill b2\n"), Some((Action::Kill, "b2".to_owned())));
        assert_eq!(
            parse("revive daemon\n"),
            Some((Action::Revive, "daemon".to_owned()))
        );
        assert_eq!(parse("hug b2\n"), None);
        assert_eq!(parse("kill\n"), None);
    }
}
