//! The rules, case by case; `tests/corpus/values.txt` holds the values of every type.

use super::*;
use bson::spec::ElementType;
use bson::{Bson, Document, RawDocumentBuf, doc};

const MODES: [JsonMode; 3] = [JsonMode::Canonical, JsonMode::Relaxed, JsonMode::Simple];

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn json(mode: JsonMode, document: &Document) -> String {
    let mut out = Vec::new();
    write_document(&mut out, mode, raw(document).as_bytes()).unwrap();
    String::from_utf8(out).unwrap()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits = hex.strip_prefix('-').unwrap_or(hex).as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A document of one element with the name `x`.
fn wrapped(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut document = (value.len() as i32 + 8).to_le_bytes().to_vec();
    document.extend_from_slice(&[kind, b'x', 0]);
    document.extend_from_slice(value);
    document.push(0);
    document
}

#[test]
fn every_case_of_the_corpus_is_written_as_it_says() {
    let mut seen = std::collections::BTreeSet::new();
    for line in include_str!("../../../tests/corpus/values.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let columns: Vec<_> = line.split(" | ").collect();
        let (kind, hex) = columns[0].split_once(' ').unwrap();
        let (kind, value) = (u8::from_str_radix(kind, 16).unwrap(), from_hex(hex));
        seen.insert(kind);
        for (mode, expected) in MODES.into_iter().zip(&columns[1..]) {
            let element = Element {
                kind: ElementType::from(kind).unwrap(),
                name: b"x",
                value: &value,
            };
            let mut alone = Vec::new();
            let stats = write_value(&mut alone, mode, element).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&alone),
                *expected,
                "{mode:?}: {line}"
            );
            assert_eq!(
                stats.replaced as usize,
                expected.matches('\u{FFFD}').count(),
                "{line}"
            );

            let mut member = Vec::new();
            write_document(&mut member, mode, &wrapped(kind, &value)).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&member),
                format!(r#"{{"x":{expected}}}"#),
                "{mode:?}: {line}"
            );
            serde_json::from_slice::<serde::de::IgnoredAny>(&member).unwrap();
        }
    }
    let every_type: Vec<u8> = (1..=0x13).chain([0x7f, 0xff]).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), every_type);
}

#[test]
fn doubles_read_back_as_the_same_bits() {
    let doubles = [
        0.1,
        -0.0,
        1e16,
        1e21,
        1e22,
        1e23,
        5e-324,
        f64::MAX,
        f64::MIN_POSITIVE,
        9007199254740993.0,
        123456789.125,
        1.0 / 3.0,
        1e-6,
        1e-7,
        4503599627370497.5,
    ];
    for double in doubles {
        for mode in [JsonMode::Simple, JsonMode::Relaxed] {
            let text = json(mode, &doc! {"x": double});
            let number = &text[5..text.len() - 1];
            assert_eq!(
                number.parse::<f64>().unwrap().to_bits(),
                double.to_bits(),
                "{text}"
            );
        }
    }
}

