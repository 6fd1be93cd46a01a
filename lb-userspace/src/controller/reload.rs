//! Reload: a new configuration takes the old one's place, or nothing changes at all.

use std::{
    mem,
    time::{Instant, SystemTime},
};

use lb_common::abi::settings::Settings;

use super::{
    Error,
    changes::Changes,
    interfaces,
    state::{Controller, LastReload},
    status::milliseconds,
    touched::Touched,
};
use crate::{
    admin::{Refusal, ReloadReport},
    config,
    model::{Daemon, Interface, Limits, Model},
    neighbor,
    plan::{self, Desired, Seed},
};

impl Controller {
    /// Reads the configuration again and makes it the one in force.
    ///
    /// # Errors
    /// What stands against it; the old configuration stays in force.
    pub(super) async fn reload(&mut self) -> Result<ReloadReport, Refusal> {
        let result = self.try_reload().await;
        let error = result.as_ref().err().map(ToString::to_string);
        self.last_reload = Some(LastReload {
            at: SystemTime::now(),
            error,
        });
        result
    }

    async fn try_reload(&mut self) -> Result<ReloadReport, Refusal> {
        let begin = Instant::now();
        let config::Loaded {
            model,
            warnings,
            files: _,
        } = self
            .source
            .load()
            .map_err(|error| Refusal::invalid_config(error.to_string()))?;
        if let Some(fixed) = fixed_while_running(&self.model, &model) {
            return Err(Refusal::invalid_config(format!(
                "{fixed} cannot change while the daemon runs; restart it (packets keep flowing with \
                 on_stop = \"keep\")"
            )));
        }
        let read = Instant::now();
        let changes = Changes::between(&self.model, &model);
        self.take_over(model, &changes.touched)
            .await
            .map_err(|error| match error {
                error if error.is_config() => Refusal::invalid_config(error.to_string()),
                error => Refusal::unavailable(error.to_string()),
            })?;
        self.generation += 1;
        self.loaded_at = SystemTime::now();
        self.warnings.clone_from(&warnings);
        log::info!(
            "configuration {} in force: {}",
            self.generation,
            changes.summary()
        );
        Ok(ReloadReport {
            generation: self.generation,
            changes: changes.lines,
            warnings: warnings.iter().map(ToString::to_string).collect(),
            read_ms: milliseconds(read - begin),
            applied_ms: milliseconds(read.elapsed()),
        })
    }

    /// Puts a model in force; `changed`: what differs from the one that is.
    async fn take_over(&mut self, model: Model, changed: &Touched) -> Result<(), Error> {
        if model.interfaces.is_empty() {
            return Err(Error::NoInterface {
                file: "the configuration".to_owned(),
            });
        }
        let seed = Seed::derive(model.daemon.seed.as_deref());
        self.check_room(&model, &seed, changed.clone())?;
        let links = neighbor::links().await?;
        let devices = interfaces::find(&self.to_be_there(&model, &links), &links)?;
        let before = *self.dataplane.settings();
        let after = plan::settings(&model);
        // A feature is there before the first service that needs it, and until after the last one.
        self.load_with(Settings {
            features: before.features | after.features,
            ..after
        })?;
        let old_names = self.dataplane.interfaces();
        if let Err(error) = self.attach_all(&devices) {
            self.detach_all_but(&old_names)?;
            self.load_with(before)?;
            return Err(error);
        }
        let old = mem::replace(&mut self.model, model);
        let old_seed = mem::replace(&mut self.seed, seed);
        let former = self.watch(changed);
        if let Err(error) = self.reconcile() {
            (self.model, self.seed) = (old, old_seed);
            self.unwatch(former);
            self.detach_all_but(&old_names)?;
            self.load_with(before)?;
            return Err(error);
        }
        // It may be large, and nobody waits for it to be gone.
        tokio::task::spawn_blocking(move || drop((old, former)));
        let names: Vec<_> = self
            .model
            .interfaces
            .iter()
            .map(|i| i.name.clone())
            .collect();
        self.detach_all_but(&names)?;
        // The status is to tell what is attached now, and how.
        self.watched.due = true;
        self.load_with(self.with_leftovers(after))
    }

