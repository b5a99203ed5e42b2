//! The date for responses, made once a second.

use crate::clock;
use std::cell::{Cell, RefCell};
use std::time::{Duration, UNIX_EPOCH};

/// The text of the present second.
#[derive(Debug, Default)]
pub(super) struct Date {
    second: Cell<u64>,
    text: RefCell<String>,
}

impl Date {
    /// Hands out the date as HTTP writes it.
    pub(super) fn read<T>(&self, reader: impl FnOnce(&str) -> T) -> T {
        let second = clock::unix_seconds();
        if self.second.replace(second) != second {
            *self.text.borrow_mut() = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        }
        reader(&self.text.borrow())
    }
}
