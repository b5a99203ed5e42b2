//! Counting the elements of one array in a JSON text.

use super::Objection;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

const NOT_JSON: Objection = Objection::Uncountable("The request body is not JSON.");
const NO_ARRAY: Objection = Objection::Uncountable("The request body has no array of records.");
const SEVERAL: Objection =
    Objection::Uncountable("The request body has several arrays, of which any could be the records.");

/// Counts the records in `text`: the elements of the array to which the names in `records` lead, or, without them,
/// of the array that `text` is or that is the only one among the members of the object that it is.
///
/// Values are skipped without recursion and without being built, so neither depth nor a number's size matters.
pub(super) fn count(text: &str, records: Option<&[String]>) -> Result<u64, Objection> {
    let mut value = text;
    for expected in records.unwrap_or_default() {
        // Some parsers take a name in any letters, and of two equal ones the first or the last.
        value = only_member(value, |name, _| expected.eq_ignore_ascii_case(name))?;
    }
    if records.is_none() && starts_with(value, '{') {
        value = only_member(value, |_, value| starts_with(value, '['))?;
    }
    if starts_with(value, '[') {
        return read(value, Elements);
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| NOT_JSON)?;
    Err(NO_ARRAY)
}

/// The value of the only member of the object in `text` that is `wanted` by its name and its value.
fn only_member(text: &str, wanted: impl Fn(&str, &str) -> bool) -> Result<&str, Objection> {
    match read(text, Members(wanted)) {
        Ok((None, _)) => Err(NO_ARRAY),
        Ok((Some(value), None)) => Ok(value.get()),
        Ok((Some(_), Some(_))) => Err(SEVERAL),
        // Something else than an object has no members.
        Err(_) if !starts_with(text, '{') && serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            Err(NO_ARRAY)
        }
        Err(objection) => Err(objection),
    }
}

/// Reads the whole of `text` as `visitor` expects it.
fn read<'a, V: Visitor<'a>>(text: &'a str, visitor: V) -> Result<V::Value, Objection> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = parser.deserialize_any(visitor).map_err(|_| NOT_JSON)?;
    parser.end().map_err(|_| NOT_JSON)?;
    Ok(value)
}

fn starts_with(text: &str, mark: char) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with(mark)
}

/// Counts an array's elements.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while elements.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

/// Looks for an object's wanted members: the first, and another if there is one.
struct Members<F>(F);

