//! The metrics for Prometheus: `GET /metrics` on the dashboard's listener.
//!
//! What they count is counted already; here it is given names. No label has a key's name in it: labels are outcomes,
//! limits, rules, interfaces, upstreams, and of routes no more than are told apart.
#![forbid(unsafe_code)]

use crate::admin::status::Status;
use crate::clock;
use crate::dashboard::cpu_seconds;
use crate::record::{Counts, Kind, Name, OTHER_ROUTES, Record, TOTAL, Waits};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text::encode};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::atomic::AtomicU64;

type Labels = Vec<(&'static str, String)>;
type RealCounter = Counter<f64, AtomicU64>;
type RealGauge = Gauge<f64, AtomicU64>;

/// The media type and the text of all metrics; in OpenMetrics' form or in the older one, which more tools read.
pub(crate) fn exposition(
    record: &Record,
    status: &Status,
    is_open_metrics: bool,
) -> Result<(&'static str, String), fmt::Error> {
    let mut registry = Registry::with_prefix("ratelimitd");
    requests(&mut registry, record);
    endpoints(&mut registry, record);
    daemon(&mut registry, record, status);
    kernel(&mut registry, status);
    registry.register_collector(Box::new(Wait(record.waits().clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(match is_open_metrics {
        true => ("application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        false => ("text/plain; version=0.0.4; charset=utf-8", older(&text)),
    })
}

fn requests(registry: &mut Registry, record: &Record) {
    let counts = record.since_start(TOTAL);
    let outcomes = Family::<Labels, Counter>::default();
    for (outcome, count) in outcomes_of(&counts) {
        add(&outcomes, &[("outcome", outcome)], count);
    }
    registry.register("requests", "Requests by what came of them", outcomes);
    let refusals = Family::<Labels, Counter>::default();
    for (kind, by, limit) in [
        (Kind::KernelBurst, "kernel", "burst"),
        (Kind::KernelHour, "kernel", "hour"),
        (Kind::RefusedBurst, "proxy", "burst"),
        (Kind::RefusedHour, "proxy", "hour"),
        (Kind::RefusedRule, "proxy", "rule"),
    ] {
        add(&refusals, &[("by", by), ("limit", limit)], counts.of(kind));
    }
    registry.register("refusals", "Requests over a limit, by who refused them and by the limit", refusals);
    let errors = Family::<Labels, Counter>::default();
    add(&errors, &[("error", "unanswered")], counts.of(Kind::Unanswered));
    add(&errors, &[("error", "status")], counts.of(Kind::ServerError));
    registry.register(
        "upstream_errors",
        "Admitted requests that the upstream did not answer, or with 5xx",
        errors,
    );
}

/// What can come of a request, by its name.
fn outcomes_of(counts: &Counts) -> [(&'static str, u64); 4] {
    [
        ("admitted", counts.of(Kind::Admitted)),
        ("refused", counts.refused()),
        ("rejected", counts.of(Kind::Rejected)),
        ("observed", counts.of(Kind::Observed)),
    ]
}

fn endpoints(registry: &mut Registry, record: &Record) {
    let (rules, routes) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    let add_each = |family: &Family<Labels, Counter>, label, name: &str, counts: Counts| {
        for (outcome, count) in outcomes_of(&counts).into_iter().filter(|(outcome, _)| *outcome != "rejected")
        {
            add(family, &[(label, name), ("outcome", outcome)], count);
        }
    };
    for (name, id) in record.subjects().names() {
        match name {
            Name::Rule(name) => add_each(&rules, "rule", name, record.since_start(id)),
            Name::Route(name) => add_each(&routes, "route", name, record.since_start(id)),
        }
    }
    add_each(&routes, "route", "other", record.since_start(OTHER_ROUTES));
    registry.register(
        "rule_requests",
        "Requests under each endpoint rule, as far as the proxy judged them",
        rules,
    );
    registry.register("route_requests", "Requests on each route, as far as the proxy judged them", routes);
}

fn daemon(registry: &mut Registry, record: &Record, status: &Status) {
    let build = Family::<Labels, Gauge>::default();
    build.get_or_create(&labels(&[("version", &status.version)])).set(1);
    registry.register("build_info", "Always 1; its label is the version", build);
    let started = clock::unix_seconds().saturating_sub(status.uptime_seconds);
    gauge(registry, "start_time", "When it started, in Unix time", Some(Unit::Seconds), started as f64);
    let cpu = RealCounter::default();
    cpu.inc_by(cpu_seconds());
    registry.register_with_unit("cpu", "Time for which the daemon had a processor", Unit::Seconds, cpu);
    gauge(
        registry,
        "record",
        "Memory of the record of what happened",
        Some(Unit::Bytes),
        record.size() as f64,
    );
    let keys = Family::<Labels, Gauge>::default();
    let enabled = status.keys.all - status.keys.disabled - status.keys.expired;
    for (state, count) in
        [("enabled", enabled), ("disabled", status.keys.disabled), ("expired", status.keys.expired)]
    {
        keys.get_or_create(&labels(&[("state", state)])).set(count as i64);
    }
    registry.register("keys", "Keys by whether they may be used", keys);
    gauge(registry, "keys_room", "Keys that there is room for", None, status.keys.room.into());
    let near = Family::<Labels, Gauge>::default();
    for percent in crate::dashboard::NEAR {
        let count = record.subjects().keys().iter().filter(|watched| watched.is_at(percent)).count();
        let share = format!("0.{percent}");
        near.get_or_create(&labels(&[("share", &share)])).set(count as i64);
    }
    registry.register("keys_near_limit", "Keys that have used this share of their hour or more", near);
    let upstreams = Family::<Labels, Gauge>::default();
    for upstream in &status.upstreams {
        upstreams.get_or_create(&labels(&[("upstream", &upstream.address)])).set(upstream.is_up.into());
    }
    registry.register("upstream_up", "Whether requests are sent to an upstream", upstreams);
}

fn kernel(registry: &mut Registry, status: &Status) {
    let attached = Family::<Labels, Gauge>::default();
    for interface in &status.interfaces {
        let mode = format!("{:?}", interface.mode).to_ascii_lowercase();
        attached.get_or_create(&labels(&[("interface", &interface.interface), ("mode", &mode)])).set(1);
    }
    registry.register("interface_attached", "Always 1: the kernel program is attached, and how", attached);
    let Some(found) = &status.kernel else { return };
    let (verdicts, skips) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    found.verdicts.iter().for_each(|(verdict, count)| add(&verdicts, &[("verdict", verdict)], *count));
    found.skips.iter().for_each(|(skip, count)| add(&skips, &[("skip", skip)], *count));
    registry.register("kernel_verdicts", "Requests that the kernel program judged", verdicts);
    registry.register("kernel_skips", "Packets that the kernel program did not judge, by the reason", skips);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, value: f64) {
    let gauge = RealGauge::default();
    gauge.set(value);
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, gauge),
        None => registry.register(name, help, gauge),
    }
}

fn labels(pairs: &[(&'static str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn add(family: &Family<Labels, Counter>, pairs: &[(&'static str, &str)], count: u64) {
    family.get_or_create(&labels(pairs)).inc_by(count);
}

/// How long the upstream took to begin its answers.
#[derive(Debug)]
struct Wait(Waits);

impl Collector for Wait {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let bounds = Waits::BOUNDS.into_iter().map(seconds).chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(self.0.buckets).collect();
        let help = "From a request's admission to the head of its response";
        let unit = Unit::Seconds;
        let mut metric =
            encoder.encode_descriptor("upstream_wait", help, Some(&unit), MetricType::Histogram)?;
        let count = self.0.buckets.iter().sum();
        metric.encode_histogram::<Labels>(seconds(self.0.sum_ns), count, &buckets, None)
    }
}

/// The same in the form that was there before OpenMetrics: a counter's family is called like its samples, and there are
/// neither units nor an end.
fn older(text: &str) -> String {
    let counters: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.starts_with("# UNIT") && *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(word), Some(name), Some(rest)) if counters.contains(&name) => {
                out.extend(["# ", word, " ", name, "_total ", rest]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}
