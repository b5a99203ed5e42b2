//! Reading TOML for people: every problem of a file at once, each with its line, its field and what is allowed.
//!
//! serde stops at the first value that it cannot take and knows no line for what is missing. So the parsed
//! document is walked here instead. A decoder asks a [`Section`] for its fields by name; whatever was not
//! asked for is an unknown field. A value that is refused is noted, the walk goes on, and the file as a
//! whole is refused in the end.
#![forbid(unsafe_code)]

mod field;
mod problem;
#[cfg(test)]
mod tests;

pub(crate) use field::Field;
pub use problem::{Problem, Problems};

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Proof that a problem was noted: a value is missing or not allowed, and the file will be refused.
#[derive(Debug)]
pub(crate) struct Refused(());

/// A file under examination.
pub(crate) struct Document<'a> {
    path: &'a Path,
    /// Offset of the end of each line.
    line_ends: Vec<usize>,
    problems: RefCell<Problems>,
}

impl Document<'_> {
    /// Line (from 1) of a byte offset.
    fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }

    fn refuse(&self, offset: Option<usize>, text: String) -> Refused {
        let line = offset.map(|offset| self.line(offset));
        self.problems.borrow_mut().push(Problem::in_file(self.path, line, text));
        Refused(())
    }
}

/// Reads the file at `path` and decodes it.
pub(crate) fn read<T>(
    path: &Path,
    decode: impl FnOnce(&Section<'_>) -> Result<T, Refused>,
) -> Result<T, Problems> {
    let text = fs::read_to_string(path)
        .map_err(|error| Problem::in_file(path, None, format!("cannot read this file: {error}")))?;
    parse(path, &text, decode)
}

/// Decodes `text`, which stands in the file at `path`.
pub(crate) fn parse<T>(
    path: &Path,
    text: &str,
    decode: impl FnOnce(&Section<'_>) -> Result<T, Refused>,
) -> Result<T, Problems> {
    let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset);
    let document = Document { path, line_ends: line_ends.collect(), problems: RefCell::default() };
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| document.line(span.start));
        Problem::in_file(path, line, format!("not TOML: {}", error.message().replace('\n', "; ")))
    })?;
    let top = Section::new(&document, String::new(), None, Some(table.get_ref()));
    let decoded = decode(&top);
    top.refuse_unknown();
    drop(top);
    let problems = document.problems.into_inner().sorted();
    match decoded {
        Ok(value) => problems.or(value),
        Err(Refused(())) => Err(problems),
    }
}

/// A table of a document; empty where the document does not have it.
pub(crate) struct Section<'a> {
    document: &'a Document<'a>,
    /// What the fields' names start with: empty, or a path that ends with a dot.
    prefix: String,
    offset: Option<usize>,
    table: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    fn new(
        document: &'a Document<'a>,
        prefix: String,
        offset: Option<usize>,
        table: Option<&'a DeTable<'a>>,
    ) -> Self {
        Self { document, prefix, offset, table, asked: RefCell::default() }
    }

    /// Line (from 1) where this table starts, unless it is the whole document or missing.
    pub(crate) fn line(&self) -> Option<usize> {
        self.offset.map(|offset| self.document.line(offset))
    }

    /// Notes a problem of the field `name`, or of the table if it has no such field.
    pub(crate) fn refuse(&self, name: &str, text: &str) -> Refused {
        let offset = self.find(name).map_or(self.offset, |(key, _)| Some(key.start));
        self.document.refuse(offset, format!("{}{name}: {text}", self.prefix))
    }

    /// Notes that the table's own name is not allowed, and why.
    pub(crate) fn refuse_name(&self, text: &str) -> Refused {
        self.document
            .refuse(self.offset, format!("{}: {text}", self.prefix.strip_suffix('.').unwrap_or(&self.prefix)))
    }

    fn find(&self, name: &str) -> Option<(Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.table?.get_key_value(name).map(|(key, value)| (key.span(), value))
    }

    /// The field `name`, read by `read`; `None` if it is missing or refused.
    pub(crate) fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T, Refused>,
    ) -> Option<T> {
        self.asked.borrow_mut().push(name);
        let (key, value) = self.find(name)?;
        let field = Field::new(self.document, format!("{}{name}", self.prefix), key.start, value.get_ref());
        read(&field).ok()
    }

    /// The same, with `default` for a missing one.
    pub(crate) fn or<T>(
        &self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Result<T, Refused>,
    ) -> T {
        self.optional(name, read).unwrap_or(default)
    }

    /// The same, for a field that must be there; `hint` says what to write.
    pub(crate) fn required<T>(
        &self,
        name: &'static str,
        hint: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        match self.optional(name, read) {
            Some(value) => Ok(value),
            // It was there, so `read` has noted what is wrong with it.
            None if self.find(name).is_some() => Err(Refused(())),
            None => Err(self.refuse(name, &format!("missing; write {hint}"))),
        }
    }

    /// The table `name`, empty if it is missing, decoded by `decode`.
    pub(crate) fn section<T>(&self, name: &'static str, decode: impl FnOnce(&Section<'a>) -> T) -> T {
        let field = self.optional(name, |field| field.table());
        let (offset, table) = field.map_or((None, None), |(offset, table)| (Some(offset), Some(table)));
        let section = Section::new(self.document, format!("{}{name}.", self.prefix), offset, table);
        let value = decode(&section);
        section.refuse_unknown();
        value
    }

    /// The tables in the table `name`, whatever their names, decoded by `decode`, which gets their names.
    pub(crate) fn named_sections<T>(
        &self,
        name: &'static str,
        mut decode: impl FnMut(&str, &Section<'a>) -> Result<T, Refused>,
    ) -> Vec<T> {
        let Some((_, table)) = self.optional(name, |field| field.table()) else { return Vec::new() };
        let decode_one = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key_text: &Cow<'a, str> = key.get_ref();
            let path = format!("{}{name}.{key_text}", self.prefix);
            let field = Field::new(self.document, path, key.span().start, value.get_ref());
            field.section(|section| decode(key_text, section)).ok()
        };
        table.iter().filter_map(decode_one).collect()
    }

    /// The fields in the table `name`, whatever their names, read by `read`, which gets their names.
    pub(crate) fn values<T>(
        &self,
        name: &'static str,
        mut read: impl FnMut(&str, &Field<'a>) -> Result<T, Refused>,
    ) -> Vec<(String, T)> {
        let Some((_, table)) = self.optional(name, |field| field.table()) else { return Vec::new() };
        let read_one = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key_text: &Cow<'a, str> = key.get_ref();
            let path = format!("{}{name}.{key_text}", self.prefix);
            let field = Field::new(self.document, path, key.span().start, value.get_ref());
            Some((key_text.to_string(), read(key_text, &field).ok()?))
        };
        table.iter().filter_map(read_one).collect()
    }

    /// The tables of the array `name`, decoded by `decode`; none if it is missing.
    pub(crate) fn sections<T>(
        &self,
        name: &'static str,
        mut decode: impl FnMut(&Section<'a>) -> Result<T, Refused>,
    ) -> Vec<T> {
        let read = |field: &Field<'a>| field.each(|item| item.section(&mut decode));
        self.optional(name, read).unwrap_or_default()
    }

    /// Notes every field that was not asked for.
    fn refuse_unknown(&self) {
        let asked = self.asked.borrow();
        for name in self.table.into_iter().flat_map(|table| table.keys()) {
            if !asked.iter().any(|asked| *asked == name.get_ref().as_ref()) {
                self.refuse(name.get_ref(), &format!("unknown field; allowed: {}", asked.join(", ")));
            }
        }
    }
}
