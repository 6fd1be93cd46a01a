//! What the operator says of backends by command, and what that leaves of a service.

use super::state::Controller;
use crate::{
    admin::{OverrideReport, Refusal},
    config::nearest,
    model::{self, Admin, Override},
    overrides::{Change, Target},
};

/// Names that a refusal lists.
const LISTED: usize = 8;

impl Controller {
    /// Notes a change, puts it in force, and tells what that leaves.
    ///
    /// # Errors
    /// A backend that is not there, a change that makes no sense, or one that cannot be written.
    /// Nothing has changed then.
    pub(super) fn change_backend(
        &mut self,
        target: &Target,
        change: Change,
    ) -> Result<OverrideReport, Refusal> {
        let before = self.said.get(target);
        let known = before != Override::default();
        if let Err(why) = find(&self.model, target)
            && !(known && change.takes_back())
        {
            return Err(Refusal::bad_request(why));
        }
        if change == Change::Undrain && before.admin == Admin::Disabled {
            return Err(Refusal::conflict(format!(
                "{target} is disabled, not draining: `sluice enable {target}` brings it back"
            )));
        }
        let changed = self
            .said
            .change(target, change)
            .map_err(|error| Refusal::unavailable(error.to_string()))?;
        if changed {
            log::info!("{target}: {change} by command");
            self.overrides = self.said.resolve(&self.model);
            self.touched.add(&target.service);
            self.reconcile_or_log();
        }
        Ok(self.report(target, changed))
    }

    /// What the operator said of a backend.
    pub(super) fn said_of(&self, service: &model::Service, backend: &model::Backend) -> Override {
        let said = self.overrides.get(&service.key(backend));
        said.copied().unwrap_or_default()
    }

    /// Whether a backend gets new connections: it is wanted, healthy and reachable.
    pub(super) fn takes_new(&self, service: &model::Service, backend: &model::Backend) -> bool {
        let Override { admin, weight } = self.said_of(service, backend);
        let view = self.views.get(&service.key(backend)).copied();
        let view = view.unwrap_or_default();
        admin == Admin::Enabled
            && weight.unwrap_or(backend.weight) > 0
            && view.health.is_usable()
            && view.next_hop.is_some()
    }

    /// Backends of whom something is said and who are not configured, a line each.
    pub(super) fn absent_overrides(&self) -> Vec<String> {
        self.said
            .absent(&self.model)
            .map(|target| {
                format!(
                    "{target} is not configured, but draining, disabled or weighted by command; \
                     `sluice enable --reset {target}` forgets that"
                )
            })
            .collect()
    }

    fn report(&self, target: &Target, changed: bool) -> OverrideReport {
        let Override { admin, weight } = self.said.get(target);
        let found = find(&self.model, target).ok();
        let remaining = found.map_or(0, |(service, _)| {
            let backends = service.backends.iter();
            backends.filter(|b| self.takes_new(service, b)).count()
        });
        OverrideReport {
            service: target.service.to_string(),
            backend: target.backend.to_string(),
            changed,
            admin: admin.into(),
            weight: found.map(|(_, backend)| weight.unwrap_or(backend.weight)),
            takes_new: found.is_some_and(|(service, backend)| self.takes_new(service, backend)),
            remaining,
            warnings: self.trouble.iter().cloned().collect(),
        }
    }
}

/// A configured backend by its names.
///
/// # Errors
/// For people: what there is instead.
fn find<'m>(
    model: &'m model::Model,
    target: &Target,
) -> Result<(&'m model::Service, &'m model::Backend), String> {
    let Target { service, backend } = target;
    let services = &model.services;
    let Some(found) = services.iter().find(|s| s.name == *service) else {
        let names: Vec<&str> = services.iter().map(|s| &*s.name).collect();
        return Err(format!(
            "there is no service `{service}`{}",
            instead(service, &names)
        ));
    };
    let backends = &found.backends;
    let Some(backend) = backends.iter().find(|b| b.name == *backend) else {
        let names: Vec<&str> = backends.iter().map(|b| &*b.name).collect();
        return Err(format!(
            "service `{service}` has no backend `{backend}`{}",
            instead(backend, &names)
        ));
    };
    Ok((found, backend))
}

/// What was likely meant, or what there is.
fn instead(name: &str, names: &[&str]) -> String {
    if let Some(near) = nearest(name, names) {
        return format!(", did you mean `{near}`?");
    }
    let listed: Vec<_> = names
        .iter()
        .take(LISTED)
        .map(|n| format!("`{n}`"))
        .collect();
    match names.len() {
        0 => String::new(),
        n if n > LISTED => format!("; there are {} and {} more", listed.join(", "), n - LISTED),
        _ => format!("; there is {}", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn refusal(target: &str) -> String {
        let backends: String = (1..=10)
            .map(|n| format!("{{ name = 'web-{n}', address = '10.0.1.{n}' }},"))
            .collect();
        let text = format!(
            "[[service]]\nname = 'web'\nlisten = ['tcp://203.0.113.80:80']\n\
             backend = [{backends}]\n\
             [[service]]\nname = 'mail'\nlisten = ['tcp://203.0.113.25:25']"
        );
        let model = parse("s.toml", &text).unwrap().model;
        find(&model, &target.parse().unwrap()).unwrap_err()
    }

    #[test]
    fn names_that_are_nearly_right_get_a_hint() {
        for (target, line) in [
            (
                "wbe/web-1",
                "there is no service `wbe`, did you mean `web`?",
            ),
            (
                "database/web-1",
                "there is no service `database`; there is `web`, `mail`",
            ),
            (
                "web/wbe-3",
                "service `web` has no backend `wbe-3`, did you mean `web-3`?",
            ),
            (
                "web/alpha",
                "service `web` has no backend `alpha`; there are `web-1`, `web-2`, `web-3`, \
                 `web-4`, `web-5`, `web-6`, `web-7`, `web-8` and 2 more",
            ),
            ("mail/x", "service `mail` has no backend `x`"),
        ] {
            assert_eq!(refusal(target), line);
        }
    }
}
