//! Sluice's daemon and command line.
//!
//! The arrows run one way: [`config`] (text to typed model, all validation) to [`model`] to [`plan`]
//! (pure: model, health and what the maps hold in; ordered phases of writes out) to [`dataplane`]
//! (the only module that touches aya). [`health`], [`neighbor`] and [`admin`] send events to the
//! one [`controller`] task, which owns the state and calls plan and dataplane. [`cli`] is the
//! client of [`admin`], and what starts it all. [`decap`] is what runs on a backend instead.

pub mod admin;
pub mod cli;
pub mod config;
pub mod controller;
pub mod dataplane;
pub mod decap;
pub mod explain;
pub mod health;
pub mod interfaces;
pub mod model;
pub mod neighbor;
pub mod overrides;
pub mod plan;
pub mod prefix;
pub mod upkeep;

mod by_service;
