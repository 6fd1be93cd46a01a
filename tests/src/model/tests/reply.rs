//! Replies of backends.

use super::{
    super::{Arrival, Outcome, Reason, Verdict, World, judge, world::Forward},
    example::{
        BACK, BACK_MAC, CLIENT, CLIENT_MAC, CLIENT6, FRONT, FRONT_MAC, VIP, VIP6, backend_mac,
        dropped, flag, service, tcp, udp, world,
    },
};

const BACKEND: &str = "10.77.2.11:8080";
const BACKEND6: &str = "[fd77:2::11]:8080";

fn from_backend(world: &mut World, frame: &[u8]) -> Outcome {
    let frame = frame.to_vec();
    let arrival = Arrival {
        interface: BACK,
        frame,
    };
    judge(world, &arrival)
}

fn verdict(world: &mut World, frame: &[u8]) -> Verdict {
    let outcome = from_backend(world, frame);
    assert_eq!(outcome.frame, frame);
    outcome.verdict
}

#[test]
fn a_reply_comes_from_the_vip() {
    let mut world = world(service(Forward::Dnat, true));
    for (build, vip) in [
        (tcp(BACKEND, CLIENT, flag::SYN | flag::ACK), VIP),
        (udp(BACKEND, CLIENT), VIP),
        (tcp(BACKEND6, CLIENT6, flag::FIN), VIP6),
        (udp(BACKEND6, CLIENT6), VIP6),
    ] {
        let build = build.macs(backend_mac(1), BACK_MAC);
        let outcome = from_backend(&mut world, &build.frame());
        let expected = build.macs(FRONT_MAC, CLIENT_MAC).from(vip).hops(63);
        assert_eq!(outcome.frame, expected.frame());
        assert_eq!(outcome.verdict, Verdict::Redirect { to: FRONT });
        assert_eq!((outcome.backend, outcome.flow), (None, None));
    }
}

#[test]
fn what_is_no_reply_passes() {
    let reply = tcp(BACKEND, CLIENT, flag::ACK).frame();
    let mut fragment = reply.clone();
    fragment[20] = 0x20;
    let mut plain = world(service(Forward::Dnat, true));
    assert_eq!(verdict(&mut plain, &fragment), Verdict::Pass);
    for (from, to) in [
        ("10.77.2.11:8081", CLIENT),
        ("10.77.2.12:8080", CLIENT),
        (BACKEND, "10.77.2.1:40000"),
    ] {
        let frame = tcp(from, to, flag::ACK).frame();
        assert_eq!(verdict(&mut plain, &frame), Verdict::Pass);
    }
    let mut without_dnat = plain.clone();
    without_dnat.features.dnat = false;
    assert_eq!(verdict(&mut without_dnat, &reply), Verdict::Pass);
    let mut elsewhere = plain;
    elsewhere.interfaces.get_mut(&BACK).unwrap().faces_backends = false;
    assert_eq!(verdict(&mut elsewhere, &reply), Verdict::Pass);
    elsewhere.interfaces.remove(&BACK);
    assert_eq!(verdict(&mut elsewhere, &reply), Verdict::Pass);
}

#[test]
fn a_reply_that_cannot_be_sent_is_dropped_in_order() {
    let mut world = world(service(Forward::Dnat, true));
    let reply = |hops| tcp(BACKEND, CLIENT, flag::ACK).hops(hops).frame();
    world.interfaces.remove(&FRONT);
    assert_eq!(verdict(&mut world, &reply(2)), dropped(Reason::NoEgress));
    assert_eq!(verdict(&mut world, &reply(1)), dropped(Reason::TtlExpired));
    world.routes[0].way.as_mut().unwrap().mtu = 47;
    assert_eq!(verdict(&mut world, &reply(1)), dropped(Reason::TtlExpired));
    world.routes[0].way.as_mut().unwrap().mtu = 46;
    assert_eq!(verdict(&mut world, &reply(1)), dropped(Reason::TooBig));
}

#[test]
fn a_reply_to_a_neighbour_unknown_is_punted() {
    let mut world = world(service(Forward::Dnat, true));
    let build = tcp(BACKEND, "10.77.1.11:5", flag::ACK).macs(backend_mac(1), BACK_MAC);
    let outcome = from_backend(&mut world, &build.frame());
    let expected = build.clone().from(VIP).hops(63);
    let packet = expected.packet();
    assert_eq!(outcome.verdict, Verdict::Punt { packet });
    let expired = build.clone().hops(1).frame();
    assert_eq!(verdict(&mut world, &expired), dropped(Reason::TtlExpired));
    // What the daemon has no room for is the kernel's, as it would have been the daemon's.
    world.punt_max = 46;
    let outcome = from_backend(&mut world, &build.frame());
    let frame = expected.frame();
    assert_eq!((outcome.verdict, &outcome.frame), (Verdict::Pass, &frame));
    world.punt_max = 47;
    world.punt_room = 1;
    from_backend(&mut world, &build.frame());
    let outcome = from_backend(&mut world, &build.frame());
    assert_eq!((outcome.verdict, &outcome.frame), (Verdict::Pass, &frame));
}
