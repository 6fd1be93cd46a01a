//! A progress bar where there is a terminal, a line a step where there is none.

use std::{
    cell::RefCell,
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// How far a benchmark is.
pub(crate) struct Progress {
    bar: RefCell<ProgressBar>,
    terminal: bool,
}

impl Progress {
    /// Nothing has begun.
    pub(crate) fn new() -> Self {
        Self {
            bar: RefCell::new(ProgressBar::hidden()),
            terminal: stderr().is_terminal(),
        }
    }

    /// Says what is being prepared.
    pub(crate) fn say(&self, what: &str) {
        if self.terminal {
            let bar = self.bar.borrow();
            if bar.is_hidden() {
                drop(bar);
                self.show(ProgressBar::new_spinner());
            }
            self.bar.borrow().set_message(what.to_owned());
        }
    }

    /// From now on there are `steps` steps.
    pub(crate) fn begin(&self, what: &str, steps: u64) {
        if self.terminal {
            let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            self.show(ProgressBar::new(steps).with_style(style));
            self.bar.borrow().set_message(what.to_owned());
        } else {
            eprintln!("== bench {what}: {steps} steps");
        }
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        self.bar.borrow().inc(1);
    }

    /// All is done; the bar goes.
    pub(crate) fn end(&self) {
        self.bar.borrow().finish_and_clear();
    }

    fn show(&self, bar: ProgressBar) {
        self.bar.borrow().finish_and_clear();
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar.borrow_mut() = bar;
    }
}
