//! The scenarios that come with the program.

/// Each by its name, with the text of its file.
pub(crate) const READY: [(&str, &str); 6] = [
    ("professional-day", include_str!("../ready/professional-day.toml")),
    ("initial-sync", include_str!("../ready/initial-sync.toml")),
    ("batch-import", include_str!("../ready/batch-import.toml")),
    ("key-flood", include_str!("../ready/key-flood.toml")),
    ("thundering-reset", include_str!("../ready/thundering-reset.toml")),
    ("mixed", include_str!("../ready/mixed.toml")),
];
