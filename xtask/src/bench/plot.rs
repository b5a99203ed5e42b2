//! Bars as SVG, for `docs/plots`: a bar for the median, a line from the lowest to the highest.

use super::figures::Spread;
use crate::workspace;
use anyhow::{Context, Result};
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 260.0;
const FIGURES: f64 = 110.0;
const ROW: f64 = 26.0;
const TOP: f64 = 34.0;

const OWN: &str = "#009e73";
const OTHERS: &str = "#56b4e9";

/// A bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) spread: Spread,
    /// The figure as it is to be read.
    pub(super) figure: String,
    /// Whether it is ratelimitd's.
    pub(super) is_own: bool,
}

/// Writes `docs/plots/NAME.svg`, and returns the Markdown that shows it.
pub(super) fn write(name: &str, title: &str, bars: &[Bar], is_kept: bool) -> Result<String> {
    if !is_kept || bars.is_empty() {
        return Ok(String::new());
    }
    let directory = workspace::root().join("docs/plots");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join(format!("{name}.svg"));
    std::fs::write(&path, draw(title, bars)).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("![{title}](plots/{name}.svg)\n"))
}

fn draw(title: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.spread.high).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - FIGURES) / most;
    let height = TOP + ROW * bars.len() as f64 + 8.0;
    // Grey is readable on light and dark. Writing to a string cannot fail.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#808080\">\n<text x=\"0\" y=\"18\" font-size=\"15\">{title}</text>\n"
    );
    for (row, bar) in bars.iter().enumerate() {
        let Bar { name, spread, figure, is_own } = bar;
        let (top, middle) = (TOP + ROW * row as f64, TOP + ROW * (row as f64 + 0.5));
        let (low, long, high) =
            (LABELS + spread.low * scale, spread.median * scale, LABELS + spread.high * scale);
        let (colour, text) = (if *is_own { OWN } else { OTHERS }, middle + 4.5);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{long:.1}\" height=\"{}\" fill=\"{colour}\"/>\
             <path d=\"M{low:.1} {middle:.1}H{high:.1}\" stroke=\"#808080\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{text:.1}\">{figure}</text>",
            LABELS - 8.0,
            top + 4.0,
            ROW - 8.0,
            high.max(LABELS + long) + 8.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width() {
        let bar = |name: &str, median, high| Bar {
            name: name.into(),
            spread: Spread { median, low: median, high },
            figure: "x".into(),
            is_own: false,
        };
        let svg = draw("t", &[bar("a", 50.0, 60.0), bar("b", 100.0, 100.0)]);
        assert!(svg.contains("width=\"390.0\"") && svg.contains("width=\"195.0\""), "{svg}");
    }
}
