//! Envelope, key and headers of whole events.

use super::headers::Scratch;
use super::json::{JsonMode, Stats};
use super::{envelope, key};
use crate::change::event::Event;
use crate::change::position::Seq;
use crate::config::KeyFormat;
use bson::oid::ObjectId;
use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};

const ID: &str = "65bc9fb6c485f419a7a877fe";

fn oid() -> ObjectId {
    ObjectId::parse_str(ID).unwrap()
}

/// An event as the server sends it, with `more` after the fields that all have.
fn event(operation: &str, more: Document) -> RawDocumentBuf {
    let mut event = doc! {
        "_id": {"_data": "8265BC9FB6"},
        "operationType": operation,
        "clusterTime": Timestamp { time: 1_704_110_400, increment: 3 },
        "wallTime": bson::DateTime::from_millis(1_704_110_400_000),
        "ns": {"db": "dashboard", "coll": "users"},
    };
    event.extend(more);
    RawDocumentBuf::try_from(&event).unwrap()
}

fn envelope_in(mode: JsonMode, raw: &RawDocumentBuf) -> String {
    let mut out = Vec::new();
    let event = Event::parse(raw.as_bytes()).unwrap();
    assert_eq!(
        envelope::write(&mut out, mode, &event),
        Ok(Stats::default())
    );
    serde_json::from_slice::<serde::de::IgnoredAny>(&out).unwrap();
    String::from_utf8(out).unwrap()
}

fn envelope_of(raw: &RawDocumentBuf) -> String {
    envelope_in(JsonMode::Simple, raw)
}

#[test]
fn an_update_has_all_parts_of_its_description_in_order() {
    let raw = event(
        "update",
        doc! {
            "updateDescription": {"truncatedArrays": [{"field": "tags", "newSize": 2}], "updatedFields": {"a.b": 1}},
            "documentKey": {"_id": oid()},
            "fullDocument": {"_id": oid(), "a": {"b": 1}},
        },
    );
    assert_eq!(
        envelope_of(&raw),
        r#"{"operationType":"update","database":"dashboard","collection":"users","documentKey":{"_id":"65bc9fb6c485f419a7a877fe"},"timestamp":"2024-01-01T12:00:00.000Z","fullDocument":{"_id":"65bc9fb6c485f419a7a877fe","a":{"b":1}},"updateDescription":{"updatedFields":{"a.b":1},"removedFields":[],"truncatedArrays":[{"field":"tags","newSize":2}]}}"#
    );
}

#[test]
fn an_update_whose_look_up_found_nothing_has_a_null_document() {
    let description = doc! {"updatedFields": {}, "removedFields": ["x"], "disambiguatedPaths": {"a.0": ["a", "0"]}};
    let raw = event(
        "update",
        doc! {"documentKey": {"_id": 1}, "fullDocument": null, "updateDescription": description},
    );
    assert!(envelope_of(&raw).ends_with(
        r#""fullDocument":null,"updateDescription":{"updatedFields":{},"removedFields":["x"],"truncatedArrays":[],"disambiguatedPaths":{"a.0":["a","0"]}}}"#
    ));
}

#[test]
fn an_update_without_look_up_has_no_document_at_all() {
    let raw = event(
        "update",
        doc! {"documentKey": {"_id": 1}, "updateDescription": {"updatedFields": {"a": 1}, "removedFields": []}},
    );
    assert!(!envelope_of(&raw).contains("fullDocument"));
}

#[test]
fn an_update_whose_description_was_projected_away_claims_none() {
    let raw = event("update", doc! {"documentKey": {"_id": 1}});
    assert!(!envelope_of(&raw).contains("updateDescription"));
}

#[test]
fn insert_and_replace_carry_the_document_and_no_description() {
    for operation in ["insert", "replace"] {
        let raw = event(
            operation,
            doc! {"fullDocument": {"_id": 7, "x": true}, "documentKey": {"_id": 7}},
        );
        assert_eq!(
            envelope_of(&raw),
            format!(
                r#"{{"operationType":"{operation}","database":"dashboard","collection":"users","documentKey":{{"_id":7}},"timestamp":"2024-01-01T12:00:00.000Z","fullDocument":{{"_id":7,"x":true}}}}"#
            )
        );
    }
}

#[test]
fn a_delete_carries_its_key_whole_and_the_document_before_it_where_there_is_one() {
    let raw = event(
        "delete",
        doc! {"documentKey": {"region": "eu", "_id": 7}, "fullDocumentBeforeChange": {"_id": 7}},
    );
    assert_eq!(
        envelope_of(&raw),
        r#"{"operationType":"delete","database":"dashboard","collection":"users","documentKey":{"region":"eu","_id":7},"timestamp":"2024-01-01T12:00:00.000Z","fullDocumentBeforeChange":{"_id":7}}"#
    );
    let bare = event("delete", doc! {"documentKey": {"_id": 7}});
    assert!(!envelope_of(&bare).contains("fullDocument"));
}

