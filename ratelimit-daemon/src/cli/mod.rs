//! The command line: what can be asked of `ratelimitd`, and what its exit code says.
#![forbid(unsafe_code)]

mod buckets;
mod check;
mod daemon;
mod detach;
mod explain;
mod flood;
mod flows;
mod generate;
mod keys;
mod load;
mod pinned;
mod reload;
mod status;
mod table;
mod top;
mod unattended;

use crate::document::{Problem, Problems};
use crate::run;
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use std::io::{self, Write};
use std::path::PathBuf;

/// Enforces API rate limits in the kernel and in a reverse proxy.
#[derive(Debug, Parser)]
#[command(name = "ratelimitd", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/ratelimitd/ratelimitd.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ratelimitd check --config ratelimitd.toml
  KEY=$(ratelimitd keys add acme-prod --tier professional)
  ratelimitd keys list
  ratelimitd run
  ratelimitd status

Exit codes: 0 done, 1 it failed, 2 the command line, the configuration or the key file is wrong.
RATELIMITD_LOG sets what is logged: error, warn, info (the default), debug, trace; or by module, such as
info,ratelimit_daemon::proxy=debug.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Enforce the limits until stopped (SIGTERM, SIGINT), and in the kernel beyond that; SIGHUP rereads tiers and keys
    Run,
    /// Check the configuration and the key file
    #[command(after_help = check::EXAMPLES)]
    Check {
        /// Print the whole configuration, also what the file leaves at its default
        #[arg(long)]
        dump_effective: bool,
    },
    /// Show how the running daemon fares
    #[command(after_help = status::EXAMPLES)]
    Status(daemon::Daemon),
    /// Show what the kernel program has found, by verdict and skip
    Counters(daemon::Daemon),
    /// Show how each key stands in the kernel; needs no daemon
    #[command(after_help = buckets::EXAMPLES)]
    Buckets(pinned::Pinned),
    /// Show the connections that the kernel remembers; needs no daemon
    #[command(after_help = flows::EXAMPLES)]
    Flows(flows::Flows),
    /// Show the keys that use most, or are refused most
    #[command(after_help = top::EXAMPLES)]
    Top(top::Top),
    /// Detach the kernel program and remove all that is pinned, after the daemon has stopped
    #[command(after_help = detach::EXAMPLES)]
    Detach(detach::Detach),
    /// Let the running daemon read tiers, rules and keys again
    #[command(after_help = reload::EXAMPLES)]
    Reload(daemon::Daemon),
    /// Tell what a request would get, and why, without charging it
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    /// Show and change the API keys; a running daemon takes changes over by itself
    #[command(after_help = keys::EXAMPLES)]
    Keys {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Send load, and tell how it was answered and whether the limits held
    #[command(after_help = load::EXAMPLES)]
    Load(Box<load::Load>),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual's pages into a directory
    #[command(hide = true)]
    Man {
        /// Where to
        directory: PathBuf,
    },
    /// Print the version
    Version,
}

impl Cli {
    /// Does what was asked for.
    pub fn execute(self) -> Result<()> {
        let Self { config, command } = self;
        match command {
            Command::Run => run::run(&config),
            Command::Check { dump_effective: false } => check::check(&config),
            Command::Check { dump_effective: true } => check::dump_effective(&config),
            Command::Status(daemon) => status::status(&config, &daemon),
            Command::Counters(daemon) => status::counters(&config, &daemon),
            Command::Buckets(pinned) => buckets::buckets(&config, &pinned),
            Command::Flows(flows) => flows::flows(&config, &flows),
            Command::Top(top) => top::top(&config, &top),
            Command::Detach(what) => detach::detach(&config, what),
            Command::Reload(daemon) => reload::reload(&config, &daemon),
            Command::Explain(request) => explain::explain(&config, request),
            Command::Keys { command } => keys::execute(&config, command),
            Command::Load(load) => load::execute(&config, *load),
            Command::Completions { shell } => generate::completions(shell),
            Command::Man { directory } => generate::man(&directory),
            Command::Version => print(concat!("ratelimitd ", env!("CARGO_PKG_VERSION"), "\n")),
        }
    }
}

/// Exit code for what failed.
pub const FAILED: u8 = 1;
/// Exit code for what cannot work: the command line, the configuration or the key file has to change.
pub const WRONG: u8 = 2;

/// The exit code for a failure.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Problems>()) { WRONG } else { FAILED }
}

/// An error about what was asked for on the command line or in the environment: exit code 2.
pub fn wrong_argument(text: String) -> anyhow::Error {
    Problems::from(Problem::in_arguments(text)).into()
}

/// Writes to standard output; unlike `print!` it does not panic when nobody reads.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_has_to_be_changed_exits_with_2_and_what_failed_with_1() {
        assert_eq!(exit_code(&wrong_argument("wrong".to_owned()).context("while starting")), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("no more memory").context("while starting")), 1);
    }
}
