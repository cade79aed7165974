//! `where`: a MongoDB query, decided on documents as the topic holds them.
//!
//! A record's value is JSON in a `JSON_MODE`, and what that mode does not tell apart cannot be asked for. Extended
//! JSON is read back into BSON; in `simple`, an ObjectId or a date is the string that stands there.

use crate::config::JsonMode;
use crate::listener::filter::Filter;
use crate::listener::filter::key::Key;
use bson::{Bson, Document, RawDocumentBuf};
use serde_json::Value;

/// A compiled `where`.
#[derive(Debug)]
pub struct Where {
    filter: Filter,
    /// What tells it from others.
    text: String,
}

impl Where {
    /// Compiles a query.
    ///
    /// # Errors
    /// A sentence: what is no query, or cannot be decided in this mode.
    pub fn compile(query: &Value, mode: JsonMode) -> Result<Self, String> {
        if !query.is_object() {
            return Err("a filter is a JSON object, such as {\"room\":\"r1\"}".into());
        }
        check(query, mode)?;
        let bson = match bson(query, mode) {
            Some(Bson::Document(document)) => document,
            _ => return Err("the filter holds what no document can hold; see docs/live.md".into()),
        };
        let raw = RawDocumentBuf::try_from(&bson)
            .map_err(|_| "the filter is no query; see docs/live.md")?;
        let filter = Filter::compile(&raw).map_err(|error| error.to_string())?;
        let text = query.to_string();
        Ok(Self { filter, text })
    }

    pub fn matches(&self, document: &RawDocumentBuf) -> bool {
        self.filter.matches(document)
    }

    /// A field and the value that it must have.
    pub fn equality(&self) -> Option<(&str, Key)> {
        self.filter.equality()
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A document of a record's value, as `where` sees it; none for null, and for what is nested too deep to be read.
pub fn document(text: &[u8], mode: JsonMode) -> Option<RawDocumentBuf> {
    let document = match mode {
        JsonMode::Simple => match bson(&serde_json::from_slice(text).ok()?, mode)? {
            Bson::Document(document) => document,
            _ => return None,
        },
        JsonMode::Relaxed | JsonMode::Canonical => serde_json::from_slice::<Document>(text).ok()?,
    };
    RawDocumentBuf::try_from(&document).ok()
}

fn bson(value: &Value, mode: JsonMode) -> Option<Bson> {
    match mode {
        JsonMode::Simple => plain(value),
        JsonMode::Relaxed | JsonMode::Canonical => Bson::try_from(value.clone()).ok(),
    }
}

/// JSON's own types; no wrapper means anything else than itself.
fn plain(value: &Value) -> Option<Bson> {
    Some(match value {
        Value::Null => Bson::Null,
        Value::Bool(flag) => Bson::Boolean(*flag),
        Value::String(text) => Bson::String(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Bson::Int64(whole),
            None => Bson::Double(number.as_f64()?),
        },
        Value::Array(list) => Bson::Array(list.iter().map(plain).collect::<Option<_>>()?),
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| {
                // A name with a zero has no place in BSON.
                (!name.contains('\0')).then_some(())?;
                Some((name.clone(), plain(value)?))
            });
            Bson::Document(fields.collect::<Option<Document>>()?)
        }
    })
}

/// Wrappers of Extended JSON for types that `simple` writes as plain values.
const WRAPPERS: [&str; 11] = [
    "$oid",
    "$date",
    "$numberInt",
    "$numberLong",
    "$numberDouble",
    "$numberDecimal",
    "$binary",
    "$uuid",
    "$symbol",
    "$undefined",
    "$regularExpression",
];

/// Refuses what the mode cannot decide.
fn check(query: &Value, mode: JsonMode) -> Result<(), String> {
    match query {
        Value::Object(map) => map.iter().try_for_each(|(name, value)| {
            if let Some(reason) = refusal(name, value, mode) {
                return Err(reason);
            }
            check(value, mode)
        }),
        Value::Array(list) => list.iter().try_for_each(|each| check(each, mode)),
        _ => Ok(()),
    }
}

fn refusal(name: &str, value: &Value, mode: JsonMode) -> Option<String> {
    let is_simple = mode == JsonMode::Simple;
    match name {
        "$type" if is_simple => Some(
            "$type cannot be decided: the topic has JSON_MODE=simple, which does not tell types apart (an \
             ObjectId is a string there)"
                .into(),
        ),
        "$type" if mode == JsonMode::Relaxed && is_whole_number_type(value) => Some(
            "$type cannot tell int and long apart: the topic has JSON_MODE=relaxed, which writes both as plain \
             numbers; ask for \"number\""
                .into(),
        ),
        name if is_simple && name.starts_with("$bits") => Some(format!(
            "{name} cannot be decided: the topic has JSON_MODE=simple, which writes binary data as a string"
        )),
        name if is_simple && WRAPPERS.contains(&name) => Some(format!(
            "{name} stands for a type that JSON_MODE=simple, which the topic has, writes as a plain value; give \
             the value as it is there, such as \"65bc9fb6c485f419a7a877fe\" (for a regular expression use $regex)"
        )),
        _ => None,
    }
}

