use super::*;
use bson::RawDocumentBuf;
use bson::oid::ObjectId;

fn apply(set: &mut Set, event: Document) -> bool {
    let mut whole = doc! {"_id": {"_data": "82"}};
    whole.extend(event);
    let raw = RawDocumentBuf::try_from(&whole).unwrap();
    set.apply(&Event::parse(raw.as_bytes()).unwrap()).is_some()
}

#[test]
fn a_set_is_read_back_from_a_position_as_it_was_written() {
    let documents = [
        doc! {"_id": ObjectId::new(), "collection": "a", "jobName": "b", "filter": {"c.d": {"$gt": 1}}},
        doc! {"_id": "x", "kind": "database", "database": "*"},
        doc! {"_id": 5_i64, "metadata": 1},
    ];
    let set = Set::found("d.listeners", &documents);
    let extra = Extra::default().with(Extra::LISTENERS, Some(set.to_bson()));
    assert_eq!(Set::of(&extra).unwrap(), Some(set));
    assert_eq!(Set::of(&Extra::default()).unwrap(), None);
    for damaged in [
        Bson::Null,
        doc! {"set": []}.into(),
        doc! {"collection": "a", "set": [1]}.into(),
    ] {
        let extra = Extra::default().with(Extra::LISTENERS, Some(damaged));
        assert_eq!(Set::of(&extra).unwrap_err().code, Code::CheckpointFailed);
    }
}

/// A read that was later than the position has found what the stream brings once more: that ends alike.
#[test]
fn what_is_applied_again_leads_to_the_same() {
    let events = [
        doc! {"operationType": "insert", "documentKey": {"_id": 1}, "fullDocument": {"_id": 1, "jobName": "a"}},
        doc! {"operationType": "insert", "documentKey": {"_id": 2}, "fullDocument": {"_id": 2, "jobName": "b"}},
        doc! {"operationType": "update", "documentKey": {"_id": 1}, "updateDescription": {"updatedFields": {"jobName": "c"}}},
        doc! {"operationType": "delete", "documentKey": {"_id": 2}},
        doc! {"operationType": "replace", "documentKey": {"_id": 1}, "fullDocument": {"_id": 1, "topic": "t"}},
        doc! {"operationType": "update", "documentKey": {"_id": 1}, "updateDescription": {"removedFields": ["topic"]}},
    ];
    let mut exact = Set::found("d.l", &[]);
    for at in 0..=events.len() {
        let mut late = exact.clone();
        for event in &events {
            apply(&mut late, event.clone());
        }
        if let Some(event) = events.get(at) {
            apply(&mut exact, event.clone());
        }
        let mut end = Set::found("d.l", &[]);
        for event in &events {
            apply(&mut end, event.clone());
        }
        assert_eq!(late, end, "read after {at} events");
    }
}

#[test]
fn ids_of_two_types_are_two_and_an_unchanged_document_is_none() {
    let mut set = Set::found("d.l", &[doc! {"_id": 1}, doc! {"_id": 1_i64}]);
    assert_eq!(set.documents().count(), 2);
    let status = doc! {"updatedFields": {"status.streams.a.matched": 5}};
    assert!(!apply(
        &mut set,
        doc! {"operationType": "update", "documentKey": {"_id": 1}, "updateDescription": status}
    ));
    assert!(!apply(
        &mut set,
        doc! {"operationType": "delete", "documentKey": {"_id": 9}}
    ));
    assert!(!apply(&mut set, doc! {"operationType": "createIndexes"}));
    assert!(apply(
        &mut set,
        doc! {"operationType": "delete", "documentKey": {"_id": 1}}
    ));
    assert_eq!(set.documents().count(), 1);
}

#[test]
fn a_set_has_a_bound() {
    let large = |id: i32| doc! {"_id": id, "filter": {"a": "x".repeat(100 << 10)}};
    let mut set = Set::found("d.l", &Vec::from_iter((0..100).map(large)));
    let refused = |set: &Set| {
        set.documents()
            .filter(|(_, it)| !document::problems(it).is_empty())
            .count()
    };
    assert_eq!(set.documents().count(), 100);
    let before = refused(&set);
    assert!(before > 10, "{before}");
    apply(
        &mut set,
        doc! {"operationType": "delete", "documentKey": {"_id": 0}},
    );
    let again =
        doc! {"operationType": "replace", "documentKey": {"_id": 99}, "fullDocument": large(99)};
    assert!(apply(&mut set, again));
    assert_eq!(refused(&set), before - 1);
}

#[test]
fn a_set_has_so_many_documents_and_no_more() {
    let many = Vec::from_iter((0..MOST_DOCUMENTS as i32 + 5).map(|id| doc! {"_id": id}));
    let mut set = Set::found("d.l", &many);
    assert_eq!(set.documents().count(), MOST_DOCUMENTS);
    // One that is held stays so when it changes.
    let changed = doc! {"operationType": "replace", "documentKey": {"_id": 7}, "fullDocument": {"_id": 7, "topic": "t"}};
    assert!(apply(&mut set, changed));
    assert_eq!(set.documents().count(), MOST_DOCUMENTS);
}
