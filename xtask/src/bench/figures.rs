//! Repeated measurements of one thing, and how they are written.

/// The middle of several figures, with the lowest and the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    /// None where there are no figures.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_unstable_by(f64::total_cmp);
        let count = figures.len();
        let upper = *figures.get(count / 2)?;
        let lower = *figures.get(count.checked_sub(1)? / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), low: *figures.first()?, high: *figures.last()? })
    }

    /// As a ratio: `1.03, 1.01 to 1.06`.
    pub(super) fn ratio(self) -> String {
        format!("{:.2}, {:.2} to {:.2}", self.median, self.low, self.high)
    }
}

/// A whole number with its thousands apart: `49,712`.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_several() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of([1.006, 0.98, 1.2]).map(Spread::ratio).as_deref(), Some("1.01, 0.98 to 1.20"));
    }

    #[test]
    fn thousands_are_apart() {
        let written = [7.4, 999.6, 49_712.0, 1_234_567.0].map(thousands);
        assert_eq!(written, ["7", "1,000", "49,712", "1,234,567"]);
    }
}
