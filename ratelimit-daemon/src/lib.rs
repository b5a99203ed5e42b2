//! The daemon behind `ratelimitd`, as a library so that tests can run its parts.

mod admin;
pub mod cli;
pub mod clock;
pub mod config;
mod control;
mod dashboard;
mod deferred_accept;
pub mod document;
pub mod enforcement;
pub mod flows;
pub mod kernel;
mod key_watch;
pub mod keys;
pub mod limiter;
mod load;
mod metrics;
pub mod places;
pub mod policy;
pub mod proxy;
pub mod record;
pub mod records;
pub mod rules;
pub mod run;
mod service;
mod shared_memory;
pub mod slots;
pub mod strangers;