impl<'de, F: Fn(&str, &str) -> bool> Visitor<'de> for Members<F> {
    type Value = (Option<&'de RawValue>, Option<&'de RawValue>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut first, mut another) = (None, None);
        while let Some((name, value)) = members.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            if (self.0)(&name, value.get()) {
                another = another.or(first);
                first = Some(value);
            }
        }
        Ok((first, another))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(pointer: &str) -> Vec<String> {
        pointer.split('/').skip(1).map(str::to_owned).collect()
    }

    fn at(pointer: &str, text: &str) -> Result<u64, Objection> {
        count(text, Some(&names(pointer)))
    }

    #[test]
    fn the_array_or_the_only_one_in_the_object_is_counted() {
        for (text, expected) in [
            ("[]", Ok(0)),
            (" [1, [2,3], {\"a\":[4]}, \"]\", null, 1e99999, -0.5e-9999] ", Ok(7)),
            (r#"{"students":[{},{}]}"#, Ok(2)),
            (r#"{"a":{"b":[1,2,3]},"students":[1],"c":"[1,2]","d":null,"e":1e400,"f":true,"g":-1}"#, Ok(1)),
            (r#"{"a":[1],"b":[]}"#, Err(SEVERAL)),
            (r#"{"a":[1],"a":[1,2]}"#, Err(SEVERAL)),
            (r#"{"a":[1],"\u0061":[1,2]}"#, Err(SEVERAL)),
            (r#"{"a":1,"a":[1,2]}"#, Ok(2)),
            ("{}", Err(NO_ARRAY)),
            (r#"{"a":{"b":[1]}}"#, Err(NO_ARRAY)),
            ("1", Err(NO_ARRAY)),
            ("\"[1]\"", Err(NO_ARRAY)),
            ("null", Err(NO_ARRAY)),
        ] {
            assert_eq!(count(text, None), expected, "{text}");
        }
    }

    #[test]
    fn names_lead_to_the_array() {
        let text = r#"{"data":{"students":[1,2,3],"x":[1]},"y":[],"DATE":{"students":[]}}"#;
        assert_eq!(at("/data/students", text), Ok(3));
        assert_eq!(at("/Data/x", text), Ok(1));
        assert_eq!(at("/y", text), Ok(0));
        for (pointer, text, expected) in [
            ("/data", text, NO_ARRAY),
            ("/none", text, NO_ARRAY),
            ("/data/none", text, NO_ARRAY),
            ("/y/z", text, NO_ARRAY),
            ("/y", "[1]", NO_ARRAY),
            ("/y", r#"{"y":[1],"Y":[1,2]}"#, SEVERAL),
            ("/y", r#"{"y":[1],"\u0079":null}"#, SEVERAL),
            ("/a/y", r#"{"a":{"y":[1]},"a":{}}"#, SEVERAL),
        ] {
            assert_eq!(at(pointer, text), Err(expected), "{pointer} {text}");
        }
    }

    #[test]
    fn what_is_not_json_is_not_counted() {
        for text in [
            "",
            " ",
            "[1][2]",
            "[1]\n[2]",
            "[1,]",
            "[01]",
            "[1",
            "{\"a\":[1]",
            "[1]]",
            "{a:[1]}",
            "['a']",
            "[NaN]",
            "[.5]",
            "\u{feff}[1]",
            "[\"a\nb\"]",
            "[1] // x",
            "{\"a\":[1],}",
            "[tru]",
            "[\"\\x\"]",
        ] {
            assert_eq!(count(text, None), Err(NOT_JSON), "{text:?}");
        }
    }

    #[test]
    fn depth_and_length_are_no_danger() {
        let deep = 1_000_000;
        let nested = format!("[{}1{}]", "[".repeat(deep), "]".repeat(deep));
        assert_eq!(count(&nested, None), Ok(1));
        let objects = format!("{{\"a\":{}1{},\"r\":[1,2]}}", "{\"a\":".repeat(deep), "}".repeat(deep));
        assert_eq!(count(&objects, None), Ok(2));
        assert_eq!(at("/r", &objects), Ok(2));
        assert_eq!(count(&"[".repeat(deep), None), Err(NOT_JSON));
        let number = format!("[{}]", "9".repeat(deep));
        assert_eq!(count(&number, None), Ok(1));
        assert_eq!(count(&format!("[{}1]", "1,".repeat(deep)), None), Ok(deep as u64 + 1));
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            "\\PC{0,5}".prop_map(Into::into)
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map("[a-c\"\\\\]{1,2}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// What is counted is what a parser that builds the whole value finds.
        #[test]
        fn agrees_with_the_whole_value(value in value(), is_pretty: bool) {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            let arrays: Vec<_> = match &value {
                serde_json::Value::Array(records) => vec![records],
                serde_json::Value::Object(members) => members.values().filter_map(|member| member.as_array()).collect(),
                _ => Vec::new(),
            };
            let expected = match arrays[..] {
                [] => Err(NO_ARRAY),
                [records] => Ok(records.len() as u64),
                _ => Err(SEVERAL),
            };
            prop_assert_eq!(count(&text, None), expected);
        }

        #[test]
        fn no_text_breaks_it(text in "[\\[\\]{}\",:0-9eE.+\\- a\\\\u]{0,40}") {
            if let Ok(records) = count(&text, None) {
                prop_assert!(records <= text.len() as u64);
                prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok());
            }
        }
    }
}
