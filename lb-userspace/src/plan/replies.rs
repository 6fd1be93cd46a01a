//! Replies of `dnat` backends: which keys are wanted, which go, which get another value.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::service::ServiceId;

use super::{
    capacity::Capacity,
    claims::Claim,
    desired::Scope,
    draft::Draft,
    endpoint::Endpoint,
    errors::{Limit, PlanError},
    image::Image,
    keys::{ReplyTarget, VipKey},
    seating::{Seat, Seating},
    stages::Stages,
    writes::Write,
};
use crate::model::{Listener, Service};

/// The wanted contents of `REPLIES_IPV4` and `REPLIES_IPV6`.
#[derive(Debug, Default)]
pub(super) struct Replies<'a> {
    wanted: BTreeMap<VipKey, WantedReply<'a>>,
}

#[derive(Debug)]
struct WantedReply<'a> {
    service: &'a Service,
    reply: ReplyTarget,
}

/// The keys of all configured `dnat` backends of the services looked at, and of those that finish their
/// connections. A backend that another service takes over cannot: its replies are that service's.
#[derive(Debug, Default)]
pub(super) struct Wanted(BTreeMap<VipKey, ServiceId>);

impl Wanted {
    pub(super) fn of(claims: &[Claim<'_>]) -> Self {
        let mut keys = BTreeMap::new();
        for Claim { service, id } in claims {
            for backend in service.backends.iter().map(Endpoint::from) {
                keys.extend(reply_keys(service, backend).map(|key| (key, *id)));
            }
        }
        Self(keys)
    }

    /// Lets a backend of this service go on to have its keys, unless one of them stands for something
    /// else: wanted by another service, or for two listeners of this one.
    pub(super) fn let_stay(&mut self, claim: Claim<'_>, endpoint: Endpoint) -> bool {
        let Claim { service, id } = claim;
        let keys: Vec<VipKey> = reply_keys(service, endpoint).collect();
        let own: BTreeSet<&VipKey> = keys.iter().collect();
        let is_another = |key| self.0.get(key).is_some_and(|other| *other != id);
        // Its listeners may be of the other family now.
        let is_other_family = |listener: &Listener| {
            service.forward.has_replies()
                && listener.address.is_ipv6() != endpoint.address.is_ipv6()
        };
        if own.len() < keys.len()
            || keys.iter().any(is_another)
            || service.listeners.iter().any(is_other_family)
        {
            return false;
        }
        self.0.extend(keys.into_iter().map(|key| (key, id)));
        true
    }
}

/// The keys of a backend's replies; none outside of `dnat`, where backends answer clients themselves.
pub(super) fn reply_keys(service: &Service, endpoint: Endpoint) -> impl Iterator<Item = VipKey> {
    let has_replies = service.forward.has_replies();
    let listeners = service.listeners.iter().filter(move |_| has_replies);
    listeners.map(move |listener| reply_key(endpoint, listener))
}

/// The key of the replies that a backend sends on behalf of a listener.
fn reply_key(endpoint: Endpoint, listener: &Listener) -> VipKey {
    let port = endpoint.port.unwrap_or(listener.address.port());
    VipKey::new(endpoint.address, port, listener.protocol.number())
}

impl<'a> Replies<'a> {
    /// Adds the keys of a `dnat` service: one for each backend and listener.
    pub(super) fn want(
        &mut self,
        claim: Claim<'a>,
        seating: &Seating<'a>,
    ) -> Result<(), PlanError> {
        // In the other modes backends answer clients themselves.
        if !claim.service.forward.has_replies() {
            return Ok(());
        }
        for seat in &seating.seats {
            for listener in &claim.service.listeners {
                self.want_one(claim, seat, listener)?;
            }
        }
        Ok(())
    }

    /// Plans what is new or differs. Returns the services that must wait for a key to get another
    /// value.
    pub(super) fn compare(
        &self,
        image: &Image,
        capacity: Capacity,
        stages: &mut Stages,
    ) -> Result<BTreeSet<ServiceId>, PlanError> {
        let mut waiting = BTreeSet::new();
        for (key, WantedReply { service, reply }) in &self.wanted {
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
                    waiting.insert(reply.service());
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
        Ok(waiting)
    }

    /// Plans the deletion of keys that nobody wants: wherever they are, or those of backends that leave
    /// the services looked at.
    pub(super) fn unwanted(
        &self,
        scope: Scope<'_>,
        drafts: &[Draft<'_>],
        image: &Image,
        stages: &mut Stages,
    ) {
        let delete = |key: &VipKey| Write::DeleteReply { key: *key };
        if scope.is_all() {
            let unwanted = image
                .replies()
                .keys()
                .filter(|key| !self.wanted.contains_key(key));
            stages.reply_deletes.extend(unwanted.map(delete));
            return;
        }
        for draft in drafts {
            let Claim { service, id } = draft.claim();
            let unwanted: BTreeSet<VipKey> = draft
                .seating
                .gone()
                .flat_map(|(endpoint, _)| reply_keys(service, endpoint))
                .filter(|key| !self.wanted.contains_key(key))
                .filter(|key| image.replies().get(key).is_some_and(|r| r.service() == id))
                .collect();
            stages.reply_deletes.extend(unwanted.iter().map(delete));
        }
    }

    fn want_one(
        &mut self,
        claim: Claim<'a>,
        seat: &Seat<'a>,
        listener: &Listener,
    ) -> Result<(), PlanError> {
        let Claim { service, id } = claim;
        let address = seat.endpoint.address;
        let key = reply_key(seat.endpoint, listener);
        let reply = ReplyTarget::new(listener.address, id, seat.index.0);
        if !reply.fits(&key) {
            return Err(PlanError::OtherFamily {
                service: service.name.clone(),
                address,
                vip: listener.address.ip(),
            });
        }
        match self.wanted.get(&key) {
            Some(other) if !is_same(&other.reply, &reply) => Err(PlanError::ReplyTaken {
                service: service.name.clone(),
                other: other.service.name.clone(),
                address,
                port: key.port(),
            }),
            Some(_) => Ok(()),
            None => {
                self.wanted.insert(key, WantedReply { service, reply });
                Ok(())
            }
        }
    }
}

/// Whether packets are treated the same. The backend's index is a hint for tracing: a service that
/// moves to another range of backends does not interrupt its replies for it.
fn is_same(a: &ReplyTarget, b: &ReplyTarget) -> bool {
    (a.vip(), a.service()) == (b.vip(), b.service())
}
