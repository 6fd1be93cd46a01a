//! What happens: backends, operators, health and the daemon's own ends, at random.

use super::{
    Lost, Sim,
    setup::{backend, up},
};
use crate::model::{Admin, Health, OnDeath, Override};

impl Sim {
    pub(super) fn event(&mut self) -> Result<(), Lost> {
        let number = self.random.below(10) as u8;
        let backend = backend(number);
        let key = self.model.services[0].key(&backend);
        let configured = (self.model.services[0].backends).contains(&backend);
        let all = match self.random.below(26) {
            0..=2 if !configured => {
                self.service().backends.push(backend);
                self.views.insert(key, up());
                true
            }
            0..=2 => {
                self.service().backends.retain(|other| *other != backend);
                self.views.remove(&key);
                self.overrides.remove(&key);
                true
            }
            3..=8 => {
                // A death, and most often a false alarm.
                if let Some(view) = self.views.get_mut(&key) {
                    view.health = match view.health {
                        Health::Up => Health::Down,
                        _ => Health::Up,
                    };
                }
                false
            }
            9..=12 => {
                for view in self.views.values_mut() {
                    view.health = Health::Up;
                }
                false
            }
            13..=15 => {
                let admin = [Admin::Draining, Admin::Enabled, Admin::Disabled]
                    [self.random.below(3) as usize];
                self.overrides.insert(
                    key,
                    Override {
                        admin,
                        weight: None,
                    },
                );
                false
            }
            16..=17 => {
                self.overrides.clear();
                false
            }
            18..=19 => {
                let weight = self.random.below(4) as u16;
                self.overrides.insert(
                    key,
                    Override {
                        admin: Admin::Enabled,
                        weight: Some(weight),
                    },
                );
                false
            }
            20 => {
                let sizes = [self.shape.table_size, self.shape.table_size + 6, 11];
                let size = sizes[self.random.below(3) as usize];
                self.service().table_size = size;
                true
            }
            21 => {
                let keep = self.random.one_in(3);
                self.service().connections.on_death =
                    if keep { OnDeath::Keep } else { OnDeath::Reset };
                false
            }
            22 => {
                self.counted.reseeded += 1;
                self.reseed();
                // At times together with another size.
                if self.random.one_in(3) {
                    self.service().table_size = self.shape.table_size + 6;
                }
                true
            }
            23 => {
                self.rehash();
                true
            }
            _ => return self.adopt(),
        };
        self.plan(all, usize::MAX)
    }
}
