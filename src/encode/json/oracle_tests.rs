//! Random documents against the `bson` crate's own Extended JSON, and random damage against panics.

use super::*;
use bson::spec::BinarySubtype;
use bson::{Bson, Document, RawDocumentBuf};
use proptest::prelude::*;
use serde_json::Value;

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<i32>().prop_map(f64::from),
        any::<u64>().prop_map(f64::from_bits),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9 ]{0,40}", "\\PC{0,40}", any::<String>()]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{1,20}", "[a-z$.\"\\\\]{0,8}", any::<String>()]
        .prop_map(|name| name.replace('\0', ""))
}

fn leaf() -> impl Strategy<Value = Bson> {
    prop_oneof![
        double().prop_map(Bson::Double),
        text().prop_map(Bson::String),
        any::<bool>().prop_map(Bson::Boolean),
        Just(Bson::Null),
        Just(Bson::Undefined),
        Just(Bson::MinKey),
        Just(Bson::MaxKey),
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        any::<[u8; 12]>().prop_map(|id| Bson::ObjectId(bson::oid::ObjectId::from_bytes(id))),
        // The crate takes a date after 9999 for the last of 9999; the corpus has those.
        prop_oneof![
            i64::MIN..date::YEAR_10000,
            -100_000_000_000_000..date::YEAR_10000
        ]
        .prop_map(|ms| Bson::DateTime(bson::DateTime::from_millis(ms))),
        any::<[u8; 16]>().prop_map(|bytes| Bson::Decimal128(bson::Decimal128::from_bytes(bytes))),
        (any::<i64>(), -40..40_i32).prop_map(|(coefficient, exponent)| {
            Bson::Decimal128(format!("{coefficient}E{exponent}").parse().unwrap())
        }),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(subtype, bytes)| {
                Bson::Binary(bson::Binary {
                    subtype: BinarySubtype::from(subtype),
                    bytes,
                })
            }
        ),
        any::<(u32, u32)>()
            .prop_map(|(time, increment)| Bson::Timestamp(bson::Timestamp { time, increment })),
        (name(), "[imsxul]{0,6}").prop_map(|(pattern, options)| {
            Bson::RegularExpression(bson::Regex {
                pattern: pattern.try_into().unwrap(),
                options: options.try_into().unwrap(),
            })
        }),
        text().prop_map(Bson::JavaScriptCode),
        text().prop_map(Bson::Symbol),
    ]
}

fn document() -> impl Strategy<Value = Document> {
    let value = leaf().prop_recursive(6, 60, 8, |inner| {
        let members = proptest::collection::vec((name(), inner.clone()), 0..8)
            .prop_map(|members| members.into_iter().collect::<Document>())
            .boxed();
        prop_oneof![
            proptest::collection::vec(inner, 0..8).prop_map(Bson::Array),
            members.clone().prop_map(Bson::Document),
            (text(), members).prop_map(|(code, scope)| {
                Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code, scope })
            }),
        ]
    });
    proptest::collection::vec((name(), value), 0..12)
        .prop_map(|members| members.into_iter().collect())
}

fn bytes_of(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document).unwrap().into_bytes()
}

fn written(mode: JsonMode, document: &Document) -> Vec<u8> {
    let mut out = Vec::new();
    let stats = write_document(&mut out, mode, &bytes_of(document)).unwrap();
    assert_eq!(stats, Stats::default());
    out
}

/// Brings both sides to one form where texts may differ and mean the same, or where the oracle is
/// known to differ from the specification (a NaN with a sign, milliseconds of fewer than three digits).
fn normal(value: Value, wrap_long: bool) -> Value {
    match value {
        Value::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| normal(item, wrap_long))
                .collect(),
        ),
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get("$numberDouble") {
                let double: f64 = text.parse().unwrap();
                let text = if double.is_nan() {
                    "NaN".to_owned()
                } else {
                    format!("{double:e}")
                };
                return serde_json::json!({ "$numberDouble": text });
            }
            if let Some(Value::String(text)) = members.get("$date")
                && let Ok(date) = bson::DateTime::parse_rfc3339_str(text)
            {
                return serde_json::json!({ "$date": date.timestamp_millis() });
            }
            let members = members
                .into_iter()
                .map(|(name, item)| (name, normal(item, wrap_long)));
            Value::Object(members.collect())
        }
        // Relaxed: our deliberate difference, an int64 beyond 2^53 is wrapped.
        Value::Number(number) if wrap_long => match number.as_i64() {
            Some(long) if long.unsigned_abs() > 1 << 53 => {
                serde_json::json!({ "$numberLong": long.to_string() })
            }
            _ => Value::Number(number),
        },
        other => other,
    }
}

