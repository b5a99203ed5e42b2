//! `docs/benchmarks.md`: its words are written by hand, its tables stand between markers and are replaced.

use crate::workspace;
use anyhow::{Context, Result, bail};

const PAGE: &str = "docs/benchmarks.md";

/// Puts `text` between the markers called `part`, and leaves everything else as it is.
pub(super) fn replace(part: &str, text: &str) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let page = replaced(&page, part, text).with_context(|| format!("cannot write into {PAGE}"))?;
    std::fs::write(&path, page).with_context(|| format!("cannot write {PAGE}"))?;
    eprintln!("bench: wrote the {part} tables of {PAGE}");
    Ok(())
}

fn replaced(page: &str, part: &str, text: &str) -> Result<String> {
    let (start, end) = (format!("<!-- {part}: measured -->"), format!("<!-- {part}: end -->"));
    let Some((before, rest)) = page.split_once(&start) else { bail!("the line `{start}` is missing") };
    let Some((_, after)) = rest.split_once(&end) else { bail!("no line `{end}` follows `{start}`") };
    Ok(format!("{before}{start}\n{}\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "A\n<!-- x: measured -->\nold\n<!-- x: end -->\nB\n";

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = replaced(OURS, "x", "new\n").expect("markers");
        assert_eq!(page, "A\n<!-- x: measured -->\nnew\n<!-- x: end -->\nB\n");
        assert_eq!(replaced(&page, "x", "new").expect("markers"), page);
    }

    #[test]
    fn a_page_without_markers_is_left_alone() {
        assert!(replaced(OURS, "y", "new").is_err());
        assert!(replaced("<!-- x: end --><!-- x: measured -->", "x", "new").is_err());
    }

    #[test]
    fn the_page_has_the_markers_of_every_part() {
        let page = std::fs::read_to_string(workspace::root().join(PAGE)).expect("the page");
        for part in super::super::Part::ALL {
            replaced(&page, part.name(), "new").expect("markers");
        }
    }
}
