//! Real clients by several ways in a VLAN, with one tag or two: the tags stay on packets whatever else
//! becomes of those, on their way to backends and back.

use anyhow::{Context, Result, ensure};

use crate::{
    capture::{Capture, Frame, Tag},
    packets::GUE_PORT,
    ways::{DIRECT, REQUESTS, Way, Ways},
};

/// One of each mode whose backends answer themselves, of both families, within and around.
pub fn direct() -> Vec<Way> {
    let names = ["dsr-4in4", "dsr-6in6", "ipip-4in6", "gue-6in4"];
    let ways = DIRECT.iter().copied();
    ways.filter(|way| names.contains(&way.name().as_str()))
        .collect()
}

/// As [`Ways::ask`], of two backends: on every link requests have these tags, and so have answers, with
/// `dnat` or where everything happens in the VLAN.
pub fn ask(all: &Ways, way: Way, tags: &[Tag]) -> Result<()> {
    let topology = &all.site.topology;
    let ports = ["client", "lb-front", "lb-back", "b1", "b2"];
    let links = ports.map(|port| Capture::start(&topology.router, port));
    all.ask(way)?;
    let answers = !way.forward.answers_directly() || !topology.vlan.is_empty();
    for (port, link) in ports.into_iter().zip(links) {
        let frames = link?.finish()?;
        check_tags(way, tags, answers, &frames)
            .with_context(|| format!("{} {port}", way.name()))?;
    }
    Ok(())
}

/// Requests have the tags, and answers where they must.
fn check_tags(way: Way, tags: &[Tag], answers_too: bool, frames: &[Frame]) -> Result<()> {
    let vip = way.vip();
    let (mut requests, mut answers) = (0, 0);
    for frame in frames {
        let inner = frame.inner(GUE_PORT);
        let Some(flow) = inner.as_ref().unwrap_or(frame).flow() else {
            continue;
        };
        let is_request = flow.destination.port() == vip.port();
        let is_answer = flow.source.port() == vip.port();
        if is_request || is_answer && answers_too {
            ensure!(frame.tags() == tags, "{flow:?} has {:?}", frame.tags());
        }
        requests += usize::from(is_request);
        answers += usize::from(is_answer);
    }
    // Each backend has its part.
    ensure!(
        requests > REQUESTS,
        "{requests} requests, {answers} answers"
    );
    Ok(())
}
