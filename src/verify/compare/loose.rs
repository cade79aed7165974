//! Documents of different formats, in one text: what each of them means, whatever its notation.
//!
//! The dialects of Extended JSON write one value in several ways, and the simple ones leave out types. So two values are
//! one if any of these notations has them alike: a number is a number whatever its type, an ObjectId is its digits, a
//! date is its time, and NaN is nothing.

use crate::encode::json::scan;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

/// What is nested deeper is taken as it is.
const DEEPEST: usize = 200;

/// Appends `value`, which is JSON, in the common notation.
pub fn write(out: &mut Vec<u8>, value: &[u8]) {
    write_value(out, value, 0);
}

fn write_value(out: &mut Vec<u8>, value: &[u8], depth: usize) {
    match value.first() {
        Some(b'{') if depth < DEEPEST => object(out, value, depth),
        Some(b'[') if depth < DEEPEST => {
            out.push(b'[');
            for (index, element) in scan::elements(value).enumerate() {
                separate(out, index);
                write_value(out, element, depth + 1);
            }
            out.push(b']');
        }
        Some(b'"') => match text(value) {
            Some(text) => string(out, &text),
            None => out.extend_from_slice(value),
        },
        Some(b'-' | b'0'..=b'9') => match std::str::from_utf8(value) {
            Ok(text) => number(out, text),
            Err(_) => out.extend_from_slice(value),
        },
        // As Java's driver writes them in its older notations, which is no JSON.
        Some(b'N' | b'I') => out.extend_from_slice(b"null"),
        _ => out.extend_from_slice(value),
    }
}

fn object(out: &mut Vec<u8>, value: &[u8], depth: usize) {
    if wrapped(out, value, depth).is_some() {
        return;
    }
    out.push(b'{');
    for (index, (name, member)) in scan::members(value).enumerate() {
        separate(out, index);
        // Escaped in one way only.
        let quoted = [b"\"", name, b"\""].concat();
        match text(&quoted).and_then(|text| serde_json::to_vec(&text).ok()) {
            Some(name) => out.extend_from_slice(&name),
            None => out.extend_from_slice(&quoted),
        }
        out.push(b':');
        write_value(out, member, depth + 1);
    }
    out.push(b'}');
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

/// Writes what a wrapper of Extended JSON stands for; none where it is no wrapper.
fn wrapped(out: &mut Vec<u8>, value: &[u8], depth: usize) -> Option<()> {
    let mut members = scan::members(value);
    let (name, inner) = members.next()?;
    let second = members.next();
    if members.next().is_some() || !name.starts_with(b"$") {
        return None;
    }
    match (name, second) {
        (b"$oid" | b"$symbol" | b"$uuid", None) => {
            string(out, &text(inner)?);
        }
        (b"$numberInt" | b"$numberLong" | b"$numberDouble", None) => number(out, &text(inner)?),
        // Some formats have it as a string.
        (b"$numberDecimal", None) => string(out, &text(inner)?),
        // The older notation has it without the wrapper.
        (b"$dbPointer", None) => write_value(out, inner, depth + 1),
        (b"$undefined", None) => out.extend_from_slice(b"null"),
        (b"$date", None) => millis(out, time(inner)?),
        (b"$binary", None) => {
            string(out, &text(scan::member(inner, "base64")?)?);
        }
        (b"$binary", Some((b"$type", _))) => string(out, &text(inner)?),
        (b"$regularExpression", None) => {
            let of = |name| text(scan::member(inner, name)?);
            expression(out, &of("pattern")?, &of("options")?);
        }
        (b"$regex", Some((b"$options", options))) => {
            expression(out, &text(inner)?, &text(options)?);
        }
        _ => return None,
    }
    Some(())
}

fn expression(out: &mut Vec<u8>, pattern: &str, options: &str) {
    string(out, &format!("/{pattern}/{options}"));
}

/// A number without its type: `1.0` is `1`.
fn number(out: &mut Vec<u8>, text: &str) {
    let is_whole = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-');
    match text.parse::<f64>() {
        // Every digit of it counts.
        Ok(_) if is_whole => out.extend_from_slice(text.as_bytes()),
        Ok(number) if number.is_finite() && number.fract() == 0.0 && number.abs() < 9.0e15 => {
            out.extend_from_slice((number as i64).to_string().as_bytes());
        }
        Ok(number) if number.is_finite() => {
            out.extend_from_slice(format!("{number:e}").as_bytes());
        }
        _ => out.extend_from_slice(b"null"),
    }
}

/// A string; one that is a time is that time.
fn string(out: &mut Vec<u8>, text: &str) {
    let looks_like_time = text.len() >= 20
        && text.ends_with('Z')
        && text.as_bytes().get(4) == Some(&b'-')
        && text.as_bytes().get(10) == Some(&b'T');
    if looks_like_time && let Ok(time) = text.parse::<Timestamp>() {
        return millis(out, time.as_millisecond());
    }
    if let Some(time) = signed_time(text) {
        return millis(out, time);
    }
    // Some formats have a UUID as text, others as the bytes that it is.
    if text.len() == 36
        && let Ok(uuid) = bson::Uuid::parse_str(text)
    {
        return string(out, &STANDARD.encode(uuid.bytes()));
    }
    // Strings can be written.
    out.extend_from_slice(&serde_json::to_vec(text).unwrap_or_default());
}

/// A time whose year has a sign, as Java writes those before 0 and after 9999, in milliseconds since the Unix epoch.
fn signed_time(text: &str) -> Option<i64> {
    let is_before = text.starts_with('-');
    let (year, rest) = text.strip_prefix(['+', '-'])?.split_once('-')?;
    if !rest.contains('T') || !rest.ends_with('Z') {
        return None;
    }
    let year: i64 = year.parse().ok().filter(|year| *year < 1_000_000_000)?;
    let year = if is_before { -year } else { year };
    // The calendar repeats itself every 400 years, and the type of times ends with the year 9999.
    let like_it: Timestamp = format!("{}-{rest}", 2000 + year.rem_euclid(400))
        .parse()
        .ok()?;
    let cycles = year.div_euclid(400) - 5;
    Some(like_it.as_millisecond() + cycles * 146_097 * 86_400_000)
}

fn millis(out: &mut Vec<u8>, millis: i64) {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => out.extend_from_slice(format!("\"{time}\"").as_bytes()),
        Err(_) => out.extend_from_slice(millis.to_string().as_bytes()),
    }
}

