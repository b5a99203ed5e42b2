//! Frames through the loaded program, by the kernel's own test runs. Needs root and the kernel program.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it did not expect, in its helping functions too"
)]

mod bucket;
mod frames;
mod host;
mod hostile;
mod keys;
mod network;
mod reply;
mod reset;
mod socket;
mod verdicts;
