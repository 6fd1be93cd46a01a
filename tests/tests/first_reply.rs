//! The first reply to a client whose neighbour entry is missing is not lost.

use std::time::Instant;

use anyhow::Result;
use testbed::{
    site::{NO_RETRANSMISSION, Site},
    topology::{CLIENT, LB_FRONT},
};

#[test]
fn the_first_connection_of_an_unknown_client_is_not_delayed() -> Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let lb = &site.topology.lb;
    // The client asks nobody for the load balancer's address: its question would tell who asks.
    let mac = lb.link("front")?.mac;
    site.client().set_neighbour("eth0", LB_FRONT, mac)?;
    for _ in 0..3 {
        lb.forget_neighbour("front", CLIENT)?;
        let known = lb
            .neighbours()?
            .into_iter()
            .find(|entry| entry.address == CLIENT);
        assert_eq!(
            known.and_then(|entry| entry.mac),
            None,
            "the client is known already"
        );

        let start = Instant::now();
        let reply = site.get()?;
        assert!(
            reply.connect < NO_RETRANSMISSION,
            "connecting took {:?}",
            reply.connect
        );
        assert!(
            start.elapsed() < NO_RETRANSMISSION,
            "it took {:?}",
            start.elapsed()
        );
    }
    let known = lb
        .neighbours()?
        .into_iter()
        .find(|entry| entry.address == CLIENT);
    assert!(
        known.is_some_and(|entry| entry.mac.is_some()),
        "the kernel has resolved it"
    );
    Ok(())
}
