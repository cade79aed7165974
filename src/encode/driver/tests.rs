use super::{Mode, Style, write_document, write_string};
use bson::{Bson, Document, RawDocumentBuf, doc};

fn written(mode: Mode, document: &Document) -> String {
    let raw = RawDocumentBuf::try_from(document).unwrap();
    let mut out = Vec::new();
    write_document(&mut out, Style::plain(mode), raw.as_bytes()).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn doubles_are_those_of_java() {
    let of = |value: f64| {
        let mut out = Vec::new();
        super::number::double(&mut out, value);
        String::from_utf8(out).unwrap()
    };
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-12.5, "-12.5"),
        (100.0, "100.0"),
        (1234567.0, "1234567.0"),
        (9_999_999.5, "9999999.5"),
        (1e7, "1.0E7"),
        (12_345_678.0, "1.2345678E7"),
        (0.001, "0.001"),
        (0.00125, "0.00125"),
        (0.000_999, "9.99E-4"),
        (1e21, "1.0E21"),
        (1.5e-300, "1.5E-300"),
        (f64::MAX, "1.7976931348623157E308"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(of(value), text);
    }
}

#[test]
fn characters_are_escaped_by_their_category() {
    let mut out = Vec::new();
    write_string(
        &mut out,
        "é☃\u{301}😀\u{7f}\u{2028}\u{200b}\u{e000}/ʰ€\t".as_bytes(),
    );
    let text = String::from_utf8(out).unwrap();
    let wanted = r#""é☃\u0301\ud83d\ude00\u007f\u2028\u200b\ue000/\u02b0€\t""#;
    assert_eq!(text, wanted);
    let mut out = Vec::new();
    assert_eq!(write_string(&mut out, b"a\xff\"").replaced, 1);
    assert_eq!(out, "\"a\u{fffd}\\\"\"".as_bytes());
}

#[test]
fn simplified_dates_trim_their_fraction() {
    for (millis, text) in [
        (1_577_863_627_000, "2020-01-01T07:27:07Z"),
        (1_577_863_627_500, "2020-01-01T07:27:07.5Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "+10000-01-01T00:00:00Z"),
        (-62_198_755_200_001, "-0002-12-31T23:59:59.999Z"),
    ] {
        let document = doc! {"d": bson::DateTime::from_millis(millis)};
        assert_eq!(
            written(Mode::Simplified, &document),
            format!(r#"{{"d": "{text}"}}"#)
        );
    }
}

#[test]
fn what_is_nested_too_deep_is_refused_and_not_followed() {
    let mut value = Bson::Int32(1);
    for _ in 0..super::MAX_DEPTH - 1 {
        value = Bson::Array(vec![value]);
    }
    let raw = |value: &Bson| RawDocumentBuf::try_from(&doc! {"a": value.clone()}).unwrap();
    let style = Style::plain(Mode::Strict);
    let fits = raw(&value);
    write_document(&mut Vec::new(), style, fits.as_bytes()).unwrap();
    let deeper = raw(&Bson::Array(vec![value]));
    write_document(&mut Vec::new(), style, deeper.as_bytes()).unwrap_err();
}
