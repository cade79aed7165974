//! Documents and events for tests of each language.

use super::schema::Place;
use bson::{Bson, Document, RawDocumentBuf, doc};
use proptest::prelude::*;

pub fn place() -> Place {
    Place {
        database: "shop".into(),
        collection: "or-ders".into(),
    }
}

pub fn insert(document: &Document) -> RawDocumentBuf {
    let event = doc! {
        "_id": {"_data": "8265"}, "operationType": "insert", "ns": {"db": "shop", "coll": "or-ders"},
        "wallTime": bson::DateTime::from_millis(1_700_000_000_123),
        "documentKey": {"_id": document.get("_id").cloned().unwrap_or(Bson::Int32(1))},
        "fullDocument": document.clone(),
    };
    RawDocumentBuf::try_from(&event).unwrap()
}

pub fn value() -> impl Strategy<Value = Bson> {
    let leaf = prop_oneof![
        3 => any::<i32>().prop_map(Bson::Int32),
        2 => any::<i64>().prop_map(Bson::Int64),
        2 => any::<f64>().prop_map(Bson::Double),
        2 => (-9i32..9).prop_map(|number| Bson::Double(f64::from(number))),
        3 => "\\PC{0,12}".prop_map(Bson::String),
        1 => any::<bool>().prop_map(Bson::Boolean),
        1 => Just(Bson::Null),
        1 => any::<i64>().prop_map(|millis| Bson::DateTime(bson::DateTime::from_millis(millis))),
        1 => any::<[u8; 12]>().prop_map(|id| Bson::ObjectId(bson::oid::ObjectId::from_bytes(id))),
        1 => any::<[u8; 16]>().prop_map(|id| Bson::Binary(bson::Uuid::from_bytes(id).into())),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
            Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes })
        }),
        1 => "[1-9][0-9]{0,5}".prop_map(|digits| Bson::Decimal128(digits.parse().unwrap())),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Bson::Array),
            document_of(inner).prop_map(Bson::Document),
        ]
    })
}

pub fn document_of(value: impl Strategy<Value = Bson>) -> impl Strategy<Value = Document> {
    let name = prop::sample::select(vec![
        "a", "b", "c", "a-b", "a_b", "1", "", "ünd", "Document",
    ]);
    prop::collection::vec((name, value), 0..5).prop_map(|fields| {
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}
