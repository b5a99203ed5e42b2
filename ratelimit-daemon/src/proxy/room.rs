//! Memory for bodies that are held whole, shared by all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(Arc<AtomicUsize>);

/// Bytes that one body takes. They are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Room,
    bytes: usize,
}

impl Room {
    /// Lets `taken` be `bytes`, if no more than `most` are taken then by all; true if they are.
    pub(super) fn take(&self, taken: &mut Option<Taken>, bytes: usize, most: usize) -> bool {
        let taken = taken.get_or_insert_with(|| Taken { room: self.clone(), bytes: 0 });
        let more = bytes.saturating_sub(taken.bytes);
        let before = self.0.fetch_add(more, Ordering::Relaxed);
        taken.bytes += more;
        before + more <= most
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_free_again_in_the_end() {
        let room = Room::default();
        let (mut one, mut other) = (None, None);
        assert!(room.take(&mut one, 60, 100) && room.take(&mut one, 80, 100));
        assert!(!room.take(&mut other, 30, 100), "110 of 100");
        assert!(!room.take(&mut one, 81, 100));
        drop(other);
        assert!(room.take(&mut one, 82, 100));
        drop(one);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }
}