/// A time in any notation, in milliseconds since the Unix epoch.
pub fn time(value: &[u8]) -> Option<i64> {
    match value.first()? {
        b'{' => {
            let (name, inner) = scan::members(value).next()?;
            match name {
                b"$numberLong" => text(inner)?.parse().ok(),
                b"$date" => time(inner),
                b"$timestamp" => {
                    let seconds = std::str::from_utf8(scan::member(inner, "t")?).ok()?;
                    Some(seconds.parse::<i64>().ok()? * 1000)
                }
                _ => None,
            }
        }
        b'"' => {
            let text = text(value)?;
            let time = text.parse::<Timestamp>().map(Timestamp::as_millisecond);
            time.ok().or_else(|| text.parse().ok())
        }
        _ => std::str::from_utf8(value).ok()?.parse().ok(),
    }
}

/// The text of a JSON string.
pub fn text(value: &[u8]) -> Option<String> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loose(value: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, value.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_notations_of_one_document_are_one() {
        let simple = r#"{"_id":"65bc9fb6c485f419a7a877fe","n":7,"d":1.5,"w":1,"t":"2020-01-01T07:27:07.000Z","dec":"1.50","u":"c8edabc3-f738-4ca3-b68d-ab92a91478a3","b":"3q2+7w==","nan":null,"l":[1,"x"]}"#;
        let canonical = r#"{"_id":{"$oid":"65bc9fb6c485f419a7a877fe"},"n":{"$numberLong":"7"},"d":{"$numberDouble":"1.5"},"w":{"$numberDouble":"1.0"},"t":{"$date":{"$numberLong":"1577863627000"}},"dec":{"$numberDecimal":"1.50"},"u":{"$binary":{"base64":"yO2rw/c4TKO2jauSqRR4ow==","subType":"04"}},"b":{"$binary":{"base64":"3q2+7w==","subType":"00"}},"nan":{"$numberDouble":"NaN"},"l":[{"$numberInt":"1"},"x"]}"#;
        let first = r#"{"_id": {"$oid": "65bc9fb6c485f419a7a877fe"}, "n": {"$numberLong": "7"},"d": 1.5,"w": 1.0,"t": {"$date": 1577863627000},"dec": {"$numberDecimal": "1.50"},"u": {"$binary": "yO2rw/c4TKO2jauSqRR4ow==", "$type": "04"},"b": {"$binary": "3q2+7w==","$type": "00"},"nan": {"$numberDouble": "NaN"},"l": [1,"x"]}"#;
        assert_eq!(loose(simple), loose(canonical));
        assert_eq!(loose(first), loose(canonical));
        assert_eq!(loose(simple), loose(&loose(simple)));
    }

    #[test]
    fn the_older_notations_of_java_are_read() {
        for (older, canonical) in [
            ("NaN", r#"{"$numberDouble":"NaN"}"#),
            ("Infinity", r#"{"$numberDouble":"Infinity"}"#),
            ("-Infinity", r#"{"$numberDouble":"-Infinity"}"#),
            (
                r#""-0002-12-31T23:59:59.999Z""#,
                r#"{"$date":{"$numberLong":"-62198755200001"}}"#,
            ),
            (
                r#""+10000-01-01T00:00:00Z""#,
                r#"{"$date":{"$numberLong":"253402300800000"}}"#,
            ),
            (
                r#"{"$ref": "a.b", "$id": {"$oid": "65bc9fb6c485f419a7a877fe"}}"#,
                r#"{"$dbPointer":{"$ref":"a.b","$id":{"$oid":"65bc9fb6c485f419a7a877fe"}}}"#,
            ),
        ] {
            assert_eq!(
                loose(&format!("[{older}, 1]")),
                loose(&format!("[{canonical},1]"))
            );
        }
    }

    #[test]
    fn what_means_something_else_stays_apart() {
        for (one, other) in [
            ("9007199254740993", "9007199254740992"),
            ("1.5", "1.25"),
            ("\"7\"", "7"),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
            (r#"{"$oid":"a","x":1}"#, "\"a\""),
            ("\"2020-01-01T07:27:07Z\"", "\"2020-01-01T07:27:08Z\""),
        ] {
            assert_ne!(loose(one), loose(other));
        }
    }
}
