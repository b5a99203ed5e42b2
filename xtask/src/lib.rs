//! What `cargo xtask` does, as a library so that the end-to-end tests stand on the same ground as the
//! demonstration.
#![forbid(unsafe_code)]

pub mod api;
pub mod bench;
pub mod build;
pub mod client;
pub mod command;
pub mod dashboard;
pub mod demo;
pub mod deployment;
mod interrupt;
pub mod lab;
pub mod linker;
pub mod lint;
pub mod load;
pub mod model;
pub mod package;
pub mod packages;
pub mod setup;
pub mod tally;
pub mod test;
pub mod toolchain;
pub mod workspace;