#[test]
fn the_mode_reaches_every_part_of_the_envelope() {
    let raw = event(
        "update",
        doc! {
            "documentKey": {"_id": 1}, "fullDocument": {"n": 2}, "fullDocumentBeforeChange": {"n": 3},
            "updateDescription": {"updatedFields": {"n": 4}, "truncatedArrays": [{"field": "a", "newSize": 5}]},
        },
    );
    let canonical = envelope_in(JsonMode::Canonical, &raw);
    for n in 1..=5 {
        assert!(
            canonical.contains(&format!(r#"{{"$numberInt":"{n}"}}"#)),
            "{canonical}"
        );
    }
    // The timestamp is the envelope's own and the same in every mode.
    assert!(canonical.contains(r#""timestamp":"2024-01-01T12:00:00.000Z""#));
}

#[test]
fn without_wall_time_the_cluster_time_is_the_timestamp() {
    let raw = RawDocumentBuf::try_from(&doc! {
        "_id": {"_data": "82"}, "operationType": "insert", "ns": {"db": "d", "coll": "c"},
        "clusterTime": Timestamp { time: 1, increment: 9 }, "documentKey": {"_id": 1}, "fullDocument": {},
    })
    .unwrap();
    assert!(envelope_of(&raw).contains(r#""timestamp":"1970-01-01T00:00:01.000Z""#));
}

#[test]
fn events_about_collections_and_databases_have_the_same_shape_without_a_document() {
    assert_eq!(
        envelope_of(&event("drop", doc! {})),
        r#"{"operationType":"drop","database":"dashboard","collection":"users","timestamp":"2024-01-01T12:00:00.000Z"}"#
    );
    assert_eq!(
        envelope_of(&event(
            "rename",
            doc! {"to": {"db": "dashboard", "coll": "us\"ers"}}
        )),
        r#"{"operationType":"rename","database":"dashboard","collection":"users","timestamp":"2024-01-01T12:00:00.000Z","to":{"database":"dashboard","collection":"us\"ers"}}"#
    );
    assert_eq!(
        envelope_of(&event("dropDatabase", doc! {"ns": {"db": "dashboard"}})),
        r#"{"operationType":"dropDatabase","database":"dashboard","timestamp":"2024-01-01T12:00:00.000Z"}"#
    );
    assert_eq!(
        envelope_of(&event(
            "createIndexes",
            doc! {"operationDescription": {"indexes": [{"v": 2, "name": "a_1"}]}}
        )),
        r#"{"operationType":"createIndexes","database":"dashboard","collection":"users","timestamp":"2024-01-01T12:00:00.000Z","operationDescription":{"indexes":[{"v":2,"name":"a_1"}]}}"#
    );
}

#[test]
fn a_broken_event_leaves_the_buffer_as_it_was() {
    // An update description that is not a list of elements.
    let raw = event("update", doc! {"documentKey": {"_id": 1}});
    let mut event = Event::parse(raw.as_bytes()).unwrap();
    event.update_description = Some(&[9, 0, 0, 0, 0x10, b'a', 0, 1, 0]);
    let mut out = b"before".to_vec();
    assert!(envelope::write(&mut out, JsonMode::Simple, &event).is_err());
    assert_eq!(out, b"before");

    let id = crate::change::raw::Element {
        kind: bson::spec::ElementType::Int32,
        name: b"_id",
        value: &[1],
    };
    assert!(key::write(&mut out, "d", "c", Some(id)).is_err());
    assert_eq!(out, b"before");
}

fn key_of(database: &str, collection: &str, id: impl Into<Bson>) -> String {
    let raw = RawDocumentBuf::try_from(&doc! {"_id": id.into()}).unwrap();
    let id = crate::change::raw::find(raw.as_bytes(), "_id").unwrap();
    let mut out = Vec::new();
    key::write(&mut out, database, collection, id).unwrap();
    serde_json::from_slice::<serde::de::IgnoredAny>(&out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn ids_of_different_types_have_different_keys() {
    assert_eq!(
        key_of("d", "c", oid()),
        r#"{"database":"d","collection":"c","_id":{"$oid":"65bc9fb6c485f419a7a877fe"}}"#
    );
    assert_eq!(
        key_of("d", "c", ID),
        r#"{"database":"d","collection":"c","_id":"65bc9fb6c485f419a7a877fe"}"#
    );
    assert_eq!(
        key_of("d", "c", doc! {"a": 1, "b": [1.0, Bson::Null]}),
        r#"{"database":"d","collection":"c","_id":{"a":1,"b":[1.0,null]}}"#
    );
    assert_eq!(
        key_of("d", "c", i64::MAX),
        r#"{"database":"d","collection":"c","_id":{"$numberLong":"9223372036854775807"}}"#
    );
}

#[test]
fn names_in_the_key_are_escaped() {
    assert_eq!(
        key_of("d\"\u{1}", "ünï\\.$c", 1),
        r#"{"database":"d\"\u0001","collection":"ünï\\.$c","_id":1}"#
    );
}

#[test]
fn the_key_of_an_event_about_a_collection_or_database_has_no_id() {
    let mut out = Vec::new();
    key::write(&mut out, "d", "c", None).unwrap();
    key::write(&mut out, "d", "", None).unwrap();
    assert_eq!(out, br#"{"database":"d","collection":"c"}{"database":"d"}"#);
}

#[test]
fn headers_tell_identity_number_operation_namespace_time_and_stream() {
    let raw = event(
        "insert",
        doc! {"documentKey": {"_id": 1}, "fullDocument": {}},
    );
    let event = Event::parse(raw.as_bytes()).unwrap();
    let mut scratch = Scratch::default();
    let first = scratch.headers(&event, Seq(42), "watcher:dashboard");
    let expected: [(&str, &[u8]); 6] = [
        ("tw-id", b"8265BC9FB6"),
        ("tw-seq", b"42"),
        ("tw-op", b"insert"),
        ("tw-ns", b"dashboard.users"),
        ("tw-ts", b"1704110400000"),
        ("tw-stream", b"watcher:dashboard"),
    ];
    assert_eq!(first.iter().collect::<Vec<_>>(), expected);

    let tombstone = first.of_tombstone();
    assert_eq!(tombstone.id(), b"8265BC9FB6-t");
    assert_eq!(tombstone.iter().skip(1).collect::<Vec<_>>(), expected[1..]);

    let again: Vec<_> = scratch
        .headers(&event, Seq(43), "watcher:dashboard")
        .iter()
        .map(|(_, value)| value.to_vec())
        .collect();
    assert_eq!(again[0], b"8265BC9FB6");
    assert_eq!(again[1], b"43");
}

#[test]
fn headers_of_an_event_without_collection_or_time_leave_them_out() {
    let raw = RawDocumentBuf::try_from(&doc! {
        "_id": {"_data": "82"}, "operationType": "dropDatabase", "ns": {"db": "d"},
    })
    .unwrap();
    let event = Event::parse(raw.as_bytes()).unwrap();
    let mut scratch = Scratch::default();
    let headers: Vec<_> = scratch.headers(&event, Seq(1), "s").iter().collect();
    assert_eq!(headers[3], ("tw-ns", &b"d"[..]));
    assert!(headers.iter().all(|(name, _)| *name != "tw-ts"));
}

#[test]
fn a_key_is_what_is_wanted_of_it_and_events_without_a_document_keep_the_default_one() {
    let id = bson::oid::ObjectId::parse_str("65bc9fb6c485f419a7a877fe").unwrap();
    let nested = doc! {"b": 1, "a": "x"};
    for (id, as_id, as_text) in [
        (
            Bson::from(id),
            r#"{"$oid":"65bc9fb6c485f419a7a877fe"}"#,
            "65bc9fb6c485f419a7a877fe",
        ),
        (Bson::from(7), "7", "7"),
        (Bson::from(7_i64), "7", "7"),
        (Bson::from("say \"a\""), r#""say \"a\"""#, "say \"a\""),
        (Bson::from(""), r#""""#, ""),
        (nested.into(), r#"{"b":1,"a":"x"}"#, r#"{"b":1,"a":"x"}"#),
    ] {
        let raw = event("delete", doc! {"documentKey": {"_id": id}});
        let event = Event::parse(raw.as_bytes()).unwrap();
        let key = |format| {
            let mut key = b"{}".to_vec();
            key::rewrite(&mut key, format, &event).unwrap();
            String::from_utf8(key).unwrap()
        };
        assert_eq!(key(KeyFormat::Id), as_id);
        assert_eq!(key(KeyFormat::IdString), as_text);
        assert_eq!(key(KeyFormat::None), "{}", "it decides on the partition");
    }
    let raw = event("drop", doc! {});
    let event = Event::parse(raw.as_bytes()).unwrap();
    let mut key = b"{}".to_vec();
    key::rewrite(&mut key, KeyFormat::IdString, &event).unwrap();
    assert_eq!(key, b"{}");
}