#[test]
fn strings_of_every_length_are_escaped_at_every_place() {
    for len in 0..80 {
        let plain = "x".repeat(len);
        assert_eq!(
            json(JsonMode::Simple, &doc! {"s": &plain}),
            format!(r#"{{"s":"{plain}"}}"#)
        );
        for at in 0..len {
            for (special, escaped) in [
                ("\"", "\\\""),
                ("\\", "\\\\"),
                ("\u{1f}", "\\u001f"),
                ("ü", "ü"),
            ] {
                let mut text = plain.clone();
                text.replace_range(at..=at, special);
                let mut expected = plain.clone();
                expected.replace_range(at..=at, escaped);
                assert_eq!(
                    json(JsonMode::Simple, &doc! {"s": text}),
                    format!(r#"{{"s":"{expected}"}}"#)
                );
            }
        }
    }
}

#[test]
fn names_of_every_length_are_escaped_at_every_place() {
    for len in 1..40 {
        for at in 0..len {
            for (special, escaped) in [("\"", "\\\""), ("\n", "\\n"), ("é", "é")] {
                let (mut name, mut expected) = ("n".repeat(len), "n".repeat(len));
                name.replace_range(at..=at, special);
                expected.replace_range(at..=at, escaped);
                let mut document = Document::new();
                document.insert(name, Bson::Null);
                assert_eq!(
                    json(JsonMode::Relaxed, &document),
                    format!(r#"{{"{expected}":null}}"#)
                );
            }
        }
    }
}

#[test]
fn broken_utf8_in_a_name_is_replaced_and_counted() {
    let document = b"\x0b\x00\x00\x00\x0aa\xff\xfeb\x00\x00";
    let mut out = Vec::new();
    let stats = write_document(&mut out, JsonMode::Simple, document).unwrap();
    assert_eq!(out, "{\"a\u{FFFD}\u{FFFD}b\":null}".as_bytes());
    assert_eq!(stats, Stats { replaced: 2 });
}

/// `levels` arrays and documents in one another, the outermost a document.
fn nested(levels: usize) -> Vec<u8> {
    let mut inner = vec![5, 0, 0, 0, 0];
    for level in (1..levels).rev() {
        // The container around is a document at even levels of the outside count.
        let kind = if level % 2 == 0 { 3 } else { 4 };
        let mut outer = (inner.len() as i32 + 8).to_le_bytes().to_vec();
        outer.extend_from_slice(&[kind, b'0', 0]);
        outer.extend_from_slice(&inner);
        outer.push(0);
        inner = outer;
    }
    inner
}

#[test]
fn deep_documents_are_written_up_to_the_bound_and_refused_beyond() {
    for levels in [1, 2, 15, 16, 17, 18, 100, 200, 500, MAX_DEPTH] {
        let mut out = Vec::new();
        write_document(&mut out, JsonMode::Simple, &nested(levels)).unwrap();
        let opened = out
            .iter()
            .filter(|byte| matches!(byte, b'{' | b'['))
            .count();
        let closed = out
            .iter()
            .filter(|byte| matches!(byte, b'}' | b']'))
            .count();
        assert_eq!((opened, closed), (levels, levels));
        if levels <= 100 {
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        }
    }
    let mut out = b"before".to_vec();
    for levels in [MAX_DEPTH + 1, 5 * MAX_DEPTH] {
        assert_eq!(
            write_document(&mut out, JsonMode::Simple, &nested(levels)),
            Err(EncodeError::TooDeep)
        );
    }
    assert_eq!(out, b"before");
}

#[test]
fn codes_with_scope_in_one_another_are_bounded() {
    let scoped = |levels| {
        let mut scope = vec![5, 0, 0, 0, 0];
        for _ in 0..levels {
            let mut value = (scope.len() as i32 + 10).to_le_bytes().to_vec();
            value.extend_from_slice(&[2, 0, 0, 0, b'f', 0]);
            value.extend_from_slice(&scope);
            scope = wrapped(0x0f, &value);
        }
        scope
    };
    let mut out = Vec::new();
    write_document(&mut out, JsonMode::Simple, &scoped(MAX_SCOPES)).unwrap();
    assert_eq!(
        out.iter().filter(|byte| **byte == b'{').count(),
        2 * MAX_SCOPES + 1
    );
    assert_eq!(
        write_document(&mut out, JsonMode::Simple, &scoped(MAX_SCOPES + 1)),
        Err(EncodeError::TooDeep)
    );
}

#[test]
fn nothing_is_appended_where_the_bytes_are_not_bson() {
    let cases: &[&[u8]] = &[
        b"",
        b"\x05\x00\x00\x00",
        b"\x05\x00\x00\x00\x01",                  // no closing zero
        b"\x06\x00\x00\x00\x00",                  // longer than it is
        b"\x06\x00\x00\x00\x00\x00",              // a zero where an element should begin
        b"\xff\xff\xff\xff\x00",                  // a negative length
        b"\x08\x00\x00\x00\x0axx\x00",            // a name without end
        b"\x08\x00\x00\x00\x20x\x00\x00",         // a type that does not exist
        b"\x0a\x00\x00\x00\x10x\x00\x01\x02\x00", // half a number
        b"\x0e\x00\x00\x00\x02x\x00\x02\x00\x00\x00a\x01\x00", // a string without its zero
        b"\x0c\x00\x00\x00\x02x\x00\x00\x00\x00\x00\x00", // a string of length zero
        b"\x0d\x00\x00\x00\x03x\x00\x06\x00\x00\x00\x00\x00", // a document that claims more than there is
        b"\x0d\x00\x00\x00\x03x\x00\x05\x00\x00\x00\x01\x00", // an inner document without its zero
        b"\x0d\x00\x00\x00\x03x\x00\x04\x00\x00\x00\x00\x00", // an inner document too short to be one
        b"\x0d\x00\x00\x00\x05x\x00\x01\x00\x00\x00\x00\x00", // a binary that claims more than there is
        b"\x0a\x00\x00\x00\x0bx\x00a\x00\x00", // a regular expression without options
    ];
    for bytes in cases {
        for mode in MODES {
            let mut out = b"before".to_vec();
            let written = write_document(&mut out, mode, bytes);
            assert!(
                matches!(written, Err(EncodeError::Malformed(_))),
                "{bytes:?}"
            );
            assert_eq!(out, b"before");
        }
    }
}

#[test]
fn an_array_is_written_without_the_names_of_its_elements() {
    let document = raw(&doc! {"a": [1, "two", [3.5]]});
    let array = crate::change::raw::find(document.as_bytes(), "a")
        .unwrap()
        .unwrap();
    let mut out = Vec::new();
    write_value(&mut out, JsonMode::Simple, array).unwrap();
    assert_eq!(out, br#"[1,"two",[3.5]]"#);
}

#[test]
fn errors_show_nothing_of_the_document() {
    let mut broken = raw(&doc! {"secret": "hidden"}).into_bytes();
    broken.truncate(20);
    let error = write_document(&mut Vec::new(), JsonMode::Simple, &broken).unwrap_err();
    assert!(!error.to_string().contains("secret") && !error.to_string().contains("hidden"));
}
