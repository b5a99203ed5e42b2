//! `cargo xtask`: one command for everything around the code. Run it without arguments for the list.
#![forbid(unsafe_code)]

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, demonstrates, tests and measures ratelimitd")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Finds the tools that building and testing need, and installs the missing ones
    Setup,
    /// Builds the kernel program and the daemon that embeds it
    Build {
        /// Builds the daemon without optimisation
        #[arg(long)]
        debug: bool,
    },
    /// Makes the Debian package: daemon, unit, manual, completions
    Package,
    /// Shows everything in a laboratory of two network namespaces, and accounts for every request
    Demo,
    /// Runs every test, the lints and the demonstration
    Test,
    /// Checks every interleaving of the enforcers on one key
    Model,
    /// Measures everything beside its peers, and writes the tables and plots of docs/benchmarks.md
    Bench(xtask::bench::Options),
    /// Checks formatting, the lints, and the rules about dependencies and sources
    Lint,
    /// Serves a small school's API, for ratelimitd to stand in front of
    #[command(hide = true)]
    ApiServer(xtask::api::Addresses),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => xtask::setup::all(),
        Task::Build { debug } => xtask::build::all(debug),
        Task::Package => xtask::package::all(),
        Task::Demo => xtask::demo::run(),
        Task::Test => xtask::test::all(),
        Task::Model => xtask::model::check(),
        Task::Bench(options) => xtask::bench::run(&options),
        Task::Lint => xtask::lint::all(),
        Task::ApiServer(addresses) => xtask::api::serve(addresses),
    }
}
