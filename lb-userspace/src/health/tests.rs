//! The checker as a whole: its schedule under a stopped clock, and recovery over the network.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, mpsc as std_mpsc},
};

use socket2::{Domain, Socket, Type};
use tokio::time::{Instant, timeout};

use super::*;
use crate::model::Probe;

const INTERVAL: Duration = Duration::from_secs(10);

fn key(last: u8) -> BackendKey {
    BackendKey {
        service: Arc::from("web"),
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        port: Some(80),
    }
}

fn target(last: u8, initial: Health) -> (BackendKey, Target) {
    let key = key(last);
    let address = SocketAddr::new(key.address, 80);
    let check = HealthCheck {
        probe: Probe::Tcp,
        interval: INTERVAL,
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 2,
    };
    (
        key,
        Target {
            address,
            check,
            initial,
        },
    )
}

/// Says when it was asked for whom, and always answers the same.
#[derive(Clone)]
struct Scripted {
    asked: std_mpsc::Sender<(SocketAddr, Instant)>,
    passes: bool,
    takes: Duration,
}

impl Prober for Scripted {
    async fn probe(&self, target: &Target) -> Outcome {
        let before = Instant::now();
        tokio::time::sleep(self.takes).await;
        self.asked.send((target.address, before)).ok();
        if self.passes {
            Outcome::Passed("scripted".to_owned())
        } else {
            Outcome::Failed("scripted".to_owned())
        }
    }
}

struct Bench {
    checker: Checker<Scripted>,
    events: mpsc::Receiver<Event>,
    asked: std_mpsc::Receiver<(SocketAddr, Instant)>,
}

fn bench(passes: bool, takes: Duration) -> Bench {
    let (events_in, events) = mpsc::channel(64);
    let (asked_in, asked) = std_mpsc::channel();
    let prober = Scripted {
        asked: asked_in,
        passes,
        takes,
    };
    Bench {
        checker: Checker::with_prober(events_in, prober),
        events,
        asked,
    }
}

impl Bench {
    async fn next(&mut self) -> Event {
        timeout(INTERVAL * 3, self.events.recv())
            .await
            .expect("an event in time")
            .expect("the channel stays open")
    }

