use super::*;
use crate::change::transactions::{InSpan, Span, TransactionId};
use crate::encode::format::debezium::{Debezium, schema};
use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum};
use bson::{Bson, RawDocumentBuf, Timestamp, doc};
use serde_json::{Map, json};

type Json = serde_json::Value;

fn raw(operation: &str, more: bson::Document) -> RawDocumentBuf {
    let mut event = doc! {
        "_id": {"_data": "8265BC9FB6"},
        "operationType": operation,
        "clusterTime": Timestamp { time: 1_704_110_400, increment: 3 },
        "wallTime": bson::DateTime::from_millis(1_704_110_400_000),
        "ns": {"db": "shop-1", "coll": "or.ders"},
        "documentKey": {"_id": {"a": 7, "b": "ünd \"so\""}},
    };
    event.extend(more);
    RawDocumentBuf::try_from(&event).unwrap()
}

fn events() -> Vec<RawDocumentBuf> {
    let document =
        doc! {"_id": 7, "at": bson::DateTime::from_millis(-1), "n": i64::MIN, "x": f64::NAN};
    let description = doc! {
        "updatedFields": {"a.b": [1, "2"]}, "removedFields": ["c", "d.e"],
        "truncatedArrays": [{"field": "list", "newSize": 2}, {"field": "f", "newSize": 0}],
    };
    let empty = doc! {"updatedFields": {}, "removedFields": [], "truncatedArrays": []};
    vec![
        raw("insert", doc! {"fullDocument": &document}),
        raw(
            "insert",
            doc! {"fullDocument": &document, "txnNumber": 7_i64, "lsid": {"id": 1}},
        ),
        raw(
            "update",
            doc! {"updateDescription": description, "fullDocument": &document,
            "fullDocumentBeforeChange": &document},
        ),
        raw(
            "update",
            doc! {"updateDescription": empty, "fullDocument": Bson::Null},
        ),
        raw("replace", doc! {"fullDocument": &document}),
        raw("delete", doc! {}),
    ]
}

/// The rules by which Connect's converters make Avro of a schema that stands beside a value.
fn converted(of: &Json, namespace: &str) -> Json {
    let mut converted = match of["type"].as_str().unwrap() {
        "struct" => {
            let name = of["name"].as_str().unwrap();
            let (space, name) = name.rsplit_once('.').unwrap();
            let fields = of["fields"].as_array().unwrap().iter().map(|field| {
                let mut written = Map::new();
                written.insert("name".into(), field["field"].clone());
                let of = converted(field, space);
                let is_optional = field["optional"] == true;
                let default = field.get("default");
                let of = match (is_optional, default) {
                    (false, _) => of,
                    (true, None) => json!(["null", of]),
                    (true, Some(_)) => json!([of, "null"]),
                };
                written.insert("type".into(), of);
                if is_optional || default.is_some() {
                    written.insert("default".into(), default.cloned().unwrap_or(Json::Null));
                }
                Json::Object(written)
            });
            let fields: Vec<_> = fields.collect();
            match space == namespace {
                true => json!({"type": "record", "name": name, "fields": fields}),
                false => {
                    json!({"type": "record", "name": name, "namespace": space, "fields": fields})
                }
            }
        }
        "array" => {
            let items = converted(&of["items"], namespace);
            let items = match of["items"]["optional"] == true {
                true => json!(["null", items]),
                false => items,
            };
            json!({"type": "array", "items": items})
        }
        "int32" => json!({"type": "int"}),
        "int64" => json!({"type": "long"}),
        "string" => json!({"type": "string"}),
        other => panic!("{other}"),
    };
    for (name, property) in [
        ("version", "connect.version"),
        ("parameters", "connect.parameters"),
        ("default", "connect.default"),
        ("name", "connect.name"),
    ] {
        if let Some(value) = of.get(name) {
            converted[property] = value.clone();
        }
    }
    match converted.as_object().unwrap().len() {
        // A type without properties is written as its name.
        1 => converted["type"].clone(),
        _ => converted,
    }
}

#[test]
fn the_schemas_are_those_of_json_by_the_rules_of_connects_converters() {
    let raw = raw("delete", doc! {});
    let event = Event::parse(raw.as_bytes()).unwrap();
    let ours = avro_schema::of("inven-tory", &event);
    // As `schema.name.adjustment.mode=avro` has it.
    let subject = schema::Subject {
        name: "inven_tory",
        database: "shop_1",
        collection: "or.ders",
    };
    let (mut key, mut value) = (Vec::new(), Vec::new());
    schema::open_key(&mut key, subject);
    schema::open_value(&mut value, subject);
    for (text, ours) in [key, value].into_iter().zip(ours) {
        let text = String::from_utf8(text).unwrap() + "null}";
        let beside: Json = serde_json::from_str(&text).unwrap();
        let wanted = converted(&beside["schema"], "");
        assert_eq!(
            serde_json::from_str::<Json>(&ours.schema).unwrap(),
            wanted,
            "{}",
            ours.name
        );
        assert_eq!(ours.name, beside["schema"]["name"]);
        Schema::parse_str(&ours.schema).unwrap();
    }
}

