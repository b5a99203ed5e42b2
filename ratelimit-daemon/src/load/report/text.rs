//! The report for a terminal.

use super::{KeyCount, Report, Row, Verification, thousands};
use std::fmt::Write as _;

/// Keys that are shown one by one: those that were refused most.
const SHOWN_KEYS: usize = 10;

pub(super) fn write(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, so what it returns is not looked at.
    let _ = summary(&mut text, report);
    let _ = latencies(&mut text, report);
    let _ = keys(&mut text, report);
    if let Some(verification) = &report.verification {
        let _ = self::verification(&mut text, verification);
    }
    text
}

fn summary(text: &mut String, report: &Report) -> std::fmt::Result {
    let count = |number: u64| thousands(number as f64);
    let interrupted = if report.interrupted { ", interrupted" } else { "" };
    writeln!(
        text,
        "{} against {}: {:.1} s, {} thread(s){interrupted}\n",
        report.scenario, report.target, report.seconds, report.threads
    )?;
    let per_second = thousands(report.answered_per_second);
    writeln!(text, "  sent        {}", count(report.sent))?;
    writeln!(text, "  admitted    {}", count(report.admitted))?;
    writeln!(text, "  refused     {}", count(report.refused))?;
    writeln!(text, "  failed      {}", count(report.failed))?;
    writeln!(text, "  answered    {per_second}/s")?;
    let others = [
        ("rejected", report.rejected, "answered by the proxy for another reason than a limit"),
        ("withheld", report.withheld, "due while the client had to wait"),
        ("given up", report.gave_up, "refused at the last attempt"),
        ("unsent", report.unsent, "due, and no connection was free before the end"),
    ];
    for (name, number, meaning) in others.into_iter().filter(|(_, number, _)| *number > 0) {
        writeln!(text, "  {name:<11} {} ({meaning})", count(number))?;
    }
    for (why, number) in &report.failures {
        writeln!(text, "  failed by   {why:?}: {}", count(*number))?;
    }
    for limit in &report.limits {
        let (kernel, proxy) = (count(limit.by_kernel), count(limit.by_proxy));
        writeln!(text, "  refused by  {}: {kernel} in the kernel, {proxy} in the proxy", limit.limit)?;
    }
    Ok(())
}

fn latencies(text: &mut String, report: &Report) -> std::fmt::Result {
    let latency = &report.latency;
    for (title, rows) in [("by status", &latency.by_status), ("by endpoint", &latency.by_endpoint)] {
        let width = rows.iter().map(|row| row.of.len()).max().unwrap_or(0).max(9);
        writeln!(
            text,
            "\n  latency {title:<w$} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "count",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "p99.99",
            "max",
            w = width.saturating_sub(6)
        )?;
        for row in rows.iter().chain([&latency.all]) {
            write_row(text, row, width)?;
        }
    }
    Ok(())
}

fn write_row(text: &mut String, row: &Row, width: usize) -> std::fmt::Result {
    write!(text, "  {:<w$} {:>10}", row.of, thousands(row.count as f64), w = width + 2)?;
    for figure in [row.p50, row.p90, row.p99, row.p99_9, row.p99_99, row.max] {
        write!(text, " {:>9}", time(figure))?;
    }
    writeln!(text)
}

/// Microseconds, as people read them.
pub(super) fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e5 => format!("{:.2} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn keys(text: &mut String, report: &Report) -> std::fmt::Result {
    let mut keys: Vec<_> = report.keys.iter().collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.refused.values().sum::<u64>()));
    let populations = report.populations.iter();
    let width =
        populations.clone().chain(keys.iter().copied()).map(|key| key.name.len()).max().unwrap_or(0).max(10);
    writeln!(text, "\n  {:<width$} {:<12} {:>7} {:>10}  refused", "population", "tier", "keys", "admitted")?;
    for population in populations {
        write_key(text, population, width)?;
    }
    if keys.len() > 1 {
        writeln!(text, "\n  {:<width$} {:<12} {:>7} {:>10}  refused", "key", "tier", "", "admitted")?;
        for key in keys.iter().take(SHOWN_KEYS) {
            write_key(text, key, width)?;
        }
        if keys.len() > SHOWN_KEYS {
            writeln!(text, "  … and {} more; --json has all", keys.len() - SHOWN_KEYS)?;
        }
    }
    Ok(())
}

fn write_key(text: &mut String, key: &KeyCount, width: usize) -> std::fmt::Result {
    let refused: Vec<_> =
        key.refused.iter().map(|(limit, count)| format!("{limit} {}", thousands(*count as f64))).collect();
    let refused = if refused.is_empty() { "0".to_owned() } else { refused.join(", ") };
    let admitted = thousands(key.admitted as f64);
    writeln!(text, "  {:<width$} {:<12} {:>7} {admitted:>10}  {refused}", key.name, key.tier, key.keys)
}

fn verification(text: &mut String, verification: &Verification) -> std::fmt::Result {
    let Verification { judged, unknown, wrongly_admitted, wrongly_refused, wrong_answers, findings } =
        verification;
    writeln!(
        text,
        "\n  accuracy: {wrongly_admitted} wrongly admitted, {wrongly_refused} wrongly refused, of {}; \
         {wrong_answers} wrong answers; {unknown} unknown",
        thousands(*judged as f64)
    )?;
    for found in findings {
        let (seconds, key, limit, what) =
            (found.seconds, &found.key, &found.finding.limit, &found.finding.text);
        writeln!(text, "    at {seconds:.6} s, key {key}, limit {limit}: {what}")?;
    }
    Ok(())
}
