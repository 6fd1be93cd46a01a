//! The first reply to a client whose neighbour entry is missing is not lost.

use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{
    host::Host,
    poll,
    site::{NO_RETRANSMISSION, Site},
    topology::{CLIENT, LB_FRONT},
};

const SOON: Duration = Duration::from_secs(5);

fn knows_client(lb: &Host) -> Result<bool> {
    let entries = lb.neighbours()?;
    Ok(entries
        .iter()
        .any(|entry| entry.address == CLIENT && entry.mac.is_some()))
}

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
        // The last packets of the connection before may be on their way, and let the kernel ask again.
        poll::until_true("the client to be unknown", SOON, || {
            let forgotten = lb.forget_neighbour("front", CLIENT);
            forgotten.is_ok() && !knows_client(lb).unwrap_or(true)
        })?;

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
    assert!(knows_client(lb)?, "the kernel has not resolved it");
    Ok(())
}
