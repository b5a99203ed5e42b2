use super::*;
use proptest::prelude::*;

fn refusal(text: &str, decode: impl FnOnce(&Section<'_>) -> Result<(), Refused>) -> String {
    parse(Path::new("f.toml"), text, decode).expect_err("a refusal").to_string()
}

#[test]
fn every_problem_is_told_in_the_order_of_the_lines() {
    let told = refusal("b = 0\na = 'x'\nc = 1\n", |top| {
        top.optional("a", |field| field.whole(1..=9));
        top.optional("b", |field| field.whole(1..=9));
        top.required("d", "d = 1", |field| field.whole(1..=9)).map(drop)
    });
    assert_eq!(
        told,
        "f.toml: d: missing; write d = 1\n\
         f.toml:1: b: 0 is out of range; allowed: 1 to 9\n\
         f.toml:2: a: expected a whole number from 1 to 9, found a string\n\
         f.toml:3: c: unknown field; allowed: a, b, d"
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let told = refusal("a = 1\nb = \n", |_| Ok(()));
    assert!(told.starts_with("f.toml:2: not TOML: "), "{told}");
    let told = refusal("a = 1\n\na = 2\n", |_| Ok(()));
    assert_eq!(told, "f.toml:3: not TOML: duplicate key");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let told = read(&path, |_| Ok(())).unwrap_err().to_string();
    assert_eq!(
        told,
        format!("{}: cannot read this file: No such file or directory (os error 2)", path.display())
    );
    std::fs::write(&path, b"a = \"\xff\"").unwrap();
    let told = read(&path, |_| Ok(())).unwrap_err().to_string();
    assert!(told.contains("cannot read this file") && told.contains("UTF-8"), "{told}");
}

#[test]
fn a_missing_field_is_told_at_its_table() {
    let inner = |top: &Section<'_>| {
        top.section("t", |t| t.required("x", "a number", |field| field.whole(0..=1))).map(drop)
    };
    assert_eq!(refusal("\n[t]\n", inner), "f.toml:2: t.x: missing; write a number");
    assert_eq!(refusal("\n", inner), "f.toml: t.x: missing; write a number");
}

#[test]
fn numbers_are_read_in_every_spelling_and_refused_at_any_size() {
    let number = |text: &str| {
        parse(Path::new("f.toml"), &format!("a = {text}"), |top| {
            top.required("a", "a number", |field| field.whole(1..=u32::MAX))
        })
    };
    for (text, value) in [("1_000", 1_000), ("0xff", 255), ("+7", 7), ("4294967295", u32::MAX)] {
        assert_eq!(number(text).unwrap(), value);
    }
    for text in ["0", "-1", "4294967296", "99999999999999999999", "1.5", "true", "[1]", "1979-05-27"] {
        let told = number(text).unwrap_err().to_string();
        assert!(told.starts_with("f.toml:1: a: ") && told.contains("4294967295"), "{told}");
    }
}

#[test]
fn a_table_where_a_value_is_wanted_and_the_other_way_round() {
    let decode = |top: &Section<'_>| {
        top.optional("a", Field::boolean);
        top.optional("b", Field::text);
        top.section("c", |_| ());
        top.named_sections("d", |_, _| Ok(()));
        top.sections("e", |_| Ok(()));
        top.optional("f", |field| field.each(Field::text));
        Ok(())
    };
    let told = refusal("a = {}\nb = 1\nc = 1\nd = { x = 1 }\ne = [1]\nf = 'x'\n", decode);
    for line in [
        "f.toml:1: a: expected true or false, found a table",
        "f.toml:2: b: expected a string, found a whole number",
        "f.toml:3: c: expected a table, found a whole number",
        "f.toml:4: d.x: expected a table, found a whole number",
        "f.toml:5: e: expected a table, found a whole number",
        "f.toml:6: f: expected a list, found a string",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} in:\n{told}");
    }
}

proptest! {
    /// Whatever the text, the answer is a value or a refusal that names the file.
    #[test]
    fn no_text_makes_it_fail_otherwise(text in "([a-c\\[\\]={}\", \n0-9.#]|key|\\PC){0,80}") {
        let decode = |top: &Section<'_>| {
            top.sections("a", |section| section.required("b", "b", Field::text));
            top.named_sections("c", |_, section| Ok(section.or("a", 1, |field| field.whole(0..=3))));
            Ok(())
        };
        if let Err(problems) = parse(Path::new("f.toml"), &text, decode) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.to_string().lines().all(|line| line.starts_with("f.toml")), "{problems}");
        }
    }
}
