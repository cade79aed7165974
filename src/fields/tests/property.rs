//! Nothing that is hidden is anywhere in what leaves the process, and everything else is: in each format, for each kind
//! of event, whatever the documents look like.

use super::{fields, raw, spec};
use crate::change::event::{Event, Operation};
use crate::change::position::Seq;
use crate::change::raw::Element;
use crate::encode::record::Encoder;
use bson::spec::ElementType;
use bson::{Bson, Document, doc};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Few, so that rules and documents meet; some are indexes, or paths, where they stand.
const NAMES: [&str; 9] = ["a", "b", "c", "d", "0", "17", "a.b", "b.0.c", ""];

/// A document without its values.
#[derive(Debug, Clone)]
enum Shape {
    Text,
    Number,
    Document(Vec<(usize, Shape)>),
    Array(Vec<Shape>),
}

fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![3 => Just(Shape::Text), 1 => Just(Shape::Number)];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let named = (0..NAMES.len(), inner.clone());
        prop_oneof![
            prop::collection::vec(named, 0..5).prop_map(Shape::Document),
            prop::collection::vec(inner, 0..4).prop_map(Shape::Array),
        ]
    })
}

fn documents() -> impl Strategy<Value = Vec<(usize, Shape)>> {
    prop::collection::vec((0..NAMES.len(), shapes()), 1..6)
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4);
    let path = path.prop_map(|names| names.join("."));
    prop::collection::vec(path, 0..3)
}

/// Gives each leaf a value that occurs once, and knows by which names it is reached.
#[derive(Default)]
struct Growing {
    leaves: Vec<(Vec<String>, String)>,
    /// Paths of updates, and what lies there.
    places: Vec<(Vec<Bson>, Bson)>,
}

impl Growing {
    fn document(&mut self, shape: &[(usize, Shape)], at: &[Bson]) -> Document {
        let mut document = Document::new();
        for (name, shape) in shape {
            let name = NAMES[*name];
            if document.contains_key(name) {
                continue;
            }
            let value = self.value(shape, &[at, &[Bson::from(name)]].concat());
            document.insert(name, value);
        }
        document
    }

    fn value(&mut self, shape: &Shape, at: &[Bson]) -> Bson {
        let value = match shape {
            Shape::Text | Shape::Number => {
                // So that no time of a record has these digits by chance.
                let number = 7_318_402_659_001_i64 + i64::try_from(self.leaves.len()).unwrap();
                self.leaves.push((names(at), number.to_string()));
                match shape {
                    Shape::Text => Bson::from(format!("text {number} of it")),
                    _ => Bson::Int64(number),
                }
            }
            Shape::Document(shape) => self.document(shape, at).into(),
            Shape::Array(shapes) => {
                let elements = shapes.iter().enumerate().map(|(index, shape)| {
                    let index = Bson::Int32(i32::try_from(index).unwrap());
                    self.value(shape, &[at, &[index]].concat())
                });
                Bson::Array(elements.collect())
            }
        };
        self.places.push((at.to_vec(), value.clone()));
        value
    }
}

/// What a path is to a rule: the names, with those taken apart that hold dots, and without indexes.
fn names(at: &[Bson]) -> Vec<String> {
    let names = at.iter().filter_map(Bson::as_str);
    let names = names.flat_map(|name| name.split('.'));
    let is_index = |name: &str| !name.is_empty() && name.bytes().all(|it| it.is_ascii_digit());
    names
        .filter(|name| !is_index(name))
        .map(str::to_owned)
        .collect()
}

fn path(at: &[Bson]) -> String {
    let parts = at.iter().map(|part| match part {
        Bson::String(name) => name.clone(),
        other => other.as_i32().unwrap().to_string(),
    });
    parts.collect::<Vec<_>>().join(".")
}

fn begins(names: &[String], path: &str) -> bool {
    let path: Vec<_> = path.split('.').collect();
    names.len() >= path.len() && names.iter().zip(&path).all(|(name, part)| name == part)
}

/// What a value may show up as: as it is, or encoded.
fn holds(bytes: &[u8], value: &str) -> bool {
    memchr::memmem::find(bytes, value.as_bytes()).is_some()
}

const FORMATS: [&[(&str, &str)]; 9] = [
    &[("FORMAT", "tailwater")],
    &[("FORMAT", "tailwater"), ("JSON_MODE", "canonical")],
    &[("FORMAT", "debezium"), ("KAFKA_TOPIC_PREFIX", "shop")],
    &[("FORMAT", "mongo-kafka")],
    &[("FORMAT", "mongo-kafka"), ("MONGO_KAFKA_JSON", "extended")],
    &[
        ("FORMAT", "mongo-kafka"),
        ("MONGO_KAFKA_FULL_DOCUMENT_ONLY", "true"),
    ],
    &[("FORMAT", "document")],
    &[("FORMAT", "cloudevents"), ("TRACEPARENT_FIELD", "a.b")],
    &[("FORMAT", "cloudevents"), ("CLOUDEVENTS_MODE", "binary")],
];