#[test]
fn names_are_adjusted_as_debezium_adjusts_them() {
    for (stream, database, wanted) in [
        ("shop", "db", "shop.db.c.Key"),
        ("9-shop", "d b", "_9_shop.d_b.c.Key"),
        ("-x", "0", "_x.0.c.Key"),
        ("ü", "\u{1f600}", "_.__.c.Key"),
    ] {
        let event = doc! {"_id": {"_data": "8265"}, "operationType": "delete",
        "ns": {"db": database, "coll": "c"}, "documentKey": {"_id": 1}};
        let event = RawDocumentBuf::try_from(&event).unwrap();
        let event = Event::parse(event.as_bytes()).unwrap();
        assert_eq!(avro_schema::of(stream, &event)[0].name, wanted);
    }
}

fn plain(value: Value) -> Json {
    match value {
        Value::Union(_, of) => plain(*of),
        Value::Record(fields) => {
            let fields = fields.into_iter().map(|(name, of)| (name, plain(of)));
            Json::Object(fields.collect())
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other.try_into().unwrap(),
    }
}

fn read(schema: &str, mut bytes: &[u8]) -> Json {
    let schema = Schema::parse_str(schema).unwrap();
    let value = from_avro_datum(&schema, &mut bytes, None).unwrap();
    assert_eq!(bytes, [0; 0], "all of it is read");
    plain(value)
}

#[test]
fn a_record_says_in_avro_what_it_says_in_json() {
    for raw in events() {
        let event = Event::parse(raw.as_bytes()).unwrap();
        let settings = config::Debezium {
            name: "inventory".into(),
            schemas: false,
        };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut of_json = Debezium::new(settings);
        let place = TransactionId::of(&event).map(|id| Place {
            id,
            order: 5,
            in_span: Some(InSpan {
                total: 300,
                of_collection: 2,
            }),
        });
        of_json.place(place.as_ref()).unwrap();
        of_json.write(&event, &mut key, &mut value).unwrap();
        let wanted = [key, value].map(|text| serde_json::from_slice::<Json>(&text).unwrap());

        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut text = Vec::new();
        let block = block(place.as_ref()).unwrap();
        let stats = write(&mut text, "inventory", &block, &event, &mut key, &mut value).unwrap();
        assert_eq!(stats.replaced, 0);
        let [of_key, of_value] = avro_schema::of("inventory", &event);
        let mut ours = [read(&of_key.schema, &key), read(&of_value.schema, &value)];
        assert!(ours[1]["ts_ms"].as_i64() >= wanted[1]["ts_ms"].as_i64());
        ours[1]["ts_ms"] = wanted[1]["ts_ms"].clone();
        assert_eq!(ours, wanted);
        assert_eq!(ours[1]["transaction"].is_null(), place.is_none());
    }
}

#[test]
fn a_record_of_transactions_says_in_avro_what_it_says_in_json() {
    let span = Span {
        lsid: doc! {"id": "ü\""}.to_vec().unwrap(),
        number: 9,
        total: 3,
        collections: vec![("shop.users".into(), 1), ("shop.orders".into(), 2)],
    };
    for is_end in [false, true] {
        let bound = Bound {
            span: &span,
            is_end,
            millis: 1_704_110_400_000,
        };
        let settings = config::Debezium {
            name: "inventory".into(),
            schemas: true,
        };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let of_json = Debezium::new(settings);
        of_json.write_bound(&bound, &mut key, &mut value).unwrap();
        let beside = [key, value].map(|text| serde_json::from_slice::<Json>(&text).unwrap());

        let (mut key, mut value) = (Vec::new(), Vec::new());
        write_bound(&bound, &mut key, &mut value).unwrap();
        let named = avro_schema::of_bounds("inventory", &avro_schema::BOUND);
        for ((beside, named), bytes) in beside.iter().zip(&named).zip([key, value]) {
            let ours: Json = serde_json::from_str(&named.schema).unwrap();
            assert_eq!(ours, converted(&beside["schema"], ""));
            assert_eq!(named.name, beside["schema"]["name"]);
            assert_eq!(read(&named.schema, &bytes), beside["payload"]);
        }
        let collections = &beside[1]["payload"]["data_collections"];
        assert_eq!(collections.as_array().map(Vec::len), is_end.then_some(2));
    }
}
