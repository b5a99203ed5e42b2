//! `ratelimitd`: see [`ratelimit_daemon::cli`] for what it does.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use ratelimit_daemon::cli::{self, Cli};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const LOG_VARIABLE: &str = "RATELIMITD_LOG";

fn main() -> ExitCode {
    let cli = Cli::parse();
    match log().and_then(|()| cli.execute()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = cli::exit_code(&error);
            // Problems start with the file and line where they stand, each on a line of its own.
            let from = if code == cli::WRONG { "" } else { "ratelimitd: " };
            eprintln!("{from}{error:#}");
            ExitCode::from(code)
        }
    }
}

/// Logs to standard error, from `info` on unless the environment says otherwise.
fn log() -> Result<()> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var(LOG_VARIABLE)
        .from_env()
        .map_err(|error| cli::wrong_argument(format!("{LOG_VARIABLE}: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(anyhow::Error::from_boxed)
        .context("cannot start logging")
}
