//! The proxy over real sockets: real clients, a real upstream, and a limiter without a kernel program.

// In a test a panic is the report, in its helpers too; and nobody but the test runner calls what is here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod ambiguous;
mod anonymous;
mod bulk;
mod client;
mod connections;
mod credits;
mod fields;
mod forwarding;
mod host;
mod interim;
mod limits;
mod origin;
mod provenance;
mod record;
mod refusals;
mod rules;
mod smuggling;
mod upgrades;
mod upstream_failures;
mod upstreams;