/// Doubles that are written without a wrapper in canonical mode only by the oracle (it takes a
/// subnormal for a number of its own).
fn has_subnormal(value: &Bson) -> bool {
    match value {
        Bson::Double(double) => double.is_subnormal(),
        Bson::Array(items) => items.iter().any(has_subnormal),
        Bson::Document(members) => members.values().any(has_subnormal),
        Bson::JavaScriptCodeWithScope(code) => code.scope.values().any(has_subnormal),
        _ => false,
    }
}

/// The numbers of a document in reading order, as simple mode must preserve them.
fn numbers(value: &Bson, into: &mut Vec<Bson>) {
    match value {
        Bson::Int32(_) | Bson::Int64(_) => into.push(value.clone()),
        Bson::Double(double) if double.is_finite() => into.push(value.clone()),
        Bson::Array(items) => items.iter().for_each(|item| numbers(item, into)),
        Bson::Document(members) => members.values().for_each(|item| numbers(item, into)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn relaxed_equals_the_bson_crate(document in document()) {
        let ours: Value = serde_json::from_slice(&written(JsonMode::Relaxed, &document)).unwrap();
        let theirs = Bson::Document(document).into_relaxed_extjson();
        // Both sides through text: serde_json's reading of doubles may be off by one bit.
        let theirs = serde_json::from_str(&theirs.to_string()).unwrap();
        prop_assert_eq!(normal(ours, false), normal(theirs, true));
    }

    #[test]
    fn canonical_equals_the_bson_crate(document in document()) {
        prop_assume!(!has_subnormal(&Bson::Document(document.clone())));
        let ours: Value = serde_json::from_slice(&written(JsonMode::Canonical, &document)).unwrap();
        let theirs = Bson::Document(document).into_canonical_extjson();
        prop_assert_eq!(normal(ours, false), normal(theirs, false));
    }

    #[test]
    fn canonical_read_back_by_the_bson_crate_is_the_document_again(
        // Names that look like wrappers are ambiguous in Extended JSON itself.
        members in proptest::collection::vec(("[a-z]{1,8}", leaf()), 0..8)
    ) {
        let document: Document = members.into_iter().collect();
        let ours: Value = serde_json::from_slice(&written(JsonMode::Canonical, &document)).unwrap();
        let back = Document::try_from(ours.as_object().unwrap().clone()).unwrap();
        for (name, value) in &document {
            match (value, back.get(name).unwrap()) {
                (Bson::Double(a), Bson::Double(b)) if a.is_nan() => prop_assert!(b.is_nan()),
                // Several encodings mean one decimal; its text is what is carried.
                (Bson::Decimal128(a), Bson::Decimal128(b)) => prop_assert_eq!(a.to_string(), b.to_string()),
                (Bson::RegularExpression(a), Bson::RegularExpression(b)) => prop_assert_eq!(&a.pattern, &b.pattern),
                (a, b) => prop_assert_eq!(a, b),
            }
        }
    }

    #[test]
    fn canonical_read_back_and_written_again_is_the_same_text(document in document()) {
        let text = written(JsonMode::Canonical, &document);
        let mut again = Vec::new();
        write_document(&mut again, JsonMode::Canonical, &read_document(&text).unwrap()).unwrap();
        prop_assert_eq!(again, text);
    }

    #[test]
    fn damaged_text_is_read_or_refused_and_never_panics(
        document in document(), damage in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut text = written(JsonMode::Canonical, &document);
        let at = damage.index(text.len());
        let _ = read_document(&text[..at]);
        text[at] = byte;
        if let Ok(bytes) = read_document(&text) {
            prop_assert!(crate::change::raw::walk(&bytes).is_ok());
        }
    }

    #[test]
    fn simple_is_valid_json(document in document()) {
        let out = written(JsonMode::Simple, &document);
        prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
    }

    #[test]
    fn simple_preserves_every_number_exactly(
        values in proptest::collection::vec(
            prop_oneof![any::<i64>().prop_map(Bson::Int64), any::<i32>().prop_map(Bson::Int32), double().prop_map(Bson::Double)],
            0..40,
        )
    ) {
        let mut expected = Vec::new();
        let document: Document = [("a".to_owned(), Bson::Array(values))].into_iter().collect();
        numbers(&Bson::Document(document.clone()), &mut expected);
        // Cut from the text itself: serde_json's reading of doubles may be off by one bit.
        let text = String::from_utf8(written(JsonMode::Simple, &document)).unwrap();
        let members = text.strip_prefix("{\"a\":[").unwrap().strip_suffix("]}").unwrap();
        let read: Vec<_> = members.split(',').filter(|number| !number.is_empty() && *number != "null").collect();
        prop_assert_eq!(read.len(), expected.len());
        for (read, expected) in read.into_iter().zip(expected) {
            match expected {
                Bson::Int32(int) => prop_assert_eq!(read.parse(), Ok(int)),
                Bson::Int64(int) => prop_assert_eq!(read.parse(), Ok(int)),
                Bson::Double(double) => prop_assert_eq!(read.parse::<f64>().unwrap().to_bits(), double.to_bits()),
                _ => unreachable!(),
            }
        }
    }

    #[test]
    fn shortest_doubles_read_back_bit_by_bit(double in double()) {
        if !double.is_finite() {
            return Ok(());
        }
        for write in [number::double, number::shortest_double] {
            let mut out = Vec::new();
            write(&mut Output::new(&mut out), double);
            let text = std::str::from_utf8(&out).unwrap();
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), double.to_bits());
        }
    }

    #[test]
    fn decimals_equal_the_bson_crate(bytes in any::<[u8; 16]>()) {
        let mut out = Vec::new();
        decimal::decimal(&mut Output::new(&mut out), &bytes);
        let ours = String::from_utf8(out).unwrap();
        let theirs = bson::Decimal128::from_bytes(bytes).to_string();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn strings_equal_serde_json_and_lossy_decoding(bytes in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..100),
        text().prop_map(String::into_bytes),
        (text(), text(), 0xf0..=0xff_u8).prop_map(|(a, b, c)| [a.as_bytes(), &[c], b.as_bytes()].concat()),
    ]) {
        let mut out = Vec::new();
        let stats = write_string(&mut out, &bytes);
        let lossy = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(std::str::from_utf8(&out).unwrap(), serde_json::to_string(&lossy).unwrap());
        let replaced: usize = bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count();
        prop_assert_eq!(stats.replaced as usize, replaced);
    }

    #[test]
    fn the_same_bytes_give_the_same_text_in_a_used_buffer(document in document()) {
        let bytes = bytes_of(&document);
        for mode in [JsonMode::Simple, JsonMode::Relaxed, JsonMode::Canonical] {
            let first = written(mode, &document);
            let mut used = vec![b'z'; 7];
            write_document(&mut used, mode, &bytes).unwrap();
            prop_assert_eq!(&used[7..], &first[..]);
        }
    }

    #[test]
    fn damaged_documents_never_panic_and_never_give_broken_json(
        document in document(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut bytes = bytes_of(&document);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
            // Half of the cuts with a length that fits, so that more than the first check is reached.
            let len = i32::try_from(bytes.len()).ok();
            if let Some(len) = len.filter(|len| len % 2 == 0)
                && let Some(first) = bytes.first_chunk_mut::<4>()
            {
                *first = len.to_le_bytes();
            }
        }
        for mode in [JsonMode::Simple, JsonMode::Relaxed, JsonMode::Canonical] {
            let mut out = Vec::new();
            match write_document(&mut out, mode, &bytes) {
                Ok(_) => prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&out).is_ok()),
                Err(_) => prop_assert!(out.is_empty()),
            }
        }
    }
}
