use super::*;
use crate::config::Config;
use crate::listener::Definition;
use crate::status::listeners::State;
use bson::{Bson, Document, RawDocumentBuf, bson, doc};

fn router(variables: &[(&str, &str)]) -> (ListenerRouter, Arc<Statuses>) {
    let servers = [
        ("MONGODB_URI", "mongodb://127.0.0.1:1/shop"),
        ("KAFKA_BROKERS", "127.0.0.1:1"),
        ("LISTENERS_COLLECTION", "shop.listeners"),
    ];
    let loaded = Config::from_vars(servers.into_iter().chain(variables.iter().copied())).unwrap();
    let spec = &loaded.config.streams[0];
    let statuses = Arc::<Statuses>::default();
    let admission = Admission(Arc::new(|definition: &Definition| {
        match definition.collection.as_str() {
            "secret" => Err("collection: secret is excluded".to_owned()),
            _ => Ok(()),
        }
    }));
    let listeners = spec.source.listeners.clone().unwrap();
    let configured = Router::of(spec).unwrap();
    let router = ListenerRouter::with(configured, listeners, admission, Arc::clone(&statuses));
    (router, statuses)
}

fn put(router: &mut ListenerRouter, document: Document) {
    let id = document.get("_id").cloned().unwrap();
    let event = doc! {
        "_id": {"_data": "82"}, "operationType": "replace", "ns": {"db": "shop", "coll": "listeners"},
        "documentKey": {"_id": id}, "fullDocument": document,
    };
    with_event(event, |event| {
        assert!(router.changes_with(event));
        assert!(matches!(router.change(event), Changed::To(_)));
        router.put_in_force();
    });
}

