use super::*;
use bson::{RawDocumentBuf, doc};

fn listener() -> Document {
    doc! {
        "_id": 1, "collection": "batches", "jobName": "process", "isActive": true,
        "operationType": ["insert", "update"],
        "filter": {"status": "received", "customer.country": "DE", "size": {"$gt": 5}},
    }
}

/// What an update of this description makes of the listener.
fn updated(description: Document) -> Change {
    let event = doc! {
        "_id": {"_data": "82"}, "operationType": "update", "documentKey": {"_id": 1},
        "updateDescription": description,
    };
    let raw = RawDocumentBuf::try_from(&event).unwrap();
    change(Some(&listener()), &Event::parse(raw.as_bytes()).unwrap())
}

fn with(change: impl FnOnce(&mut Document)) -> Change {
    let mut document = listener();
    change(&mut document);
    Change::Put(document)
}

fn fields(fields: Document) -> Document {
    doc! {"updatedFields": fields, "removedFields": [], "truncatedArrays": []}
}

#[test]
fn an_update_is_applied_from_its_description() {
    assert_eq!(
        updated(fields(doc! {"isActive": false})),
        with(|it| {
            it.insert("isActive", false);
        })
    );
    assert_eq!(
        updated(fields(doc! {"filter.size.$gt": 9, "filter.new.part": 1})),
        with(|it| {
            let filter = it.get_document_mut("filter").unwrap();
            filter.get_document_mut("size").unwrap().insert("$gt", 9);
            filter.insert("new", doc! {"part": 1});
        })
    );
    assert_eq!(
        updated(fields(
            doc! {"operationType.1": "delete", "operationType.3": "drop"}
        )),
        with(|it| {
            let list = it.get_array_mut("operationType").unwrap();
            list[1] = "delete".into();
            list.extend([Bson::Null, "drop".into()]);
        })
    );
    assert_eq!(
        updated(doc! {"removedFields": ["filter.status", "jobName"], "updatedFields": {}}),
        with(|it| {
            it.remove("jobName");
            it.get_document_mut("filter").unwrap().remove("status");
        })
    );
    assert_eq!(
        updated(doc! {"truncatedArrays": [{"field": "operationType", "newSize": 1}]}),
        with(|it| it.get_array_mut("operationType").unwrap().truncate(1))
    );
}

/// A filter's own names hold dots: what is there is taken for what is meant, unless the server says.
#[test]
fn a_name_with_dots_is_found() {
    assert_eq!(
        updated(fields(doc! {"filter.customer.country": "AT"})),
        with(|it| {
            let filter = it.get_document_mut("filter").unwrap();
            filter.insert("customer.country", "AT");
        })
    );
    assert_eq!(
        updated(doc! {"removedFields": ["filter.customer.country"]}),
        with(|it| {
            it.get_document_mut("filter")
                .unwrap()
                .remove("customer.country");
        })
    );
    let told = doc! {
        "updatedFields": {"filter.customer.country": "AT"},
        "disambiguatedPaths": {"filter.customer.country": ["filter", "customer", "country"]},
    };
    assert_eq!(
        updated(told),
        with(|it| {
            let filter = it.get_document_mut("filter").unwrap();
            filter.insert("customer", doc! {"country": "AT"});
        })
    );
}

#[test]
fn what_does_not_count_changes_nothing() {
    for description in [
        fields(doc! {"status.streams.main.matched": 7, "lockInfo": {"instanceId": "a"}}),
        fields(doc! {"metadata.description": "x", "updatedAt": bson::DateTime::now()}),
        fields(doc! {"isActive": true}),
        doc! {"removedFields": ["metadata", "createdAt"]},
        doc! {},
    ] {
        assert_eq!(
            updated(description.clone()),
            Change::Nothing,
            "{description}"
        );
    }
}

#[test]
fn only_what_counts_is_held_and_too_much_is_not() {
    let document = doc! {"_id": 1, "jobName": "a", "metadata": {"secret": 1}, "status": {}};
    assert_eq!(held(&document), Some(doc! {"_id": 1, "jobName": "a"}));
    let large = doc! {"_id": 1, "jobName": "a", "filter": {"a": "x".repeat(held::LARGEST)}};
    let mut large = held(&large).unwrap();
    let problem = &problems(&large)[0];
    assert_eq!(problem.field, "filter");
    assert!(problem.sentence.contains("too large"), "{problem}");
    large.remove("leftOut");
    assert_eq!(large, doc! {"_id": 1, "jobName": "a"});
}

