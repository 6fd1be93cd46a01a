//! Which connections broke, and whether their backend was alive.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    io,
    sync::Arc,
    time::Instant,
};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It answered to the last.
    Alive,
    /// By RST: a backend that does not know it got its packet, or it was refused.
    Reset,
    /// By FIN, unasked.
    Closed,
    /// No answer in time.
    TimedOut,
    /// An answer that is not to what was asked.
    WrongData(String),
    /// Another error of the socket.
    Failed(String),
}

/// A connection that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its place among those held; one that replaces another has the same.
    pub connection: u32,
    /// Who answered, if anybody did.
    pub backend: Option<Arc<str>>,
    /// When its handshake began.
    pub began: Instant,
    /// Whether its handshake was done.
    pub connected: bool,
    /// When it was over.
    pub ended: Instant,
    /// Messages answered.
    pub messages: u64,
    /// How it ended.
    pub end: End,
}

/// A time for which a backend was dead.
#[derive(Clone, Debug)]
pub struct Death {
    /// The backend's name.
    pub backend: Arc<str>,
    /// When it died.
    pub began: Instant,
    /// When it was back.
    pub ended: Option<Instant>,
}

/// What became of connections.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Those that answered to the last.
    pub alive: u64,
    /// Those that broke while their backend lived.
    pub broken: Vec<Ended>,
    /// Those that broke with their backend dead.
    pub with_backend: Vec<Ended>,
    /// Handshakes that failed: no connection was lost.
    pub not_opened: Vec<Ended>,
    /// Messages answered over all.
    pub messages: u64,
    /// Those alive, by backend.
    pub backends: BTreeMap<Arc<str>, u64>,
}

impl End {
    /// By the error of a socket.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Ended {
    /// One that begins now.
    pub(super) fn before_connecting(connection: u32) -> Self {
        let now = Instant::now();
        Self {
            connection,
            backend: None,
            began: now,
            connected: false,
            ended: now,
            messages: 0,
            end: End::Alive,
        }
    }

    /// Whether its backend was dead at some time of its life. Of one that nobody answered it is not
    /// known which that was: any death excuses it.
    fn met(&self, death: &Death) -> bool {
        let same = self
            .backend
            .as_ref()
            .is_none_or(|backend| *backend == death.backend);
        same && death.began <= self.ended && death.ended.is_none_or(|ended| ended >= self.began)
    }
}

impl Tally {
    /// Sorts `ended` by what was dead when.
    pub fn of(ended: Vec<Ended>, deaths: &[Death]) -> Self {
        let mut tally = Self::default();
        for one in ended {
            tally.messages += one.messages;
            if one.end == End::Alive {
                tally.alive += 1;
                if let Some(backend) = &one.backend {
                    *tally.backends.entry(Arc::clone(backend)).or_default() += 1;
                }
            } else if !one.connected {
                tally.not_opened.push(one);
            } else if deaths.iter().any(|death| one.met(death)) {
                tally.with_backend.push(one);
            } else {
                tally.broken.push(one);
            }
        }
        tally
    }
}

impl Display for Ended {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            connection,
            backend,
            began,
            connected: _,
            ended,
            messages,
            end,
        } = self;
        let backend = backend.as_deref().unwrap_or("nobody");
        write!(
            f,
            "connection {connection} to {backend}: {end:?} after {messages} messages, {:?}",
            *ended - *began
        )
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            alive,
            broken,
            with_backend,
            not_opened,
            messages,
            backends,
        } = self;
        write!(
            f,
            "{alive} alive {backends:?} after {messages} messages, {} broken on living backends, {} \
             with their backend, {} not opened",
            broken.len(),
            with_backend.len(),
            not_opened.len()
        )?;
        let shown = broken.iter().chain(not_opened).take(8);
        shown.into_iter().try_for_each(|one| write!(f, "\n  {one}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ended(backend: Option<&str>, began: Instant, life: Duration, end: End) -> Ended {
        Ended {
            connection: 0,
            backend: backend.map(Into::into),
            began,
            connected: true,
            ended: began + life,
            messages: 1,
            end,
        }
    }

    #[test]
    fn only_the_death_of_its_own_backend_during_its_life_excuses_a_connection() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let death = Death {
            backend: "b1".into(),
            began: start + second * 10,
            ended: Some(start + second * 20),
        };
        let cases = [
            (Some("b1"), 5, 6, true),
            (Some("b1"), 15, 16, true),
            (Some("b2"), 5, 10, false),
            (Some("b1"), 1, 2, false),
            (Some("b1"), 21, 5, false),
            (None, 9, 2, true),
            (None, 1, 2, false),
        ];
        for (backend, began, life, excused) in cases {
            let one = ended(backend, start + second * began, second * life, End::Reset);
            let tally = Tally::of(vec![one], std::slice::from_ref(&death));
            assert_eq!(tally.with_backend.len(), usize::from(excused), "{tally}");
            assert_eq!(tally.broken.len(), usize::from(!excused), "{tally}");
        }
    }

    #[test]
    fn a_failed_handshake_is_no_broken_connection() {
        let mut one = ended(None, Instant::now(), Duration::ZERO, End::TimedOut);
        one.connected = false;
        let tally = Tally::of(vec![one], &[]);
        assert_eq!((tally.not_opened.len(), tally.broken.len()), (1, 0));
    }
}
