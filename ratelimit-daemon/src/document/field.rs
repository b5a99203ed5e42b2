//! One value of a document, and the kinds of value that are asked for.

use super::{Document, Refused, Section};
use jiff::Timestamp;
use std::fmt::Display;
use std::ops::RangeInclusive;
use toml::de::{DeTable, DeValue};

/// A field that is there, with its value.
pub(crate) struct Field<'a> {
    document: &'a Document<'a>,
    path: String,
    offset: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    pub(super) fn new(
        document: &'a Document<'a>,
        path: String,
        offset: usize,
        value: &'a DeValue<'a>,
    ) -> Self {
        Self { document, path, offset, value }
    }

    /// Notes that the value is not allowed, and why.
    pub(crate) fn refuse(&self, text: impl Display) -> Refused {
        self.document.refuse(Some(self.offset), format!("{}: {text}", self.path))
    }

    fn expected(&self, what: impl Display) -> Refused {
        self.refuse(format_args!("expected {what}, found {}", kind(self.value)))
    }

    /// A whole number in `range`.
    pub(crate) fn whole(&self, range: RangeInclusive<u32>) -> Result<u32, Refused> {
        let (least, most) = (range.start(), range.end());
        let DeValue::Integer(integer) = self.value else {
            return Err(self.expected(format_args!("a whole number from {least} to {most}")));
        };
        // What does not fit i64 lies outside every range.
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number)) {
            Some(number) => Ok(number),
            None => Err(self.refuse(format_args!("{integer} is out of range; allowed: {least} to {most}"))),
        }
    }

    /// A number in `range`, with or without a fraction.
    pub(crate) fn number(&self, range: RangeInclusive<f64>) -> Result<f64, Refused> {
        let (least, most) = (range.start(), range.end());
        let number = match self.value {
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|whole| whole as f64)
            }
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => return Err(self.expected(format_args!("a number from {least} to {most}"))),
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(number),
            None => Err(self.refuse(format_args!("out of range; allowed: {least} to {most}"))),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Result<bool, Refused> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    /// A time with its offset, as TOML writes it, without quotes.
    pub(crate) fn time(&self) -> Result<Timestamp, Refused> {
        let time = match self.value {
            DeValue::Datetime(time) => time.to_string().parse().ok(),
            _ => None,
        };
        time.ok_or_else(|| self.expected("a time with its offset, such as 2027-01-31T12:00:00Z"))
    }

    /// Text.
    pub(crate) fn text(&self) -> Result<&'a str, Refused> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    /// Text that `read` takes, or says why not.
    pub(crate) fn parsed<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Refused> {
        read(self.text()?).map_err(|text| self.refuse(text))
    }

    /// One of the words in `allowed`.
    pub(crate) fn one_of<T: Copy>(&self, allowed: &[(&str, T)]) -> Result<T, Refused> {
        let text = self.text()?;
        if let Some((_, value)) = allowed.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<_> = allowed.iter().map(|(word, _)| *word).collect();
        Err(self.refuse(format_args!("unknown value {text:?}; allowed: {}", words.join(", "))))
    }

    /// Whether it is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// A list, each item read by `read`. All of them are read before one that was refused refuses the list.
    pub(crate) fn each<T>(
        &self,
        mut read: impl FnMut(&Field<'a>) -> Result<T, Refused>,
    ) -> Result<Vec<T>, Refused> {
        let DeValue::Array(items) = self.value else { return Err(self.expected("a list")) };
        let item = |item: &'a toml::Spanned<DeValue<'a>>| {
            let field = Self::new(self.document, self.path.clone(), item.span().start, item.get_ref());
            read(&field)
        };
        let read: Vec<_> = items.iter().map(item).collect();
        read.into_iter().collect()
    }

    /// A list in which nothing stands twice.
    pub(crate) fn each_once<T: PartialEq + Display>(
        &self,
        mut read: impl FnMut(&Field<'a>) -> Result<T, Refused>,
    ) -> Result<Vec<T>, Refused> {
        let mut seen: Vec<T> = Vec::new();
        self.each(|item| {
            let value = read(item)?;
            if seen.contains(&value) {
                return Err(item.refuse(format_args!("{value} is listed twice; list it once")));
            }
            seen.push(value);
            Ok(())
        })?;
        Ok(seen)
    }

    /// A table, decoded by `decode`.
    pub(crate) fn section<T>(
        &self,
        decode: impl FnOnce(&Section<'a>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let (offset, table) = self.table()?;
        let section = Section::new(self.document, format!("{}.", self.path), Some(offset), Some(table));
        let decoded = decode(&section);
        section.refuse_unknown();
        decoded
    }

    /// A table, and where it starts.
    pub(super) fn table(&self) -> Result<(usize, &'a DeTable<'a>), Refused> {
        match self.value {
            DeValue::Table(table) => Ok((self.offset, table)),
            _ => Err(self.expected("a table")),
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
