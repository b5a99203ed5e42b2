//! Numbers in a row of which a beginning can be raised and the greatest of a beginning be found, both in logarithmic time.

/// A segment tree.
#[derive(Debug)]
pub(super) struct Tree {
    /// Leaves, a power of two.
    size: usize,
    /// For each node the greatest number below it, without what was added to its ancestors.
    greatest: Vec<i128>,
    /// What was added to all below it.
    added: Vec<i128>,
}

/// Less than any number that is kept; half of the least, so that adding to it cannot overflow.
const NOTHING: i128 = i128::MIN / 2;

impl Tree {
    pub(super) fn new(numbers: impl ExactSizeIterator<Item = i128>) -> Self {
        let size = numbers.len().next_power_of_two();
        let mut greatest = vec![NOTHING; size];
        greatest.extend(numbers);
        greatest.resize(2 * size, NOTHING);
        let mut tree = Self { size, greatest, added: vec![0; 2 * size] };
        (1..size).rev().for_each(|node| tree.update(node));
        tree
    }

    /// Adds to the first `count` numbers.
    pub(super) fn add(&mut self, count: usize, number: i128) {
        self.add_below(1, self.size, count, number);
    }

    fn add_below(&mut self, node: usize, width: usize, count: usize, number: i128) {
        if count == 0 {
            return;
        }
        if count >= width {
            for numbers in [&mut self.greatest, &mut self.added] {
                if let Some(own) = numbers.get_mut(node) {
                    *own += number;
                }
            }
            return;
        }
        let half = width / 2;
        self.add_below(2 * node, half, count.min(half), number);
        self.add_below(2 * node + 1, half, count.saturating_sub(half), number);
        self.update(node);
    }

    /// The greatest of the first `count` numbers.
    pub(super) fn greatest(&self, count: usize) -> Option<i128> {
        let greatest = self.greatest_below(1, self.size, count);
        (greatest > NOTHING / 2).then_some(greatest)
    }

    fn greatest_below(&self, node: usize, width: usize, count: usize) -> i128 {
        if count == 0 {
            return NOTHING;
        }
        if count >= width {
            return self.at(node);
        }
        let half = width / 2;
        let left = self.greatest_below(2 * node, half, count.min(half));
        let right = self.greatest_below(2 * node + 1, half, count.saturating_sub(half));
        left.max(right) + self.added.get(node).copied().unwrap_or(0)
    }

    fn at(&self, node: usize) -> i128 {
        self.greatest.get(node).copied().unwrap_or(NOTHING)
    }

    fn update(&mut self, node: usize) {
        let below = self.at(2 * node).max(self.at(2 * node + 1)) + self.added.get(node).copied().unwrap_or(0);
        if let Some(own) = self.greatest.get_mut(node) {
            *own = below;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn does_what_a_row_of_numbers_does(
            mut numbers in prop::collection::vec(-1_000..1_000_i128, 1..40),
            steps in prop::collection::vec((0..45_usize, -50..50_i128), 0..60),
        ) {
            let mut tree = Tree::new(numbers.iter().copied());
            for (count, number) in steps {
                tree.add(count, number);
                numbers.iter_mut().take(count).for_each(|own| *own += number);
                for count in 0..=numbers.len() {
                    prop_assert_eq!(tree.greatest(count), numbers.iter().take(count).copied().max());
                }
            }
        }
    }
}
