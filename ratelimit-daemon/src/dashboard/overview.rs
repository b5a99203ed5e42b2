//! How it is now: rates, who uses most, who is near a limit, what is not as it should be.

use super::Desk;
use super::keys::{KeyRow, Sort, top};
use crate::admin::status::Status;
use crate::admin::{Line, Refusal};
use crate::clock;
use crate::config::Mode;
use crate::kernel;
use crate::record::{Counts, TOTAL};
use serde::Serialize;
use std::fs;
use std::time::Instant;

/// Rates are over so many seconds.
const RATE_SECONDS: u64 = 10;

/// Keys in each list.
const TOP: usize = 8;

/// Shares of a key's hour, in percent, from which on it is near its limit, and almost at it.
pub(crate) const NEAR: [u32; 2] = [80, 95];

/// How it is.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    /// Unix time in seconds.
    at: u64,
    status: Status,
    /// When the last second that is over began, in Unix time; and what came in it.
    second_at: u64,
    second: Counts,
    /// The last ten seconds.
    recent: Counts,
    recent_seconds: u64,
    hour: Counts,
    since_start: Counts,
    /// Processors that the daemon keeps busy, in percent of one.
    cpu_percent: f64,
    /// Keys at no less than 80 and 95 percent of their hour.
    near: [usize; 2],
    top_by_use: Vec<KeyRow>,
    top_by_share: Vec<KeyRow>,
    concerns: Vec<Concern>,
}

/// What is not as it should be.
#[derive(Debug, Serialize)]
struct Concern {
    is_severe: bool,
    text: String,
    /// The key that it is about.
    key: Option<String>,
}

impl Overview {
    /// As it is now. Error: the daemon stops, or the kernel's counters cannot be read.
    pub(super) async fn of(desk: &Desk, meter: &Meter) -> Result<Self, Refusal> {
        let status = status(&desk.line).await?;
        let (now, at) = (clock::now(), clock::unix_seconds());
        let record = desk.record.lock();
        let keys = record.subjects().keys();
        let near = NEAR.map(|percent| keys.iter().filter(|watched| watched.is_at(percent)).count());
        let row = |watched| KeyRow::of(&record, &desk.limiter, watched, now);
        let top = |sort| top(keys, sort, TOP).into_iter().map(row).collect::<Vec<_>>();
        let (top_by_use, mut top_by_share) = (top(Sort::Admitted), top(Sort::Share));
        top_by_share.retain(|row| row.used > 0);
        let last = record.series(TOTAL, 1, 1, now, at);
        let concerns = concerns(&status, &top_by_share, near);
        Ok(Self {
            at,
            second_at: last.start,
            second: last.points.first().copied().unwrap_or_default(),
            recent: record.sum(TOTAL, RATE_SECONDS),
            recent_seconds: RATE_SECONDS.min(status.uptime_seconds.max(1)),
            hour: record.sum(TOTAL, 3_600),
            since_start: record.since_start(TOTAL),
            cpu_percent: meter.percent,
            near,
            top_by_use: top_by_use.into_iter().filter(|row| row.admitted + row.refused > 0).collect(),
            top_by_share,
            concerns,
            status,
        })
    }
}

/// What the daemon is, as its control loop tells.
pub(crate) async fn status(line: &Line) -> Result<Status, Refusal> {
    Ok(line.ask(|control| Status::of(control)).await??)
}

fn concerns(status: &Status, top_by_share: &[KeyRow], near: [usize; 2]) -> Vec<Concern> {
    let concern = |is_severe, text: String| Concern { is_severe, text, key: None };
    let mut concerns = Vec::new();
    for upstream in status.upstreams.iter().filter(|upstream| !upstream.is_up) {
        concerns.push(concern(true, format!("The upstream {} is down.", upstream.address)));
    }
    if status.interfaces.is_empty() && status.mode == Mode::Proxy {
        concerns
            .push(concern(false, "The kernel program is attached nowhere: the proxy enforces alone.".into()));
    }
    for attached in status.interfaces.iter().filter(|attached| attached.mode != kernel::Mode::Native) {
        let text =
            format!("On {} the program runs as {}, which is slower.", attached.interface, attached.mode);
        concerns.push(concern(false, text));
    }
    let skipped =
        |name: &str| status.kernel.as_ref().and_then(|kernel| kernel.skips.get(name)).copied().unwrap_or(0);
    for (skip, text) in [
        ("flow_full", "segments found no room in the table of connections: raise kernel.max_flows"),
        ("fault", "times the kernel's tables contradicted each other: see the daemon's log"),
    ] {
        if skipped(skip) > 0 {
            concerns.push(concern(true, format!("{} {text}.", skipped(skip))));
        }
    }
    for row in top_by_share.iter().filter(|row| row.used * 100 >= row.limit * NEAR[0]) {
        let (share, is_severe) = (row.used * 100 / row.limit.max(1), row.used * 100 >= row.limit * NEAR[1]);
        let text = format!("{} has used {share} % of its hour.", row.name);
        concerns.push(Concern { is_severe, text, key: Some(row.name.clone()) });
    }
    if near[0] > top_by_share.len() {
        let more = near[0] - top_by_share.len();
        concerns.push(concern(false, format!("{more} more keys have used {} % of their hour.", NEAR[0])));
    }
    concerns
}

/// How busy the daemon keeps the processors.
#[derive(Debug, Default)]
pub(super) struct Meter {
    last: Option<(Instant, f64)>,
    percent: f64,
}

impl Meter {
    /// To be called once a second.
    pub(super) fn read(&mut self) {
        let (now, used) = (Instant::now(), cpu_seconds());
        if let Some((before, was)) = self.last {
            self.percent = (used - was) / now.duration_since(before).as_secs_f64().max(0.001) * 100.0;
        }
        self.last = Some((now, used));
    }
}

/// Time that the daemon has had a processor for, in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    // The kernel counts in hundredths for user space, whatever it counts in itself.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS
}
