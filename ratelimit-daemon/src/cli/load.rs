//! `ratelimitd load`: load from scenarios or from the command line, and the report of it.

use super::flood;
use super::{print, wrong_argument};
use crate::load::scenario::{Quick, READY, Scenario};
use crate::load::{self, Plan, Source, Target};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  ratelimitd load --list
  ratelimitd load http://127.0.0.1:8080 --key \"$KEY\" --connections 64 --seconds 10
  ratelimitd load http://127.0.0.1:8080 --key \"$KEY\" --rate 2000 --poisson
  ratelimitd load http://127.0.0.1:8080 --scenario mixed --make-keys --verify
  ratelimitd load http://127.0.0.1:8080 --scenario mine.toml --keys keys.txt --html report.html
  ratelimitd load --show mixed > mine.toml
  ratelimitd load keys --scenario mixed > keys.txt

With --rate, or with rates in a scenario, requests are due at instants that do not depend on the answers, and
latency is counted from when a request was due. Else it is a closed loop: each connection sends its next
request when the last one is answered.

--verify judges every request by a model of its own: was anybody admitted whom the limits refuse, or refused
whom they admit? It exits with 1 if so. Keys must not have been used within the hour before; --make-keys sees
to that.

Ctrl-C ends it with the report so far.";

/// What is sent, with which keys, and how it is told.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Load {
    #[command(subcommand)]
    below: Option<Below>,
    /// The server: http://host:port
    #[arg(required_unless_present_any = ["list", "show"])]
    target: Option<String>,
    /// A ready scenario, or the file of one
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// List the ready scenarios
    #[arg(long)]
    list: bool,
    /// Print the file of a ready scenario, as a start for one of your own
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    quick: QuickArguments,
    /// Threads, each with connections of its own; by default one for each core
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Longest wait for an answer, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Judge every request by a model of the limits; exit with 1 if one was judged wrongly
    #[arg(long)]
    verify: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report as a page, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What goes with load.
#[derive(Debug, Subcommand)]
enum Below {
    /// Flood the kernel program with packets, in a network made for that
    #[command(after_help = flood::EXAMPLES)]
    Flood(flood::Flood),
    /// Add a scenario's keys to the key file of the configuration, and print them for `load --keys` on another host
    Keys {
        /// A ready scenario, or the file of one
        #[arg(long, value_name = "NAME|FILE", required_unless_present = "remove")]
        scenario: Option<String>,
        /// Remove all keys that were added like this
        #[arg(long, conflicts_with = "scenario")]
        remove: bool,
    },
}

/// Where the keys come from.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct KeyArguments {
    /// One key, for everything
    #[arg(long)]
    key: Option<String>,
    /// A file with a tier and a key on each line
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Add keys with the scenario's limits to the key file of the configuration, and remove them in the end
    #[arg(long)]
    make_keys: bool,
    /// Use any text as keys, for a server that does not check them
    #[arg(long)]
    invent_keys: bool,
}

/// What is sent without a scenario.
#[derive(Debug, Args)]
struct QuickArguments {
    /// What is asked for
    #[arg(long, default_value = "/", conflicts_with = "scenario")]
    path: String,
    /// Connections at once
    #[arg(long, default_value_t = 64, conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    connections: u32,
    /// How long
    #[arg(long, default_value_t = 10.0, conflicts_with = "scenario")]
    seconds: f64,
    /// Requests a second, due whatever the answers are
    #[arg(long, conflicts_with = "scenario")]
    rate: Option<f64>,
    /// With --rate: independently of one another, not evenly
    #[arg(long, requires = "rate")]
    poisson: bool,
    /// A connection for each request
    #[arg(long, conflicts_with = "scenario")]
    close: bool,
    /// Keys that share the load
    #[arg(long, default_value_t = 1, conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    key_count: u32,
}

/// Sends the load and tells what came of it.
pub(super) fn execute(config: &Path, load: Load) -> Result<()> {
    match &load.below {
        Some(Below::Flood(flood)) => return flood::execute(flood),
        Some(Below::Keys { scenario, .. }) => return keys(config, scenario.as_deref()),
        None => {}
    }
    if load.list {
        return list();
    }
    if let Some(name) = &load.show {
        return show(name);
    }
    let (json, html) = (load.json, load.html.clone());
    let report = load::run(&plan(config, load)?)?;
    if let Some(path) = html {
        let page = report.html()?;
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print(&if json { serde_json::to_string(&report)? + "\n" } else { report.text() })?;
    if !report.is_clean() {
        bail!("the limits did not hold: see the accuracy above");
    }
    Ok(())
}

fn plan(config: &Path, load: Load) -> Result<Plan> {
    let Load { target, scenario, keys, quick, threads, timeout, verify, .. } = load;
    let scenario = match scenario {
        Some(name) => Scenario::find(&name)?,
        None => quick.scenario()?,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Plan {
        scenario,
        target: Target::parse(&target.unwrap_or_default())?,
        keys: keys.source(config)?,
        threads: threads.map_or(cores, usize::from),
        timeout: Duration::from_secs(timeout.into()),
        verify,
    })
}

impl KeyArguments {
    fn source(self, config: &Path) -> Result<Source> {
        match self {
            Self { key: Some(key), .. } => Ok(Source::One(key)),
            Self { keys: Some(file), .. } => Ok(Source::File(file)),
            Self { make_keys: true, .. } => Ok(Source::Make(config.to_owned())),
            Self { invent_keys: true, .. } => Ok(Source::Invent),
            _ => Err(wrong_argument(
                "no keys: give --key KEY, --keys FILE or --make-keys, or --invent-keys for a server that checks none"
                    .to_owned(),
            )),
        }
    }
}

impl QuickArguments {
    fn scenario(self) -> Result<Scenario> {
        let Self { path, connections, seconds, rate, poisson, close, key_count } = self;
        for (name, number, most) in [("seconds", Some(seconds), 86_400.0), ("rate", rate, 1e7)] {
            if number.is_some_and(|number| !(0.001..=most).contains(&number)) {
                return Err(wrong_argument(format!("--{name}: out of range; allowed: 0.001 to {most}")));
            }
        }
        let keep_alive = !close;
        Ok(Quick { path, connections, seconds, rate, poisson, keep_alive, keys: key_count }.scenario()?)
    }
}

/// Adds keys, or without a scenario removes them.
fn keys(config: &Path, scenario: Option<&str>) -> Result<()> {
    let Some(scenario) = scenario else {
        eprintln!("removed {} keys", load::keys::remove(config)?);
        return Ok(());
    };
    let keys = load::keys::lay_in(config, &Scenario::find(scenario)?)?;
    let lines: String = keys.iter().map(|(tier, key)| format!("{tier} {key}\n")).collect();
    print(&lines)?;
    eprintln!("added {} keys; `ratelimitd load keys --remove` removes them", keys.len());
    Ok(())
}

fn list() -> Result<()> {
    let mut text = String::new();
    for (name, _) in READY {
        let scenario = Scenario::find(name)?;
        let (keys, seconds) = (scenario.keys(), scenario.length().as_secs());
        text.push_str(&format!("{name} ({keys} keys, {seconds} s)\n    {}\n", scenario.description));
    }
    print(&text)
}

fn show(name: &str) -> Result<()> {
    match READY.iter().find(|(ready, _)| *ready == name) {
        Some((_, text)) => print(text),
        None => Err(wrong_argument(format!("--show: no scenario is named {name:?}; --list shows them"))),
    }
}
