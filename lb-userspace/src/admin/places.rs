//! Who is connected to the admin socket, and who has to go when somebody new comes and all places
//! are taken: whoever has been silent for longest.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};

/// Connections at once; one more waits for a place, others in the socket's backlog.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// How long nobody is sent away for silence: time to be scheduled and to send a request.
const YOUNG: Duration = Duration::from_millis(20);

/// Set once a connection's request has come in whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<AtomicBool>);

/// The connections, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Places {
    talks: VecDeque<Talk>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Talk {
    since: Instant,
    asked: Asked,
    task: AbortHandle,
}

impl Asked {
    /// A request is there.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_silent(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

impl Places {
    /// Gives a connection a place; it ends with its future.
    pub(super) fn take<F>(&mut self, talk: impl FnOnce(Asked) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let asked = Asked::default();
        let task = self.tasks.spawn(talk(asked.clone()));
        self.talks.push_back(Talk {
            since: Instant::now(),
            asked,
            task,
        });
    }

    /// Whether there is a place now; if need be, the oldest silent connection is cut for it.
    pub(super) fn make_room(&mut self) -> bool {
        if self.talks.len() < MAX_CONNECTIONS {
            return true;
        }
        let now = Instant::now();
        let silent = self.oldest_silent();
        let leaves = silent.filter(|place| self.talks[*place].since + YOUNG <= now);
        let Some(talk) = leaves.and_then(|place| self.talks.remove(place)) else {
            return false;
        };
        log::debug!("a silent connection of the admin socket is cut: somebody new needs its place");
        talk.task.abort();
        true
    }

    /// When [`Self::make_room`] may succeed without any connection having ended. `None`: never,
    /// since whoever has asked does not fall silent again.
    pub(super) fn next_cut(&self) -> Option<Instant> {
        let place = self.oldest_silent()?;
        Some(self.talks[place].since + YOUNG)
    }

    /// Waits for the end of a connection. `None`: there is none.
    pub(super) async fn ended(&mut self) -> Option<()> {
        match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => self.free(id),
            Err(error) => {
                self.free(error.id());
                if !error.is_cancelled() {
                    log::error!("a request of the admin socket failed: {error}");
                }
            }
        }
        Some(())
    }

    /// Cuts every connection that is left.
    pub(super) async fn cut_all(mut self) {
        self.tasks.shutdown().await;
    }

    fn oldest_silent(&self) -> Option<usize> {
        self.talks.iter().position(|talk| talk.asked.is_silent())
    }

    fn free(&mut self, id: tokio::task::Id) {
        self.talks.retain(|talk| talk.task.id() != id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// As many connections as there are places; those in `asking` have asked.
    fn full(asking: &[usize]) -> Places {
        let mut places = Places::default();
        for place in 0..MAX_CONNECTIONS {
            assert!(places.make_room());
            places.take(|asked| {
                if asking.contains(&place) {
                    asked.note();
                }
                pending()
            });
        }
        places
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_silent_one_makes_room_once_it_is_not_young() {
        let mut places = full(&[0, 2]);
        let ids = |places: &Places| -> Vec<_> {
            places.talks.iter().map(|talk| talk.task.id()).collect()
        };
        let before = ids(&places);
        assert!(!places.make_room(), "all are young");
        tokio::time::sleep_until(places.next_cut().unwrap()).await;
        for _ in 0..2 {
            assert!(places.make_room());
            assert_eq!(places.ended().await, Some(()));
            places.take(|_| pending());
        }
        let after = ids(&places);
        assert_eq!(after.len(), MAX_CONNECTIONS);
        // 1 and 3 had to go.
        assert_eq!(after[..3], [before[0], before[2], before[4]]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_asked_is_never_cut() {
        let everybody: Vec<_> = (0..MAX_CONNECTIONS).collect();
        let mut places = full(&everybody);
        tokio::time::advance(YOUNG * 1000).await;
        assert!(!places.make_room());
        assert_eq!(places.next_cut(), None);
        assert_eq!(places.talks.len(), MAX_CONNECTIONS);
    }
}
