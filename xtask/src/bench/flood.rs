//! What a flood costs: packets a second through the kernel program, and what everybody else notices of a key that floods.

use super::figures::{Spread, thousands};
use super::plot::{self, Bar};
use crate::deployment::{Deployment, Mode, PORT, Plan};
use crate::lab::{Process, WIRE};
use crate::load::Load;
use crate::{build, command, interrupt};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const KINDS: [(&str, &str); 3] = [
    ("requests", "requests over their limits, on established connections: dropped"),
    ("syn", "segments that open a connection: passed on"),
    ("ack", "segments without payload: passed on"),
];

/// Requests a second of the key that floods.
const RATE: u32 = 5_000;

const NGINX_PORT: u16 = 8_081;

const START_LIMIT: Duration = Duration::from_secs(20);

/// The row of those who do not flood.
const BYSTANDERS: &str = "GET /courses/{n}, 200";

/// The tables.
pub(super) fn measure(quick: bool) -> Result<String> {
    let (rounds, seconds) = if quick { (2, 1) } else { (7, 4) };
    let packets = packets(rounds, seconds, !quick)?;
    let others = others(rounds, seconds.max(2), !quick)?;
    Ok(format!("{packets}\n{others}"))
}

#[derive(Deserialize)]
struct Flood {
    sent_per_second: f64,
}

fn packets(rounds: usize, seconds: u64, is_kept: bool) -> Result<String> {
    let mut figures: Vec<_> = KINDS.map(|kind| (kind, Vec::new())).to_vec();
    for round in 1..=rounds {
        eprintln!("bench: packets in a flood, round {round} of {rounds}");
        for ((kind, _), figures) in &mut figures {
            interrupt::check()?;
            let arguments = ["load", "flood", "--kind", kind, "--seconds", &seconds.to_string(), "--json"];
            let said = command::output(Command::new(build::daemon_path(false)).args(arguments))?;
            figures.push(serde_json::from_str::<Flood>(&said).context("the flood's report")?.sent_per_second);
        }
        figures.reverse();
    }
    figures.sort_by_key(|((kind, _), _)| KINDS.iter().position(|(own, _)| own == kind));
    let mut text = format!(
        "{rounds} rounds of {seconds} s of `ratelimitd load flood --kind KIND`: one thread sends, and the kernel program judges on \
         the same core, so a packet's time is that of both.\n\n\
         | packets | a second | ns a packet, with its sending |\n|---|---|---|\n"
    );
    let mut bars = Vec::new();
    for ((kind, meaning), figures) in figures {
        let spread = Spread::of(figures).context("nothing was measured")?;
        let Spread { median, low, high } = spread;
        let (per_second, per_packet) = (thousands(median), thousands(1e9 / median));
        let _ = writeln!(
            text,
            "| `{kind}`: {meaning} | {per_second} ({} to {}) | {per_packet} |",
            thousands(low),
            thousands(high)
        );
        bars.push(Bar { name: kind.to_owned(), spread, figure: per_second + "/s", is_own: true });
    }
    let plot = plot::write("flood", "Packets a second through the kernel program, one core", &bars, is_kept)?;
    Ok(format!("{text}\n{plot}"))
}

/// ratelimitd with its kernel program, and nginx, before the same API.
struct Bed {
    deployment: Deployment,
    // Held for its end.
    _nginx: Process,
}

/// The 99th percentile of those who do not flood, beside a key that does and beside none.
fn others(rounds: usize, seconds: u64, is_kept: bool) -> Result<String> {
    let bed = Bed::set_up()?;
    let lab = &bed.deployment.lab;
    let (ratelimitd, nginx) = (lab.host_v4(PORT), lab.host_v4(NGINX_PORT));
    let scenarios = bed.scenarios(seconds)?;
    let mut figures: Vec<_> = [("ratelimitd", ratelimitd), ("nginx", nginx)]
        .into_iter()
        .flat_map(|(name, server)| [(name, server, false, Vec::new()), (name, server, true, Vec::new())])
        .collect();
    for round in 1..=rounds {
        eprintln!("bench: others beside a flood, round {round} of {rounds}");
        for (_, server, is_flooded, figures) in &mut figures {
            interrupt::check()?;
            figures.push(bed.p99(*server, &scenarios, *is_flooded)?);
        }
    }
    let mut text = format!(
        "{rounds} rounds of {seconds} s in a laboratory: 20 keys send 200 requests a second within their limits, alone and beside a \
         key that sends {} a second over its own. 99th percentile of the 20, from when a request was due.\n\n\
         | | alone | beside the flood | ratio |\n|---|---|---|---|\n",
        thousands(RATE.into())
    );
    let mut bars = Vec::new();
    for pair in figures.chunks(2) {
        let [(name, _, _, alone), (_, _, _, beside)] = pair else { continue };
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied()).context("nothing was measured");
        let (quiet, loud) = (spread(alone)?, spread(beside)?);
        let ratio = Spread::of(beside.iter().zip(alone).map(|(beside, alone)| beside / alone));
        let ratio = ratio.map(Spread::ratio).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {name} | {} µs | {} µs | {ratio} |",
            thousands(quiet.median),
            thousands(loud.median)
        );
        for (spread, when) in [(quiet, "alone"), (loud, "beside a flood")] {
            let figure = thousands(spread.median) + " µs";
            bars.push(Bar { name: format!("{name}, {when}"), spread, figure, is_own: *name == "ratelimitd" });
        }
    }
    let plot = plot::write("others", "99th percentile of those who do not flood", &bars, is_kept)?;
    Ok(format!("{text}\n{plot}"))
}