fn with_event<T>(event: Document, ask: impl FnOnce(&Event<'_>) -> T) -> T {
    let raw = RawDocumentBuf::try_from(&event).unwrap();
    ask(&Event::parse(raw.as_bytes()).unwrap())
}

fn event(operation: &str, document: Document) -> Document {
    let id = document.get("_id").cloned().unwrap_or(Bson::Int32(1));
    let mut event = doc! {
        "_id": {"_data": "82"}, "operationType": operation, "ns": {"db": "shop", "coll": "batches"},
        "documentKey": {"_id": id},
    };
    if operation != "delete" {
        event.insert("fullDocument", document);
    }
    event
}

/// Who gets an event, with the topic and the priority.
fn targets(router: &mut ListenerRouter, event: Document) -> Vec<String> {
    with_event(event, |event| {
        let targets = router.route(event, true);
        let shown = targets.iter().map(|target| {
            let listener = target.listener.as_ref();
            let topic = match &target.topic {
                Ok(id) => router.table().get(*id).name().to_owned(),
                Err(error) => error.to_string(),
            };
            let name = listener.map_or("", |listener| &listener.id);
            let priority = listener.and_then(|listener| listener.priority.as_deref());
            format!("{name} {topic} {}", priority.unwrap_or("-"))
        });
        shown.collect()
    })
}

fn received() -> Document {
    doc! {
        "_id": "a", "collection": "batches", "jobName": "process", "operationType": ["insert", "update"],
        "filter": {"status": "received"},
    }
}

#[test]
fn a_listener_gets_what_it_asks_for_from_the_change_that_makes_it() {
    let (mut router, statuses) = router(&[]);
    let new = || event("insert", doc! {"_id": 1, "status": "received"});
    assert!(targets(&mut router, new()).is_empty());
    put(&mut router, received());
    assert_eq!(targets(&mut router, new()), ["a jobs.process -"]);
    let other = event("insert", doc! {"_id": 1, "status": "done"});
    with_event(other.clone(), |event| assert!(router.wants(event)));
    assert!(targets(&mut router, other).is_empty());
    let replaced = event("replace", doc! {"_id": 1, "status": "received"});
    with_event(replaced, |event| assert!(!router.wants(event)));

    let mut second = received();
    second.extend(doc! {"_id": "b", "jobName": "audit", "priority": 5, "filter": {}});
    put(&mut router, second);
    assert_eq!(
        targets(&mut router, new()),
        ["a jobs.process -", "b jobs.audit 5"]
    );

    let mut disabled = received();
    disabled.insert("isActive", false);
    put(&mut router, disabled);
    assert_eq!(targets(&mut router, new()), ["b jobs.audit 5"]);
    let shown = statuses.all();
    assert_eq!(shown[0].state, State::Disabled);
    assert_eq!(shown[1].state, State::Active);
}

#[test]
fn records_go_to_the_configured_topics_only_where_one_is_set() {
    let new = || event("insert", doc! {"_id": 1, "status": "received"});
    let (mut alone, _) = router(&[]);
    put(&mut alone, received());
    assert_eq!(targets(&mut alone, new()), ["a jobs.process -"]);
    assert_eq!(alone.table().all().len(), 1);
    let (mut both, _) = router(&[("KAFKA_DB_CHANGES_TOPIC", "changes")]);
    put(&mut both, received());
    assert_eq!(
        targets(&mut both, new()),
        [" changes -", "a jobs.process -"]
    );
}

#[test]
fn what_is_wrong_makes_one_listener_invalid_with_the_reason() {
    let (mut router, statuses) = router(&[
        ("RESUME_TOPIC", "jobs.checkpoints"),
        ("KAFKA_DLQ_TOPIC", "jobs.dead"),
        ("ON_RECORD_ERROR", "dlq"),
    ]);
    let with = |id: &str, changes: Document| {
        let mut document = received();
        document.insert("_id", id);
        document.extend(changes);
        document
    };
    let wrong = [
        (with("1", doc! {"topic": "payments"}), "LISTENERS_TOPICS"),
        (
            with("2", doc! {"topic": "{collection}"}),
            "LISTENERS_TOPICS",
        ),
        (with("3", doc! {"topic": "jobs.checkpoints"}), "checkpoints"),
        (with("4", doc! {"topic": "jobs.dead"}), "dead letters"),
        (with("5", doc! {"filter": {"$expr": true}}), "$expr"),
        (with("6", doc! {"collection": "secret"}), "excluded"),
        (with("7", doc! {"kind": "handler"}), "kind"),
        (with(&"8".repeat(600), doc! {}), "_id"),
    ];
    for (document, _) in &wrong {
        put(&mut router, document.clone());
    }
    put(&mut router, received());
    let new = event("insert", doc! {"_id": 1, "status": "received"});
    assert_eq!(targets(&mut router, new), ["a jobs.process -"]);
    for (document, part) in wrong {
        let id = document.get("_id").unwrap();
        let shown = statuses.all();
        let shown = shown.iter().find(|shown| shown.id == *id).unwrap();
        let reason = shown.state.reason().unwrap_or_default();
        assert!(reason.contains(part), "{id}: {:?}", shown.state);
    }
}

#[test]
fn settings_of_a_database_hold_over_the_defaults() {
    let (mut router, _) = router(&[("LISTENERS_TOPICS", "jobs.*,eu.jobs.*")]);
    put(&mut router, received());
    let mut any = doc! {"_id": "b", "collection": "batches", "jobName": "any"};
    put(&mut router, any.clone());
    let delete = || event("delete", doc! {"_id": 1});
    let new = || event("insert", doc! {"_id": 1, "status": "received"});
    assert_eq!(targets(&mut router, delete()), ["b jobs.any -"]);
    put(
        &mut router,
        doc! {"_id": "s", "kind": "database", "database": "*", "operationType": "insert", "priority": "low"},
    );
    assert!(targets(&mut router, delete()).is_empty());
    assert_eq!(
        targets(&mut router, new()),
        ["a jobs.process low", "b jobs.any low"]
    );
    put(
        &mut router,
        doc! {"_id": "t", "kind": "database", "database": "shop", "topicPrefix": "eu."},
    );
    any.insert("priority", "high");
    put(&mut router, any);
    assert_eq!(
        targets(&mut router, new()),
        ["a eu.jobs.process low", "b eu.jobs.any high"]
    );
    put(
        &mut router,
        doc! {"_id": "t", "kind": "database", "database": "shop", "enabled": false},
    );
    assert!(targets(&mut router, new()).is_empty());
}

/// A prefix leads nowhere that LISTENERS_TOPICS does not allow.
#[test]
fn a_prefix_is_bounded_too() {
    let (mut router, _) = router(&[]);
    put(&mut router, received());
    put(
        &mut router,
        doc! {"_id": "t", "kind": "database", "database": "shop", "topicPrefix": "payments."},
    );
    let new = event("insert", doc! {"_id": 1, "status": "received"});
    let targets = targets(&mut router, new);
    assert!(targets[0].contains("LISTENERS_TOPICS"), "{targets:?}");
}

#[test]
fn a_filter_without_a_document_is_decided_where_the_key_is_enough() {
    let (mut router, statuses) = router(&[]);
    put(
        &mut router,
        doc! {"_id": "any", "collection": "batches", "jobName": "any"},
    );
    put(
        &mut router,
        doc! {"_id": "key", "collection": "batches", "jobName": "key", "filter": {"_id": {"$in": [1, 2]}}},
    );
    put(
        &mut router,
        doc! {"_id": "one", "collection": "batches", "jobName": "one", "documentKey": 1.0},
    );
    put(
        &mut router,
        doc! {"_id": "other", "collection": "batches", "jobName": "other", "filter": {"a": 1}},
    );
    let deleted = targets(&mut router, event("delete", doc! {"_id": 1}));
    assert_eq!(
        deleted,
        ["any jobs.any -", "key jobs.key -", "one jobs.one -"]
    );
    let undecided = statuses
        .all()
        .into_iter()
        .find(|it| it.name == "other")
        .unwrap();
    assert_eq!(undecided.undecided, 1);
    let mut before = event("delete", doc! {"_id": 7});
    before.insert("fullDocumentBeforeChange", doc! {"_id": 7, "a": 1});
    assert_eq!(
        targets(&mut router, before),
        ["any jobs.any -", "other jobs.other -"]
    );
}

/// The index leads to no other answer than asking every listener.
#[test]
fn the_index_finds_whom_asking_all_would_find() {
    let values = [
        bson!(1),
        bson!(1_i64),
        bson!(1.0),
        bson!(2.5),
        bson!("x"),
        bson!(true),
        bson!(null),
        bson!([1, "x"]),
    ];
    let (mut router, _) = router(&[]);
    for (number, value) in values.iter().enumerate() {
        let id = format!("l{number}");
        let filter = doc! {"a": value.clone(), "b": {"$exists": true}};
        put(
            &mut router,
            doc! {"_id": id, "collection": "batches", "jobName": "j", "filter": filter},
        );
    }
    let decimal = Bson::Decimal128("1".parse().unwrap());
    for value in values.iter().chain([&decimal]) {
        let document = doc! {"_id": 1, "a": value.clone(), "b": 0};
        let found = targets(&mut router, event("insert", document.clone()));
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        let expected = values.iter().enumerate().filter(|(_, of)| {
            let filter = RawDocumentBuf::try_from(&doc! {"a": (*of).clone()}).unwrap();
            crate::listener::filter::Filter::compile(&filter)
                .unwrap()
                .matches(&raw)
        });
        let expected: Vec<_> = expected
            .map(|(number, _)| format!("l{number} jobs.j -"))
            .collect();
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn events_of_databases_and_collections_reach_those_who_ask_for_them() {
    let (mut router, _) = router(&[]);
    let operations = bson!(["drop", "rename", "dropDatabase"]);
    put(
        &mut router,
        doc! {"_id": "a", "collection": "batches", "jobName": "ddl", "operationType": operations},
    );
    let token = doc! {"_data": "82"};
    let drop = doc! {"_id": token.clone(), "operationType": "drop", "ns": {"db": "shop", "coll": "batches"}};
    assert_eq!(targets(&mut router, drop), ["a jobs.ddl -"]);
    let renamed = doc! {
        "_id": token.clone(), "operationType": "rename", "ns": {"db": "shop", "coll": "x"},
        "to": {"db": "shop", "coll": "batches"},
    };
    assert_eq!(targets(&mut router, renamed), ["a jobs.ddl -"]);
    let gone = doc! {"_id": token, "operationType": "dropDatabase", "ns": {"db": "shop"}};
    assert_eq!(targets(&mut router, gone), ["a jobs.ddl -"]);
}

#[test]
fn a_dropped_collection_of_listeners_leaves_none() {
    let (mut router, statuses) = router(&[]);
    put(&mut router, received());
    let drop = doc! {"_id": {"_data": "82"}, "operationType": "drop", "ns": {"db": "shop", "coll": "listeners"}};
    with_event(drop, |event| {
        assert!(router.changes_with(event));
        assert!(matches!(router.change(event), Changed::To(_)));
        router.put_in_force();
    });
    assert!(
        targets(
            &mut router,
            event("insert", doc! {"_id": 1, "status": "received"})
        )
        .is_empty()
    );
    assert!(statuses.all().is_empty());
}

/// What a position holds brings the same listeners back, under the same numbers.
#[test]
fn a_position_brings_its_listeners_back() {
    let (mut router, _) = router(&[]);
    let set = Set::found("shop.listeners", &[received()]);
    let extra = Extra::default().with(Extra::LISTENERS, Some(set.to_bson()));
    let new = || event("insert", doc! {"_id": 1, "status": "received"});
    let target =
        |router: &mut ListenerRouter| with_event(new(), |event| router.route(event, true)[0].id);
    let mut first = router.at(&extra).unwrap();
    put(
        &mut router,
        doc! {"_id": "0", "collection": "batches", "jobName": "early"},
    );
    let mut second = router.at(&extra).unwrap();
    assert_eq!(target(&mut first), target(&mut second));
    assert_eq!(targets(&mut second, new()), ["a jobs.process -"]);
}
