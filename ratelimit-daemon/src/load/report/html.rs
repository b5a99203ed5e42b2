//! The report as a page in one file: nothing is loaded from anywhere.

use super::text::time;
use super::{Report, Row, plot, thousands};
use anyhow::Result;
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

pub(super) fn write(report: &Report) -> Result<String> {
    let mut page = String::new();
    let title = format!("{} against {}", escaped(&report.scenario), escaped(&report.target));
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{}</p>\n",
        escaped(&report.description)
    )?;
    figures(&mut page, report)?;
    verification(&mut page, report)?;
    for svg in [plot::rates(report)?, plot::latencies(report)?, plot::percentiles(report)?] {
        writeln!(page, "<figure>{svg}</figure>")?;
    }
    latencies(&mut page, "Latency by status", &report.latency.by_status)?;
    latencies(&mut page, "Latency by endpoint", &report.latency.by_endpoint)?;
    limits(&mut page, report)?;
    keys(&mut page, report)?;
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn figures(page: &mut String, report: &Report) -> std::fmt::Result {
    let count = |number: u64| thousands(number as f64);
    let mut figures = vec![
        ("admitted", count(report.admitted)),
        ("refused", count(report.refused)),
        ("failed", count(report.failed)),
        ("answered a second", thousands(report.answered_per_second)),
        ("p99", time(report.latency.all.p99)),
        ("seconds", format!("{:.1}", report.seconds)),
    ];
    for (name, number) in
        [("withheld", report.withheld), ("given up", report.gave_up), ("unsent", report.unsent)]
    {
        if number > 0 {
            figures.push((name, count(number)));
        }
    }
    page.push_str("<dl>\n");
    for (name, figure) in figures {
        writeln!(page, "<div><dt>{name}</dt><dd>{figure}</dd></div>")?;
    }
    page.push_str("</dl>\n");
    if report.interrupted {
        page.push_str("<p><strong>Interrupted: this is the report so far.</strong></p>\n");
    }
    Ok(())
}

fn verification(page: &mut String, report: &Report) -> std::fmt::Result {
    let Some(verification) = &report.verification else { return Ok(()) };
    writeln!(
        page,
        "<h2>Accuracy</h2>\n<p>{} wrongly admitted, {} wrongly refused, of {}; {} wrong answers; {} unknown.</p>",
        verification.wrongly_admitted,
        verification.wrongly_refused,
        thousands(verification.judged as f64),
        verification.wrong_answers,
        verification.unknown
    )?;
    let rows = verification.findings.iter().map(|found| {
        let (key, limit, what) =
            (escaped(&found.key), escaped(&found.finding.limit), escaped(&found.finding.text));
        vec![format!("{:.6} s", found.seconds), key, limit, what]
    });
    table(page, &["at", "key", "limit", "what"], rows)
}

fn latencies(page: &mut String, title: &str, rows: &[Row]) -> std::fmt::Result {
    writeln!(page, "<h2>{title}</h2>")?;
    let cells = rows.iter().map(|row| {
        let figures = [row.p50, row.p90, row.p99, row.p99_9, row.p99_99, row.max].map(time);
        [escaped(&row.of), thousands(row.count as f64)].into_iter().chain(figures).collect()
    });
    table(page, &["", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"], cells)
}

fn limits(page: &mut String, report: &Report) -> std::fmt::Result {
    page.push_str("<h2>Refusals by limit</h2>\n");
    let rows = report.limits.iter().map(|limit| {
        let (kernel, proxy) = (thousands(limit.by_kernel as f64), thousands(limit.by_proxy as f64));
        vec![escaped(&limit.limit), kernel, proxy]
    });
    table(page, &["limit", "in the kernel", "in the proxy"], rows)
}

fn keys(page: &mut String, report: &Report) -> std::fmt::Result {
    for (title, keys) in [("Populations", &report.populations), ("Keys", &report.keys)] {
        writeln!(page, "<h2>{title}</h2>\n<details><summary>{} of them</summary>", keys.len())?;
        let rows = keys.iter().map(|key| {
            let refused: Vec<_> =
                key.refused.iter().map(|(limit, count)| format!("{limit} {count}")).collect();
            vec![
                escaped(&key.name),
                escaped(&key.tier),
                key.admitted.to_string(),
                escaped(&refused.join(", ")),
            ]
        });
        table(page, &["name", "tier", "admitted", "refused"], rows)?;
        page.push_str("</details>\n");
    }
    Ok(())
}

/// A table, unless it would be empty. Cells are HTML.
fn table(page: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> std::fmt::Result {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    page.push_str("<table>\n<tr>");
    heads.iter().try_for_each(|head| write!(page, "<th>{head}</th>"))?;
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        row.iter().try_for_each(|cell| write!(page, "<td>{cell}</td>"))?;
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_text() {
        assert_eq!(escaped("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