    /// Nobody is asked within three intervals.
    async fn assert_quiet(&mut self) {
        tokio::time::sleep(INTERVAL * 3).await;
        self.events.try_recv().expect_err("no event");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_probe_is_sent_at_once_and_the_rest_every_interval() {
    let mut bench = bench(true, Duration::from_millis(3));
    let begin = Instant::now();
    bench
        .checker
        .update(BTreeMap::from([target(1, Health::Unknown)]));
    let first = bench.next().await;
    assert_eq!(first.health, Health::Up);
    assert_eq!(first.last.duration, Duration::from_millis(3));
    for _ in 0..20 {
        bench.next().await;
    }
    let asked: Vec<_> = bench.asked.try_iter().map(|(_, at)| at).collect();
    assert_eq!(asked[0], begin);
    let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A timer fires up to a millisecond late.
    let allowed = INTERVAL.mul_f64(0.9)..=INTERVAL.mul_f64(1.1) + Duration::from_millis(1);
    assert!(gaps.iter().all(|gap| allowed.contains(gap)), "{gaps:?}");
    assert!(gaps.windows(2).any(|pair| pair[0] != pair[1]), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn probes_that_started_together_drift_apart() {
    let mut bench = bench(true, Duration::ZERO);
    bench
        .checker
        .update((1..=8).map(|last| target(last, Health::Unknown)).collect());
    for _ in 0..16 {
        bench.next().await;
    }
    let asked: Vec<_> = bench.asked.try_iter().map(|(_, at)| at).collect();
    assert!(asked[..8].iter().all(|at| *at == asked[0]), "{asked:?}");
    let mut second: Vec<_> = asked[8..].to_vec();
    second.sort();
    second.dedup();
    assert!(second.len() > 4, "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn an_adopted_backend_goes_down_only_after_fall_failures() {
    let mut bench = bench(false, Duration::ZERO);
    bench
        .checker
        .update(BTreeMap::from([target(1, Health::Up)]));
    let first = bench.next().await;
    assert_eq!((first.health, first.last.ok), (Health::Up, false));
    assert_eq!(first.last.reason, "scripted");
    assert_eq!(bench.next().await.health, Health::Down);
}

#[tokio::test(start_paused = true)]
async fn the_same_targets_again_restart_nothing() {
    let mut bench = bench(true, Duration::ZERO);
    bench
        .checker
        .update(BTreeMap::from([target(1, Health::Unknown)]));
    bench.next().await;
    tokio::time::sleep(INTERVAL / 2).await;
    bench
        .checker
        .update(BTreeMap::from([target(1, Health::Down)]));
    tokio::time::sleep(INTERVAL / 4).await;
    bench.events.try_recv().expect_err("no probe in between");
    assert_eq!(bench.next().await.health, Health::Up);
}

#[tokio::test(start_paused = true)]
async fn a_changed_check_is_asked_at_once_from_its_initial_health() {
    let mut bench = bench(false, Duration::ZERO);
    bench
        .checker
        .update(BTreeMap::from([target(1, Health::Up)]));
    bench.next().await;
    let (key, mut changed) = target(1, Health::Up);
    changed.check.interval = INTERVAL / 2;
    let begin = Instant::now();
    bench.checker.update(BTreeMap::from([(key, changed)]));
    // The failure before the restart does not count.
    assert_eq!(bench.next().await.health, Health::Up);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(bench.next().await.health, Health::Down);
}

#[tokio::test(start_paused = true)]
async fn a_removed_target_is_asked_no_more() {
    let mut bench = bench(true, Duration::ZERO);
    bench.checker.update(BTreeMap::from([
        target(1, Health::Unknown),
        target(2, Health::Unknown),
    ]));
    bench.next().await;
    bench.next().await;
    bench
        .checker
        .update(BTreeMap::from([target(2, Health::Unknown)]));
    for _ in 0..4 {
        assert_eq!(bench.next().await.key, key(2));
    }
    bench.checker.update(BTreeMap::new());
    bench.assert_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_of_one_service_leaves_the_others_alone() {
    let mut bench = bench(true, Duration::ZERO);
    let of = |service: &str, last| {
        let (key, target) = target(last, Health::Unknown);
        let service = Arc::from(service);
        (BackendKey { service, ..key }, target)
    };
    let all = [of("mail", 1), of("web", 1), of("web", 2), of("web2", 1)];
    bench.checker.update(BTreeMap::from(all));
    for _ in 0..4 {
        bench.next().await;
    }
    tokio::time::sleep(INTERVAL / 2).await;
    bench.checker.update_services(
        &["web".into()].into(),
        BTreeMap::from([of("web", 2), of("web", 3)]),
    );
    // Who is new is asked at once, who was there when it is time, who is gone never again.
    assert_eq!(bench.next().await.key, of("web", 3).0);
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(bench.next().await.key);
    }
    asked.sort();
    let left = [of("mail", 1), of("web", 2), of("web", 3), of("web2", 1)];
    assert_eq!(asked, left.map(|(key, _)| key));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_checker_gives_running_probes_up() {
    let mut bench = bench(true, Duration::from_secs(1));
    bench
        .checker
        .update(BTreeMap::from([target(1, Health::Unknown)]));
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(bench.checker);
    assert_eq!(bench.events.recv().await, None);
    assert_eq!(bench.asked.try_iter().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_never_asked_changes_nothing() {
    #[derive(Clone)]
    struct Starved;
    impl Prober for Starved {
        async fn probe(&self, _: &Target) -> Outcome {
            Outcome::Inconclusive("too many open files".to_owned())
        }
    }
    let (events_in, mut events) = mpsc::channel(1);
    let mut checker = Checker::with_prober(events_in, Starved);
    checker.update(BTreeMap::from([target(1, Health::Up)]));
    for _ in 0..4 {
        let event = events.recv().await.expect("an event");
        assert_eq!((event.health, event.last.ok), (Health::Up, false));
        assert_eq!(event.last.reason, "too many open files");
    }
}

#[tokio::test]
async fn a_backend_that_starts_to_listen_comes_up_and_one_that_stops_goes_down() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .expect("bind");
    let address = socket
        .local_addr()
        .expect("local address")
        .as_socket()
        .expect("an IP address");
    let (key, mut target) = target(1, Health::Unknown);
    target.address = address;
    target.check.interval = Duration::from_millis(20);

    let (events_in, mut events) = mpsc::channel(1);
    let mut checker = Checker::new(events_in);
    checker.update(BTreeMap::from([(key, target)]));
    assert_eq!(
        until(&mut events, Health::Down).await.reason,
        "connection refused"
    );
    socket.listen(64).expect("listen");
    assert_eq!(until(&mut events, Health::Up).await.reason, "connected");
    drop(socket);
    assert_eq!(
        until(&mut events, Health::Down).await.reason,
        "connection refused"
    );
}

async fn until(events: &mut mpsc::Receiver<Event>, health: Health) -> LastCheck {
    let wait = async {
        loop {
            let event = events.recv().await.expect("the channel stays open");
            if event.health == health {
                return event.last;
            }
        }
    };
    timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("never {health}"))
}