fn is_whole_number_type(value: &Value) -> bool {
    match value {
        Value::String(name) => ["int", "long"].contains(&name.as_str()),
        Value::Array(list) => list.iter().any(is_whole_number_type),
        other => other
            .as_f64()
            .is_some_and(|code| [16.0, 18.0].contains(&code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::json::write_document;
    use bson::doc;
    use serde_json::json;

    const MODES: [JsonMode; 3] = [JsonMode::Simple, JsonMode::Relaxed, JsonMode::Canonical];

    /// What a topic of this mode holds, seen as `where` sees it.
    fn held(document: &Document, mode: JsonMode) -> RawDocumentBuf {
        let raw = RawDocumentBuf::try_from(document).unwrap();
        let mut text = Vec::new();
        write_document(&mut text, mode, raw.as_bytes()).unwrap();
        super::document(&text, mode).unwrap()
    }

    #[test]
    fn plain_values_are_decided_alike_in_every_mode() {
        let document = doc! {"room": "r1", "n": 7, "long": 1_i64 << 60, "half": 0.5, "tags": ["a", "b"], "in": {"x": true}, "no": null};
        for mode in MODES {
            let held = held(&document, mode);
            for (query, expected) in [
                (json!({"room": "r1"}), true),
                (json!({"room": "r2"}), false),
                (json!({"n": 7.0}), true),
                (json!({"n": {"$gte": 7, "$lt": 8}}), true),
                (json!({"long": 1_i64 << 60}), true),
                (json!({"half": {"$in": [0.5]}}), true),
                (json!({"tags": "b"}), true),
                (json!({"in.x": true}), true),
                (json!({"no": null, "missing": null}), true),
                (json!({"room": {"$regex": "^R", "$options": "i"}}), true),
                (json!({"$or": [{"n": 8}, {"tags": {"$size": 2}}]}), true),
                (json!({"room": {"$exists": false}}), false),
            ] {
                let compiled = Where::compile(&query, mode).unwrap();
                assert_eq!(compiled.matches(&held), expected, "{mode:?} {query}");
            }
        }
    }

    #[test]
    fn types_that_json_lacks_are_asked_for_as_the_topic_holds_them() {
        let id = bson::oid::ObjectId::parse_str("65bc9fb6c485f419a7a877fe").unwrap();
        let at = bson::DateTime::from_millis(1_577_863_627_000);
        let document =
            doc! {"_id": id, "at": at, "price": "1.50".parse::<bson::Decimal128>().unwrap()};
        let simple = held(&document, JsonMode::Simple);
        let matches = |query: Value, mode, held: &RawDocumentBuf| {
            Where::compile(&query, mode).unwrap().matches(held)
        };
        assert!(matches(
            json!({"_id": "65bc9fb6c485f419a7a877fe", "at": {"$gt": "2020"}}),
            JsonMode::Simple,
            &simple
        ));
        for mode in [JsonMode::Relaxed, JsonMode::Canonical] {
            let held = held(&document, mode);
            let query = json!({
                "_id": {"$oid": "65bc9fb6c485f419a7a877fe"},
                "at": {"$gt": {"$date": "2019-12-31T00:00:00Z"}},
                "price": {"$gt": {"$numberDecimal": "1.4"}},
            });
            assert!(matches(query, mode, &held), "{mode:?}");
            assert!(
                !matches(json!({"_id": "65bc9fb6c485f419a7a877fe"}), mode, &held),
                "{mode:?}"
            );
        }
    }

    #[test]
    fn what_a_mode_cannot_decide_is_refused_with_its_name() {
        use JsonMode::{Canonical, Relaxed, Simple};
        for (query, mode, named) in [
            (
                json!({"a": {"$type": "string"}}),
                Simple,
                "JSON_MODE=simple",
            ),
            (
                json!({"$or": [{"a": {"$bitsAllSet": 1}}]}),
                Simple,
                "$bitsAllSet",
            ),
            (
                json!({"a": {"$oid": "65bc9fb6c485f419a7a877fe"}}),
                Simple,
                "$oid",
            ),
            (
                json!({"a": {"$in": [{"$date": "2020-01-01T00:00:00Z"}]}}),
                Simple,
                "$date",
            ),
            (json!({"a": {"$type": ["int"]}}), Relaxed, "\"number\""),
            (json!({"$expr": {}}), Canonical, "$expr"),
            (json!({"$where": "1"}), Relaxed, "$where"),
            (json!([]), Simple, "JSON object"),
        ] {
            let sentence = Where::compile(&query, mode).unwrap_err();
            assert!(sentence.contains(named), "{query} {sentence}");
        }
        Where::compile(&json!({"a": {"$type": "int"}}), Canonical).unwrap();
        Where::compile(&json!({"a": {"$type": "number"}}), Relaxed).unwrap();
    }
}