#[test]
fn an_id_is_shown_as_people_write_it() {
    let id = bson::oid::ObjectId::new();
    assert_eq!(id_text(&id.into()), id.to_hex());
    assert_eq!(id_text(&"mine".into()), "mine");
    assert_eq!(id_text(&7.into()), "7");
    assert_eq!(id_text(&doc! {"a": 1}.into()), r#"{"a":1}"#);
    // No two are shown alike: consumers tell listeners apart by it.
    let alike: [(Bson, Bson); 6] = [
        (1.into(), "1".into()),
        (id.into(), id.to_hex().into()),
        (true.into(), "true".into()),
        (Bson::Null, "null".into()),
        ("1".into(), "\"1\"".into()),
        (doc! {"a": 1}.into(), "{\"a\":1}".into()),
    ];
    for (one, other) in alike {
        assert_ne!(id_text(&one), id_text(&other), "{one}");
    }
}

/// Whatever is held comes back from a checkpoint as it was.
fn stored(held: &Document) -> Document {
    let json = Extended::canonical(&Bson::Document(held.clone())).line();
    match serde_json::from_str(&json).unwrap() {
        Bson::Document(document) => document,
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_held_comes_back_from_a_checkpoint_as_it_was() {
    let mut deep = Bson::Int32(1);
    for _ in 0..150 {
        deep = doc! {"a": deep}.into();
    }
    let values: [(Bson, bool); 12] = [
        (doc! {"$oid": "none"}.into(), false),
        (
            doc! {"a": [{"b": {"$date": "2026-01-01T00:00:00Z"}}]}.into(),
            false,
        ),
        (doc! {"a": {"$numberLong": "5"}}.into(), false),
        (doc! {"$regularExpression": 1}.into(), false),
        (deep.clone(), false),
        (Bson::Array(vec![deep]), false),
        (
            doc! {"$in": [Bson::MinKey, Bson::Undefined, f64::NAN, -0.0, i64::MAX]}.into(),
            true,
        ),
        (bson::DateTime::from_millis(i64::MIN).into(), true),
        (
            doc! {"z": 1, "a": {"$regex": "x", "$options": "i"}}.into(),
            true,
        ),
        (
            bson::Timestamp {
                time: u32::MAX,
                increment: u32::MAX,
            }
            .into(),
            true,
        ),
        (
            doc! {"$ref": "x", "$id": 1, "a.b": {"": "\u{0}"}}.into(),
            true,
        ),
        (
            Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
                code: "x".into(),
                scope: doc! {"a": 1_i64},
            }),
            true,
        ),
    ];
    for (value, is_held) in values {
        let document = doc! {"_id": 1, "collection": "a", "jobName": "b", "filter": value};
        let held = held(&document).unwrap();
        let said = problems(&document);
        assert_eq!(said.is_empty(), is_held, "{said:?}");
        assert_eq!(problems(&held), said);
        assert!(is_same(&stored(&held), &held), "{held}");
        assert_eq!(held.get_str("jobName").ok(), Some("b"), "the others stay");
    }
    for id in [Bson::from(doc! {"$oid": "x"}), "x".repeat(5000).into()] {
        assert_eq!(super::held(&doc! {"_id": id, "jobName": "b"}), None);
    }
}

#[test]
fn a_field_that_is_left_out_is_back_once_it_is_set_anew() {
    let wrong =
        doc! {"_id": 1, "jobName": "a", "filter": {"at": {"$date": "2026-01-01T00:00:00Z"}}};
    let mut document = held(&wrong).unwrap();
    for (part, is_left_out) in [
        (doc! {"filter.at": 5}, true),
        (doc! {"jobName": "b"}, true),
        (doc! {"filter": {"at": 5}}, false),
    ] {
        let event = doc! {
            "_id": {"_data": "82"}, "operationType": "update", "documentKey": {"_id": 1},
            "updateDescription": {"updatedFields": part},
        };
        let raw = RawDocumentBuf::try_from(&event).unwrap();
        if let Change::Put(after) = change(Some(&document), &Event::parse(raw.as_bytes()).unwrap())
        {
            document = after;
        }
        assert_eq!(problems(&document).is_empty(), !is_left_out, "{document}");
    }
    assert_eq!(
        document,
        doc! {"_id": 1, "jobName": "b", "filter": {"at": 5}}
    );
}

/// A change of the order alone is one, as of an embedded document's fields; a number that is none is none.
#[test]
fn documents_are_the_same_by_their_bytes() {
    let [one, other] = [doc! {"a": {"x": 1, "y": 2}}, doc! {"a": {"y": 2, "x": 1}}];
    assert!(one == other && !is_same(&one, &other));
    let none = doc! {"a": f64::NAN};
    assert!(none != none.clone() && is_same(&none, &none.clone()));
}

/// A listener whose record Kafka refuses would stop its stream: whoever writes listeners could do that.
#[test]
fn what_is_held_fits_into_a_record_of_kafka_whatever_it_consists_of() {
    let empty = || {
        Bson::RegularExpression(bson::Regex {
            pattern: bson::raw::cstr!("").into(),
            options: bson::raw::cstr!("").into(),
        })
    };
    let worst: [Box<dyn Fn(usize) -> Bson>; 4] = [
        Box::new(move |count| {
            let names = (0..count).map(|number| (format!("{number:x}"), empty()));
            Bson::Document(names.collect())
        }),
        Box::new(|count| Bson::String("\u{1}".repeat(count))),
        Box::new(|count| vec![Bson::Int32(-2_000_000_000); count].into()),
        Box::new(|count| vec![Bson::Double(-1.234_567_890_123_456_7e-300); count].into()),
    ];
    for filter in worst {
        // As large as is still held.
        let (mut fits, mut beyond) = (0, 1 << 18);
        while beyond - fits > 1 {
            let count = (fits + beyond) / 2;
            let document = doc! {"_id": 1, "filter": filter(count)};
            match problems(&document).is_empty() {
                false => beyond = count,
                true => fits = count,
            }
        }
        let document = Bson::Document(doc! {"_id": 1, "filter": filter(fits)});
        let json = document.into_canonical_extjson().to_string();
        assert!(json.len() < 1_000_000, "{} bytes", json.len());
    }
}