    /// What there is no room for is refused before anything is touched.
    pub(super) fn check_room(
        &self,
        model: &Model,
        seed: &Seed,
        mut touched: Touched,
    ) -> Result<(), Error> {
        touched.join(self.touched.clone());
        let touched = touched.widened(model, seed, &self.image);
        let desired = Desired {
            model,
            views: &self.views,
            overrides: &self.overrides,
            seed,
            progress: plan::Progress::none(),
            scope: touched.scope(),
        };
        plan::reconcile(&desired, &self.image)?;
        Ok(())
    }

    pub(super) fn load_with(&mut self, settings: Settings) -> Result<(), Error> {
        if *self.dataplane.settings() != settings {
            self.dataplane.reload(settings)?;
        }
        Ok(())
    }

    /// The interfaces that must exist: all but those in force that are gone just now.
    fn to_be_there(&self, model: &Model, links: &[neighbor::Link]) -> Vec<Interface> {
        let gone = |name: &str| !links.iter().any(|link| link.name == name);
        let waited_for =
            |name: &str| gone(name) && self.model.interfaces.iter().any(|i| i.name == name);
        model
            .interfaces
            .iter()
            .filter(|interface| !waited_for(&interface.name))
            .cloned()
            .collect()
    }

    fn detach_all_but(&mut self, keep: &[String]) -> Result<(), Error> {
        for name in self.dataplane.interfaces() {
            if !keep.contains(&name) {
                self.dataplane.detach(&name)?;
            }
        }
        Ok(())
    }
}

/// The first setting that differs and cannot be changed by a reload.
fn fixed_while_running(old: &Model, new: &Model) -> Option<&'static str> {
    let Daemon {
        instance,
        admin_socket,
        bpffs,
        state_dir,
        on_stop: _,
        seed: _,
        tunnel_source_ipv4: _,
        tunnel_source_ipv6: _,
    } = &old.daemon;
    let Limits {
        services,
        backends,
        slots,
        flows_ipv4,
        flows_ipv6,
    } = old.limits;
    [
        (*instance != new.daemon.instance, "daemon.instance"),
        (
            *admin_socket != new.daemon.admin_socket,
            "daemon.admin_socket",
        ),
        (*bpffs != new.daemon.bpffs, "daemon.bpffs"),
        (*state_dir != new.daemon.state_dir, "daemon.state_dir"),
        (services != new.limits.services, "limits.services"),
        (backends != new.limits.backends, "limits.backends"),
        (slots != new.limits.slots, "limits.slots"),
        (flows_ipv4 != new.limits.flows_ipv4, "limits.flows_ipv4"),
        (flows_ipv6 != new.limits.flows_ipv6, "limits.flows_ipv6"),
    ]
    .into_iter()
    .find_map(|(differs, name)| differs.then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const BASE: &str = r#"
        [daemon]
        seed = "test"
        [[interface]]
        name = "eth0"
        [[service]]
        name = "web"
        listen = ["tcp://203.0.113.80:80"]
        [[service.backend]]
        name = "one"
        address = "10.0.1.11:8080"
        [[service.backend]]
        name = "two"
        address = "10.0.1.12:8080"
    "#;

    fn model(edit: impl Fn(&str) -> String) -> Model {
        parse("test.toml", &edit(BASE)).unwrap().model
    }

    #[test]
    fn what_is_pinned_does_not_change_while_running() {
        let old = model(str::to_owned);
        let moved = model(|text| text.replace("seed =", "state_dir = \"/tmp/other\"\nseed ="));
        assert_eq!(fixed_while_running(&old, &moved), Some("daemon.state_dir"));
        assert_eq!(fixed_while_running(&old, &old), None);
    }
}
