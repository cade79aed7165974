//! What the test beside the real connector does not show: what is refused, and in which words.

use super::*;
use crate::change::raw::Element;
use crate::config::connect_schema::parse;
use crate::encode::driver::{Mode, Style};
use crate::encode::json::{EncodeError, Stats};
use bson::spec::ElementType;
use bson::{Bson, Document, doc};

const STYLE: Style = Style::plain(Mode::Strict);

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

fn json(document: &Document) -> Result<String, EncodeError> {
    let bytes = bytes(document);
    let schema = infer(&bytes)?;
    let value = Element {
        kind: ElementType::EmbeddedDocument,
        name: b"",
        value: &bytes,
    };
    let mut out = Vec::new();
    write_json(&mut out, &schema, Some(value), STYLE, &mut Stats::default())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn digits_of_decimals_are_as_short_as_javas() {
    for (text, digits) in [
        ("0", "AA=="),
        ("127", "fw=="),
        ("128", "AIA="),
        ("-128", "gA=="),
        ("-129", "/38="),
        ("-1", "/w=="),
        (
            "9999999999999999999999999999999999",
            "AezyH3FSc5xGw////////w==",
        ),
    ] {
        let decimal = Bson::Decimal128(text.parse().unwrap());
        let written = json(&doc! {"d": decimal}).unwrap();
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        if text.len() < 10 {
            assert_eq!(read["d"], digits, "{text}");
        } else {
            assert_eq!(read["d"].as_str().unwrap().len(), 20, "15 bytes: {text}");
        }
    }
}

#[test]
fn what_connect_cannot_hold_is_refused_in_a_sentence() {
    let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
    for (document, words) in [
        (doc! {"d": decimal("NaN")}, "no number"),
        (doc! {"d": [decimal("-Infinity")]}, "no number"),
        (doc! {"d": decimal("-0.0")}, "negative zero"),
        (doc! {"a": {"": 1}}, "empty name"),
        (
            doc! {"l": [{"a": Bson::Null}, {"a": "s"}, {"a": 5}]},
            "another type",
        ),
    ] {
        let error = json(&document).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn names_that_are_none_in_avro_and_names_with_two_meanings_are_refused() {
    let avro = |document: &Document| avro_schema(&infer(&bytes(document)).unwrap());
    for name in ["s p", "a.b", "1a", "a-b", "\u{1F600}"] {
        let error = avro(&doc! {name: 1}).unwrap_err();
        assert!(error.contains("is none in Avro"), "{error}");
        assert!(!error.contains(name), "{error}");
    }
    assert!(avro(&doc! {"_a1é漢": 1}).is_ok());
    let twice = avro(&doc! {"a": {"b": {"x": 1}}, "a_b": {"x": 1}}).unwrap();
    assert!(
        twice.contains(r#"{"name":"a_b","type":["null","a_b"]"#),
        "{twice}"
    );
    let error = avro(&doc! {"a": {"b": {"x": 1}}, "a_b": {"y": 1}}).unwrap_err();
    assert!(error.contains("with different fields"), "{error}");
}

#[test]
fn a_given_schema_is_read_or_refused() {
    for (text, words) in [
        ("record", "is no JSON"),
        (r#""string""#, "is no record"),
        (
            r#"["null",{"type":"record","name":"a","fields":[]}]"#,
            "is no record",
        ),
        (r#"{"type":"record","name":"a"}"#, "has no fields"),
        (
            r#"{"type":"record","name":"a","fields":[{"name":"x","type":["int","string"]}]}"#,
            "not of one type and null",
        ),
        (
            r#"{"type":"record","name":"a","fields":[{"name":"x","type":"float"}]}"#,
            r#"the type "float""#,
        ),
        (
            r#"{"type":"record","name":"a","fields":[{"name":"x","type":"int","default":5}]}"#,
            "has a default",
        ),
        (
            r#"{"type":"record","name":"a","fields":[{"name":"x","type":["null","a"]}]}"#,
            "defined before it",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
