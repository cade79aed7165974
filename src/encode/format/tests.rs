//! Records of the formats that no other program can be asked about, and what the others do at their edges.

use super::Format;
use crate::change::event::Event;
use crate::change::position::Seq;
use crate::change::transactions::{InSpan, Place, TransactionId};
use crate::config::{self, JsonMode, RecordTimestamp};
use crate::encode::envelope::Shape;
use crate::encode::format::{CloudEvents, Debezium, Document, MongoKafka};
use crate::encode::record::Encoder;
use bson::{RawDocumentBuf, Timestamp, doc};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn event(operation: &str, more: bson::Document) -> RawDocumentBuf {
    let mut event = doc! {
        "_id": {"_data": "8265BC9FB6"},
        "operationType": operation,
        "clusterTime": Timestamp { time: 1_704_110_400, increment: 3 },
        "wallTime": bson::DateTime::from_millis(1_704_110_400_000),
        "ns": {"db": "shop", "coll": "orders"},
    };
    if operation != "drop" {
        event.insert("documentKey", doc! {"_id": 7});
    }
    event.extend(more);
    RawDocumentBuf::try_from(&event).unwrap()
}

type Texts = (String, Option<String>, Vec<(String, String)>);

/// Key, value and headers; none where there is no record.
fn record(format: Format, raw: &RawDocumentBuf) -> Option<Texts> {
    let mut encoder = Encoder::new(format, RecordTimestamp::Change);
    let event = Event::parse(raw.as_bytes()).unwrap();
    let encoded = encoder.encode(&event, Seq(42)).unwrap();
    if !encoded.is_record() {
        return None;
    }
    let headers = encoded.headers();
    let record = encoded.record(c"t", &headers);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = record.headers.iter();
    Some((
        text(record.key),
        record.value.map(text),
        headers
            .map(|(name, value)| ((*name).to_owned(), text(value)))
            .collect(),
    ))
}

fn cloud_events(is_binary: bool) -> Format {
    let settings = config::CloudEvents {
        is_binary,
        traceparent: vec!["meta".into(), "trace".into()],
    };
    let format = CloudEvents::new(
        "watcher:two words",
        JsonMode::Simple,
        Shape::default(),
        settings,
    );
    Format::CloudEvents(Box::new(format))
}

fn document() -> Format {
    Format::Document(Document::new("s", JsonMode::Simple))
}

fn only_documents(tombstones: bool) -> Format {
    Format::MongoKafka(MongoKafka::new(&config::MongoKafka {
        json: config::MongoKafkaJson::Default,
        full_document_only: true,
        tombstones,
        key: config::Output::TEXT,
        value: config::Output::TEXT,
    }))
}

const DATA: &str = r#"{"operationType":"insert","database":"shop","collection":"orders","documentKey":{"_id":7},"timestamp":"2024-01-01T12:00:00.000Z","fullDocument":{"_id":7,"meta":{"trace":"TRACE"}}}"#;

#[test]
fn a_structured_cloud_event_holds_attributes_and_data() {
    let raw = event(
        "insert",
        doc! {"fullDocument": {"_id": 7, "meta": {"trace": TRACE}}},
    );
    let (key, value, headers) = record(cloud_events(false), &raw).unwrap();
    assert_eq!(key, r#"{"database":"shop","collection":"orders","_id":7}"#);
    let wanted = r#"{"specversion":"1.0","source":"/tailwater/watcher:two%20words","id":"8265BC9FB6","type":"tailwater.mongodb.insert","subject":"shop.orders","time":"2024-01-01T12:00:00.000Z","sequence":"00000000000000000042","traceparent":"TRACE","datacontenttype":"application/json","data":DATA}"#;
    let wanted = wanted.replace("DATA", DATA).replace("TRACE", TRACE);
    assert_eq!(value.unwrap(), wanted);
    let kind = "application/cloudevents+json; charset=UTF-8";
    assert_eq!(headers, [("content-type".to_owned(), kind.to_owned())]);
}

#[test]
fn a_binary_cloud_event_has_its_attributes_as_headers() {
    let raw = event(
        "insert",
        doc! {"fullDocument": {"_id": 7, "meta": {"trace": TRACE}}},
    );
    let (_, value, headers) = record(cloud_events(true), &raw).unwrap();
    assert_eq!(value.unwrap(), DATA.replace("TRACE", TRACE));
    let wanted = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_source", "/tailwater/watcher:two%20words"),
        ("ce_id", "8265BC9FB6"),
        ("ce_type", "tailwater.mongodb.insert"),
        ("ce_subject", "shop.orders"),
        ("ce_time", "2024-01-01T12:00:00.000Z"),
        ("ce_sequence", "00000000000000000042"),
        ("ce_traceparent", TRACE),
    ];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers, wanted);
}

#[test]
fn tombstones_of_cloud_events_have_an_id_of_their_own() {
    let raw = event("delete", doc! {});
    let event = Event::parse(raw.as_bytes()).unwrap();
    for (is_binary, wanted) in [(true, Some("8265BC9FB6-t")), (false, None)] {
        let mut encoder = Encoder::new(cloud_events(is_binary), RecordTimestamp::Change);
        let encoded = encoder.encode(&event, Seq(1)).unwrap();
        let headers = encoded.tombstone_headers();
        let id = headers.as_slice().iter().find(|(name, _)| *name == "ce_id");
        assert_eq!(id.map(|(_, id)| *id), wanted.map(str::as_bytes));
    }
}

#[test]
fn what_is_no_trace_context_is_not_passed_on() {
    for wrong in [
        "",
        "trace",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
    ] {
        let raw = event(
            "insert",
            doc! {"fullDocument": {"_id": 7, "meta": {"trace": wrong}}},
        );
        let (_, _, headers) = record(cloud_events(true), &raw).unwrap();
        assert!(
            headers.iter().all(|(name, _)| name != "ce_traceparent"),
            "{wrong}"
        );
    }
}

