//! Plots as SVG.

use super::{Piece, Report, thousands};
use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 280);

/// Colours that can be told apart by everybody (Okabe and Ito), readable on light and dark.
const ADMITTED: RGBColor = RGBColor(0, 158, 115);
const REFUSED: RGBColor = RGBColor(213, 94, 0);
const FAILED: RGBColor = RGBColor(204, 121, 167);
const MIDDLE: RGBColor = RGBColor(86, 180, 233);
const INK: RGBColor = RGBColor(128, 128, 128);

/// One line of a plot.
struct Line<'a> {
    name: &'a str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Requests a second over the run.
pub(super) fn rates(report: &Report) -> Result<String> {
    let line = |name, colour, value: fn(&Piece) -> f64| Line {
        name,
        colour,
        points: report.course.iter().map(|piece| (piece.seconds, value(piece))).collect(),
    };
    lines(
        "requests a second",
        &[
            line("admitted", ADMITTED, |piece| piece.admitted_per_second),
            line("refused", REFUSED, |piece| piece.refused_per_second),
            line("failed", FAILED, |piece| piece.failed_per_second),
        ],
        |seconds| format!("{seconds:.0} s"),
    )
}

/// Latency over the run.
pub(super) fn latencies(report: &Report) -> Result<String> {
    let line = |name, colour, value: fn(&Piece) -> f64| Line {
        name,
        colour,
        points: report.course.iter().map(|piece| (piece.seconds, value(piece) / 1e3)).collect(),
    };
    let both = [
        line("median", MIDDLE, |piece| piece.p50_us),
        line("99th percentile", REFUSED, |piece| piece.p99_us),
    ];
    lines("latency in ms", &both, |seconds| format!("{seconds:.0} s"))
}

/// Latency by percentile, each nine as wide as the one before.
pub(super) fn percentiles(report: &Report) -> Result<String> {
    let point = |(quantile, microseconds): &(f64, f64)| (-(1.0 - quantile).log10(), microseconds / 1e3);
    let points = report.latency.curve.iter().map(point).collect();
    let line = Line { name: "all answers", colour: MIDDLE, points };
    lines("latency in ms, by percentile", &[line], |nines| {
        let percent = 100.0 - 100.0 * 10_f64.powf(-nines);
        // Between the nines there are no percentiles that people know.
        if (nines - nines.round()).abs() > 1e-6 {
            String::new()
        } else {
            format!("{:.*}", nines as usize, percent)
        }
    })
}

fn lines(title: &str, lines: &[Line<'_>], label: impl Fn(f64) -> String) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, title, lines, &label).with_context(|| format!("cannot draw {title:?}"))?;
    Ok(svg)
}

fn draw(svg: &mut String, title: &str, lines: &[Line<'_>], label: &dyn Fn(f64) -> String) -> Result<()> {
    // The library's errors hold references to what is drawn on.
    let failed = |error: &dyn std::fmt::Display| anyhow!("{error}");
    let points = || lines.iter().flat_map(|line| &line.points);
    let right = points().map(|point| point.0).fold(1e-9, f64::max);
    let top = points().map(|point| point.1).fold(1e-9, f64::max) * 1.05;
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 15, &INK))
        .margin(8)
        .margin_right(32)
        .x_label_area_size(28)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..right, 0.0..top)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(INK.mix(0.25))
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 12, &INK))
        .x_label_formatter(&|x| label(*x))
        .y_label_formatter(&|y| if top < 10.0 { format!("{y:.1}") } else { thousands(*y) })
        .draw()
        .map_err(|error| failed(&error))?;
    for Line { name, colour, points } in lines {
        let (colour, style) = (*colour, colour.stroke_width(2));
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))
            .map_err(|error| failed(&error))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 12, &INK))
        .draw()
        .map_err(|error| failed(&error))?;
    root.present().map_err(|error| failed(&error))
}