/// Events of each kind about a document, and whether the whole of it is in them.
fn events(document: &Document, growing: &Growing, chosen: &BTreeSet<usize>) -> Vec<Document> {
    let event = |operation: &str, more: Document| {
        let mut event = doc! {
            "_id": {"_data": "8265BC9FB6"}, "operationType": operation,
            "ns": {"db": "shop", "coll": "users"}, "documentKey": {"_id": 1},
        };
        event.extend(more);
        event
    };
    let (mut updated, mut disambiguated) = (Document::new(), Document::new());
    let (mut removed, mut truncated) = (Vec::new(), Vec::new());
    for (index, (at, value)) in growing.places.iter().enumerate() {
        let path = path(at);
        match index % 4 {
            _ if !chosen.contains(&index) => {}
            0 => removed.push(path),
            1 => truncated.push(doc! {"field": path, "newSize": 1}),
            _ => {
                disambiguated.insert(path.clone(), at.clone());
                updated.insert(path, value.clone());
            }
        }
    }
    let description = doc! {
        "updatedFields": updated, "removedFields": removed, "truncatedArrays": truncated,
        "disambiguatedPaths": disambiguated,
    };
    let whole = doc! {"fullDocument": document.clone()};
    let before = doc! {"fullDocumentBeforeChange": document.clone()};
    vec![
        event("insert", whole.clone()),
        event(
            "replace",
            [whole.clone(), before.clone()]
                .into_iter()
                .flatten()
                .collect(),
        ),
        event("delete", before.clone()),
        event(
            "update",
            doc! {"fullDocument": document.clone(), "updateDescription": description.clone()},
        ),
        event(
            "update",
            doc! {"fullDocument": Bson::Null, "updateDescription": description.clone(), "fullDocumentBeforeChange": document.clone()},
        ),
        event(
            "teleport",
            doc! {"fullDocument": document.clone(), "updateDescription": description, "rest": document.clone()},
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_that_is_hidden_leaves_and_everything_else_does(
        shape in documents(), exclude in paths(), include in paths(), mask in paths(),
        kind in prop::sample::select(vec!["text", "hash", "last4"]),
        chosen in prop::collection::btree_set(0..40_usize, 0..20),
    ) {
        let mut growing = Growing::default();
        let mut document = doc! {"_id": 1};
        document.extend(growing.document(&shape, &[]));
        let is_hidden = |names: &[String]| {
            let is_any = |list: &[String]| list.iter().any(|path| begins(names, path));
            is_any(&exclude) || is_any(&mask) || (!include.is_empty() && !is_any(&include))
        };
        let (hidden, seen): (Vec<_>, Vec<_>) =
            growing.leaves.iter().partition(|(names, _)| is_hidden(names));
        let masks: Vec<_> = mask.iter().map(|path| format!("users:{path}={kind}")).collect();
        let lists = [
            ("FIELDS_EXCLUDE", exclude.join(",")),
            ("FIELDS_INCLUDE", include.iter().map(|path| format!("users:{path}")).collect::<Vec<_>>().join(",")),
            ("FIELDS_MASK", masks.join(",")),
            ("FIELDS_MASK_SALT", "a salt of enough bytes".to_owned()),
        ];
        let of_fields: Vec<_> = lists.iter().map(|(name, list)| (*name, list.as_str())).collect();
        let is_any = !(exclude.is_empty() && include.is_empty() && mask.is_empty());
        prop_assume!(is_any);
        let mut fields = fields(&of_fields);
        let mut all = Vec::new();
        for event in events(&document, &growing, &chosen) {
            let raw = raw(&event);
            let event = Event::parse(raw.as_bytes()).unwrap();
            let mut room = Vec::new();
            fields.apply(&event, &mut room).unwrap();
            // What a dead letter holds.
            for (_, value) in &hidden {
                prop_assert!(!holds(&room, value), "{value} is in the event");
            }
            all.push(room);
        }
        let row = raw(&document);
        let mut room = Vec::new();
        let event = Event {
            raw: row.as_bytes(),
            operation: Operation::Read,
            full_document: Some(Element { kind: ElementType::EmbeddedDocument, name: b"fullDocument", value: row.as_bytes() }),
            ..Event::parse(&all[0]).unwrap()
        };
        let event = fields.apply(&event, &mut room).unwrap();
        let events = all.iter().map(|raw| Event::parse(raw).unwrap());
        let events: Vec<_> = events.chain([event]).collect();
        for format in FORMATS {
            let spec = spec(format);
            let mut encoder = Encoder::of(&spec);
            for event in &events {
                let encoded = encoder.encode(event, Seq(42)).unwrap();
                let headers = encoded.headers();
                let record = encoded.record(c"t", &headers);
                let headers = record.headers.iter().map(|(_, value)| *value);
                let value = record.value.unwrap_or_default();
                for bytes in [record.key, value].into_iter().chain(headers) {
                    for (_, hidden) in &hidden {
                        prop_assert!(!holds(bytes, hidden), "{hidden} is in a record");
                    }
                }
                if ["insert", "read"].contains(&event.operation_name) && encoded.is_record() {
                    for (_, seen) in &seen {
                        prop_assert!(holds(value, seen), "{seen} is not in a record");
                    }
                }
            }
        }
    }
}