#[test]
fn a_document_is_its_value_and_a_delete_has_none() {
    let raw = event("update", doc! {"fullDocument": {"_id": 7, "n": 1_i64}});
    let (key, value, headers) = record(document(), &raw).unwrap();
    assert_eq!(key, r#"{"database":"shop","collection":"orders","_id":7}"#);
    assert_eq!(value.as_deref(), Some(r#"{"_id":7,"n":1}"#));
    let operation = ("tw-op".to_owned(), "update".to_owned());
    assert!(headers.contains(&operation), "{headers:?}");
    let (deleted, value, _) = record(document(), &event("delete", doc! {})).unwrap();
    assert_eq!((deleted, value), (key, None));
    // It was looked up, and is gone.
    let gone = event("update", doc! {"fullDocument": bson::Bson::Null});
    assert_eq!(record(document(), &gone), None);
}

#[test]
fn documents_alone_as_the_connector_has_them() {
    let raw = event("insert", doc! {"fullDocument": {"_id": 7}});
    let whole = |format| record(format, &raw).unwrap();
    let (key, value, headers) = whole(only_documents(true));
    assert_eq!(
        (key.as_str(), value.as_deref()),
        (r#"{"_id": 7}"#, Some(r#"{"_id": 7}"#))
    );
    assert!(headers.is_empty());
    let gone = event("update", doc! {"fullDocument": bson::Bson::Null});
    for tombstones in [true, false] {
        assert_eq!(record(only_documents(tombstones), &gone), None);
        let deleted = record(only_documents(tombstones), &event("delete", doc! {}));
        assert_eq!(deleted.map(|it| it.1), tombstones.then_some(None));
    }
    // Events of collections have no document either.
    let (key, value, _) = record(only_documents(true), &event("drop", doc! {})).unwrap();
    assert_eq!(key, r#"{"_id": {"_data": "8265BC9FB6"}}"#);
    assert_eq!(value, None);
}

#[test]
fn rows_are_those_of_the_connectors_snapshots() {
    let raw = event("read", doc! {"fullDocument": {"_id": 7, "n": "x"}});
    let mongo = Format::MongoKafka(MongoKafka::new(&config::MongoKafka {
        json: config::MongoKafkaJson::Default,
        full_document_only: false,
        tombstones: false,
        key: config::Output::TEXT,
        value: config::Output::TEXT,
    }));
    let (_, value, _) = record(mongo, &raw).unwrap();
    assert_eq!(
        value.unwrap(),
        r#"{"_id": {"_id": 7, "copyingData": true}, "operationType": "insert", "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"_id": 7}, "fullDocument": {"_id": 7, "n": "x"}}"#
    );
    let debezium = Debezium::new(config::Debezium {
        name: "shop".into(),
        schemas: false,
    });
    let (key, value, _) = record(Format::Debezium(Box::new(debezium)), &raw).unwrap();
    assert_eq!(key, r#"{"id":"7"}"#);
    let value = value.unwrap();
    let source = r#""ts_ms":1704110400000,"snapshot":"incremental","db":"shop","sequence":null,"ts_us":1704110400000000,"ts_ns":1704110400000000000,"collection":"orders","ord":-1,"lsid":null,"txnNumber":null,"#;
    assert!(value.contains(source), "{value}");
    assert!(value.contains(r#","op":"r","#), "{value}");
}

/// A place in a transaction, said before an event and taken back before the next.
#[test]
fn a_place_in_a_transaction_is_said_once_and_by_each_format_in_its_way() {
    let lsid = doc! {"id": "s"}.to_vec().unwrap();
    let place = Place {
        id: TransactionId {
            lsid: &lsid,
            number: 3,
        },
        order: 2,
        in_span: Some(InSpan {
            total: 12,
            of_collection: 1,
        }),
    };
    let own = r#","transaction":{"lsid":{"id":"s"},"txnNumber":3,"order":2}}"#;
    let of_debezium =
        r#","transaction":{"id":"{\"id\": \"s\"}:3","total_order":12,"data_collection_order":1}}"#;
    let debezium = config::Debezium {
        name: "shop".into(),
        schemas: false,
    };
    let raw = event("insert", doc! {"fullDocument": {"_id": 7}});
    let event = Event::parse(raw.as_bytes()).unwrap();
    for (format, in_value) in [
        (Format::tailwater("s", JsonMode::Simple), Some(own)),
        (cloud_events(true), Some(own)),
        (cloud_events(false), Some(&*format!("{own}}}"))),
        (
            Format::Debezium(Box::new(Debezium::new(debezium))),
            Some(of_debezium),
        ),
        (Format::Document(Document::new("s", JsonMode::Simple)), None),
    ] {
        let mut encoder = Encoder::new(format, RecordTimestamp::Change);
        for said in [None, Some(&place), None] {
            encoder.place(said).unwrap();
            let encoded = encoder.encode(&event, Seq(1)).unwrap();
            let headers = encoded.headers();
            let record = encoded.record(c"t", &headers);
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            let more = record.more_headers.iter();
            let more: Vec<_> = more.map(|(name, it)| format!("{name}={it}")).collect();
            let is_said = said.is_some();
            match in_value {
                Some(end) => {
                    assert_eq!(value.ends_with(end), is_said, "{value}");
                    assert!(more.is_empty());
                }
                None if is_said => assert_eq!(
                    more,
                    [
                        r#"tw-txn-lsid={"id":"s"}"#,
                        "tw-txn-number=3",
                        "tw-txn-order=2"
                    ]
                ),
                None => assert!(more.is_empty()),
            }
        }
    }
}
