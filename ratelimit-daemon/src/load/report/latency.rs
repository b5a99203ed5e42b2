//! Latencies by status and by endpoint, from when a request was due to its answer.

use super::super::scenario::Scenario;
use super::super::tally::{Cell, add, latencies};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a status of 0 is called: the connection was reset in place of an answer.
const RESET: &str = "reset";

/// The tables.
#[derive(Debug, Serialize)]
pub(crate) struct Latencies {
    pub(crate) all: Row,
    pub(crate) by_status: Vec<Row>,
    pub(crate) by_endpoint: Vec<Row>,
    pub(crate) by_endpoint_and_status: Vec<Row>,
    /// Quantile and microseconds, of all answers, for a curve.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// Percentiles in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) of: String,
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) p99_99: f64,
    pub(crate) max: f64,
}

impl Row {
    fn new(of: &str, histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            of: of.to_owned(),
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

impl Latencies {
    pub(super) fn new(cells: &[Cell], scenario: &Scenario) -> Self {
        let names: Vec<_> = scenario
            .populations
            .iter()
            .flat_map(|population| population.mix.iter().map(|(endpoint, _)| endpoint.name.as_str()))
            .collect();
        let endpoint = |cell: &Cell| names.get(cell.endpoint).copied().unwrap_or("?").to_owned();
        let status = |cell: &Cell| match cell.status {
            0 => RESET.to_owned(),
            status => status.to_string(),
        };
        let all = sum(cells, |_| String::new()).remove("").unwrap_or_else(latencies);
        Self {
            all: Row::new("all", &all),
            by_status: rows(cells, status),
            by_endpoint: rows(cells, endpoint),
            by_endpoint_and_status: rows(cells, |cell| format!("{}, {}", endpoint(cell), status(cell))),
            curve: curve(&all),
        }
    }
}

fn rows(cells: &[Cell], name: impl Fn(&Cell) -> String) -> Vec<Row> {
    sum(cells, name).iter().map(|(name, histogram)| Row::new(name, histogram)).collect()
}

/// Several populations may use one endpoint.
fn sum(cells: &[Cell], name: impl Fn(&Cell) -> String) -> BTreeMap<String, Histogram<u64>> {
    let mut sums = BTreeMap::new();
    for cell in cells {
        add(sums.entry(name(cell)).or_insert_with(latencies), &cell.latencies);
    }
    sums
}

/// From the median on, nine points to each nine of the quantile.
fn curve(all: &Histogram<u64>) -> Vec<(f64, f64)> {
    let quantiles = (0..=36).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 9.0));
    quantiles.map(|quantile| (quantile, all.value_at_quantile(quantile) as f64 / 1e3)).collect()
}