impl Bed {
    fn set_up() -> Result<Self> {
        let xtask = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
        let deployment = Deployment::start(&Plan {
            xtask: &xtask,
            mode: Mode::Proxy,
            action: "reply",
            attach: "auto",
            interfaces: &[WIRE],
            tables: "",
            keys: &[],
        })?;
        let lab = &deployment.lab;
        let directory = lab.directory().display();
        let config = format!(
            "daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; limit_req_status 429;\n\
             limit_req_zone $http_x_api_key zone=keys:10m rate=500r/m;\n\
             upstream api {{ server 127.0.0.1:9000; keepalive 64; }}\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             server {{ listen {}; location / {{ limit_req zone=keys burst=499 nodelay; proxy_pass http://api; }} }} }}\n",
            lab.host_v4(NGINX_PORT)
        );
        let path = lab.directory().join("nginx.conf");
        std::fs::write(&path, config)?;
        let nginx = command::find("nginx").context("nginx is missing: run `cargo xtask setup`")?;
        let path = path.to_str().context("the directory's name is not UTF-8")?;
        let mut nginx = lab.start("nginx", &nginx, &["-e", "stderr", "-c", path])?;
        let address = lab.host_v4(NGINX_PORT);
        let listens = || lab.client.inside(|| Ok(std::net::TcpStream::connect(address).is_ok()));
        nginx.wait_until(START_LIMIT, |_| listens())?;
        Ok(Self { deployment, _nginx: nginx })
    }

    /// Of those who do not flood, and of the key that does.
    fn scenarios(&self, seconds: u64) -> Result<[PathBuf; 2]> {
        let write = |name: &str, keys: u32, connections: u32, arrivals: String, path: &str| {
            let text = format!(
                "description = \"{name}\"\n[expect]\nrules = false\n[[population]]\nname = \"{name}\"\n\
                 tier = \"enterprise\"\nkeys = {keys}\nconnections = {connections}\n\
                 arrivals = [{{ {arrivals} }}]\nrequests = [{{ path = \"{path}\" }}]\n"
            );
            let path = self.deployment.lab.directory().join(format!("{name}.toml"));
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok::<_, anyhow::Error>(path)
        };
        let others = format!("kind = \"poisson\", seconds = {seconds}, rate = 200");
        // It is there before the others come and until they are gone.
        let flood = format!("kind = \"constant\", seconds = {}, rate = {RATE}", seconds + 2);
        Ok([
            write("others", 20, 32, others, "/courses/{n}")?,
            write("flood", 1, 64, flood, "/courses?per_page=1")?,
        ])
    }

    /// The flood comes from a program of its own, so that those who are measured do not wait for it at home.
    fn p99(&self, server: SocketAddr, [others, flood]: &[PathBuf; 2], is_flooded: bool) -> Result<f64> {
        let config = self.deployment.config();
        let load = |scenario: &Path| {
            let load = Load::new(scenario).at(server).with_threads(1).with_made_keys(config);
            load.run(&self.deployment.lab.client)
        };
        let report = std::thread::scope(|scope| {
            let flood = is_flooded.then(|| scope.spawn(|| load(flood)));
            let report = load(others);
            let flood =
                flood.map(|flood| flood.join().map_err(|_| anyhow!("the flood panicked"))?).transpose()?;
            ensure!(flood.is_none_or(|flood| flood.refused > 0), "the flood was not refused");
            report
        })?;
        let row = report.latency.by_endpoint_and_status.iter().find(|row| row.of == BYSTANDERS);
        match row {
            Some(row) if report.failed == 0 => Ok(row.p99),
            _ => bail!("not what is to be measured: {} failed, {:?}", report.failed, report.failures),
        }
    }
}
