//! Replies of `dnat` backends: which keys are wanted, which go, which get another value.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    abi::{reply::ReplyV4, service::ServiceId, vip::VipKeyV4},
    endian::Be16,
};

use super::{
    capacity::Capacity,
    claims::Claim,
    desired::{v4_key, vip_key},
    errors::{Limit, PlanError},
    image::Image,
    seating::{Seat, Seating},
    stages::Stages,
    writes::Write,
};
use crate::model::{Forward, Listener, Service};

/// The wanted contents of `REPLIES_IPV4`.
#[derive(Debug, Default)]
pub(super) struct Replies<'a> {
    wanted: BTreeMap<VipKeyV4, Wanted<'a>>,
}

#[derive(Debug)]
struct Wanted<'a> {
    service: &'a Service,
    reply: ReplyV4,
}

impl<'a> Replies<'a> {
    /// Adds the keys of a `dnat` service: one for each backend and listener.
    pub(super) fn want(
        &mut self,
        claim: Claim<'a>,
        seating: &Seating<'a>,
    ) -> Result<(), PlanError> {
        // In the other modes backends answer clients themselves.
        if claim.service.forward != Forward::Dnat {
            return Ok(());
        }
        for seat in &seating.seats {
            for listener in &claim.service.listeners {
                self.want_one(claim, seat, listener)?;
            }
        }
        Ok(())
    }

    /// Plans the difference. Returns the services that must wait for a key to get another value.
    pub(super) fn compare(
        &self,
        image: &Image,
        capacity: Capacity,
        stages: &mut Stages,
    ) -> Result<BTreeSet<ServiceId>, PlanError> {
        let mut waiting = BTreeSet::new();
        for (key, Wanted { service, reply }) in &self.wanted {
            let insert = Write::InsertReply {
                key: *key,
                reply: *reply,
            };
            match image.replies().get(key) {
                Some(held) if is_same(held, reply) => {}
                Some(_) => {
                    stages
                        .withdrawn_replies
                        .push(Write::DeleteReply { key: *key });
                    stages.late_replies.push(insert);
                    waiting.insert(reply.service);
                }
                None => {
                    stages.replies.push(insert);
                    if image.replies().len() + stages.replies.len() > capacity.replies as usize {
                        return Err(PlanError::Full {
                            service: service.name.clone(),
                            what: "reply keys (one for each backend and listener)",
                            needed: 1,
                            limit: Limit::Backends,
                            have: capacity.backends,
                        });
                    }
                }
            }
        }
        let unwanted = image
            .replies()
            .keys()
            .filter(|key| !self.wanted.contains_key(key));
        stages
            .reply_deletes
            .extend(unwanted.map(|key| Write::DeleteReply { key: *key }));
        Ok(waiting)
    }

    fn want_one(
        &mut self,
        claim: Claim<'a>,
        seat: &Seat<'a>,
        listener: &Listener,
    ) -> Result<(), PlanError> {
        let Claim { service, id } = claim;
        let address = seat.endpoint.address;
        let port = seat.endpoint.port.unwrap_or(listener.address.port());
        let key = v4_key(service, address, port, listener)?;
        let vip = vip_key(service, listener)?;
        let reply = ReplyV4 {
            address: vip.address,
            port: Be16::new(listener.address.port()),
            reserved: 0,
            service: id,
            backend: seat.index.0,
        };
        match self.wanted.get(&key) {
            Some(other) if !is_same(&other.reply, &reply) => Err(PlanError::ReplyTaken {
                service: service.name.clone(),
                other: other.service.name.clone(),
                address,
                port,
            }),
            Some(_) => Ok(()),
            None => {
                self.wanted.insert(key, Wanted { service, reply });
                Ok(())
            }
        }
    }
}

/// Whether packets are treated the same. The backend's index is a hint for tracing: a service that
/// moves to another range of backends does not interrupt its replies for it.
fn is_same(a: &ReplyV4, b: &ReplyV4) -> bool {
    let hintless = |reply: &ReplyV4| ReplyV4 {
        backend: 0,
        ..*reply
    };
    hintless(a) == hintless(b)
}
