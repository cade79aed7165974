use super::*;
use crate::route::table::INTERNAL;
use crate::route::{AFTER, BEFORE, MAX_TOPIC_LEN, TargetId, TimeLimits};
use bson::{Document, RawDocumentBuf, doc};
use proptest::prelude::*;

fn topics() -> config::Topics {
    config::Topics {
        insert: "database.insert".into(),
        update: "database.update".into(),
        replace: "database.update".into(),
        delete: "database.delete".into(),
        ddl: None,
        rows: None,
        dead_letter: None,
        bounds: None,
    }
}

fn all(template: &str) -> config::Topics {
    config::Topics {
        insert: template.into(),
        update: template.into(),
        replace: template.into(),
        delete: template.into(),
        ddl: Some(template.into()),
        rows: None,
        dead_letter: None,
        bounds: None,
    }
}

fn raw(operation: &str, database: &str, collection: &str) -> RawDocumentBuf {
    let ns: Document = match collection {
        "" => doc! {"db": database},
        _ => doc! {"db": database, "coll": collection},
    };
    RawDocumentBuf::try_from(&doc! {"_id": {"_data": "82"}, "operationType": operation, "ns": ns})
        .unwrap()
}

fn route(router: &mut Router, operation: &str, db: &str, coll: &str) -> Result<String, RouteError> {
    let raw = raw(operation, db, coll);
    let mut targets = router.route(&Event::parse(raw.as_bytes()).unwrap(), true);
    assert!(targets.len() <= 1);
    let Some(target) = targets.pop() else {
        return Ok("nowhere".into());
    };
    assert_eq!((target.id, &target.listener), (TargetId::STATIC, &None));
    let id = target.topic.map_err(|error| *error)?;
    Ok(router.table().get(id).name().to_owned())
}

#[test]
fn each_operation_has_its_topic_and_replace_shares_the_one_of_update() {
    let mut router = Router::new(&topics(), &[]).unwrap();
    let mut topic = |operation: &str| route(&mut router, operation, "d", "c").unwrap();
    assert_eq!(topic("insert"), "database.insert");
    assert_eq!(topic("update"), "database.update");
    assert_eq!(topic("replace"), "database.update");
    assert_eq!(topic("delete"), "database.delete");
    assert_eq!(router.table().all().len(), 3);
}

#[test]
fn ddl_goes_nowhere_without_a_topic_of_its_own_and_invalidate_never_goes_anywhere() {
    let mut router = Router::new(&topics(), &[]).unwrap();
    for operation in ["drop", "rename", "dropDatabase", "create", "invalidate"] {
        assert_eq!(route(&mut router, operation, "d", "c").unwrap(), "nowhere");
    }
    let ddl = config::Topics {
        ddl: Some("ddl.{operation}".into()),
        rows: None,
        ..topics()
    };
    let mut router = Router::new(&ddl, &[]).unwrap();
    assert_eq!(route(&mut router, "drop", "d", "c").unwrap(), "ddl.drop");
    assert_eq!(
        route(&mut router, "createIndexes", "d", "c").unwrap(),
        "ddl.createIndexes"
    );
    assert_eq!(route(&mut router, "invalidate", "", "").unwrap(), "nowhere");
}

#[test]
fn placeholders_are_filled_and_illegal_characters_become_underscores() {
    let mut router = Router::new(&all("cdc.{database}.{collection}.{operation}"), &[]).unwrap();
    let mut topic = |op: &str, db: &str, coll: &str| route(&mut router, op, db, coll).unwrap();
    assert_eq!(topic("insert", "shop", "orders"), "cdc.shop.orders.insert");
    assert_eq!(
        topic("replace", "shop", "orders"),
        "cdc.shop.orders.replace"
    );
    assert_eq!(
        topic("delete", "shop", "a b/ü$\"1"),
        "cdc.shop.a_b____1.delete"
    );
    assert_eq!(topic("dropDatabase", "shop", ""), "cdc.shop._.dropDatabase");
}

#[test]
fn the_topics_of_collections_are_known_before_their_events_and_no_others() {
    let collections =
        ["orders", "users", "a".repeat(MAX_TOPIC_LEN).as_str()].map(|collection| Namespace {
            database: "shop".into(),
            collection: collection.into(),
        });
    let names = |topics: &config::Topics, operations: &[&str], most| {
        let mut router = Router::new(topics, &["cdc.users.delete"]).unwrap();
        let of = router.topics_of(&collections, operations, most);
        let names = of.iter().map(|topic| topic.name().to_owned());
        names.collect::<Vec<_>>()
    };
    let each = config::Topics {
        insert: "fixed".into(),
        ..all("cdc.{collection}.{operation}")
    };
    let operations = ["insert", "update", "delete", "drop", "dropDatabase"];
    let known = [
        "cdc.orders.update",
        "cdc.orders.delete",
        "cdc.orders.drop",
        "cdc._.dropDatabase",
        "cdc.users.update",
        // Reserved, and too long: left out.
        "cdc.users.drop",
    ];
    assert_eq!(names(&each, &operations, 100), known);
    assert_eq!(names(&each, &operations, 2), known[..2]);
    assert_eq!(names(&each, &["insert"], 100), [""; 0]);
    assert_eq!(names(&all("{database}"), &operations, 100), ["shop"]);
    let without_ddl = config::Topics { ddl: None, ..each };
    assert_eq!(names(&without_ddl, &["drop"], 100), [""; 0]);
}

#[test]
fn a_name_of_249_characters_is_the_longest() {
    let mut router = Router::new(&all("{collection}"), &[]).unwrap();
    let fits = "c".repeat(MAX_TOPIC_LEN);
    assert_eq!(route(&mut router, "insert", "d", &fits).unwrap(), fits);
    let error = route(&mut router, "insert", "d", &"c".repeat(MAX_TOPIC_LEN + 1)).unwrap_err();
    assert!(
        matches!(error, RouteError::TopicTooLong { len: 250, .. }),
        "{error}"
    );
}

#[test]
fn dots_alone_are_no_name() {
    let mut router = Router::new(&all("{collection}"), &[]).unwrap();
    for name in [".", ".."] {
        let error = route(&mut router, "insert", "d", name).unwrap_err();
        assert_eq!(error, RouteError::TopicIllegal { name: name.into() });
    }
    assert!(
        Router::new(
            &config::Topics {
                insert: "..".into(),
                ..topics()
            },
            &[]
        )
        .is_err()
    );
}

#[test]
fn names_that_differ_in_dot_and_underscore_clash_at_the_start_where_they_are_known() {
    let clash = config::Topics {
        insert: "database_update".into(),
        ..topics()
    };
    let error = Router::new(&clash, &[]).unwrap_err();
    assert_eq!(error.code, Code::Config);
    assert!(error.detail.contains("KAFKA_TOPIC_UPDATE"), "{error}");
    assert!(error.detail.contains("`database_update`"), "{error}");
}

#[test]
fn a_clash_with_a_topic_of_the_configuration_is_an_error_of_that_event_alone() {
    let config = config::Topics {
        delete: "a.b".into(),
        ..all("{collection}")
    };
    let mut router = Router::new(&config, &[]).unwrap();
    for _ in 0..2 {
        let error = route(&mut router, "insert", "d", "a_b").unwrap_err();
        assert_eq!(
            error,
            RouteError::TopicClash {
                name: "a_b".into(),
                other: "a.b".into()
            }
        );
    }
    assert_eq!(route(&mut router, "insert", "d", "a.b").unwrap(), "a.b");
}

/// Which of the two is there, the cluster knows: another run may have made it.
#[test]
fn of_two_names_that_templates_give_none_is_preferred_for_coming_first() {
    let mut router = Router::new(&all("{collection}"), &[]).unwrap();
    for name in ["a.b", "a_b", "a.b"] {
        assert_eq!(route(&mut router, "insert", "d", name).unwrap(), name);
    }
}

#[test]
fn no_record_goes_to_the_topics_of_kafka_or_of_dead_letters() {
    let config = config::Topics {
        dead_letter: Some("dead".into()),
        ..all("{collection}")
    };
    let mut router = Router::new(&config, &[]).unwrap();
    for name in INTERNAL {
        let error = route(&mut router, "insert", "d", name).unwrap_err();
        assert_eq!(error, RouteError::TopicInternal { name: name.into() });
        let fixed = Router::new(&all(name), &[]).unwrap_err();
        assert!(fixed.detail.contains("KAFKA_TOPIC_INSERT"), "{fixed}");
    }
    for _ in 0..2 {
        let error = route(&mut router, "insert", "d", "dead").unwrap_err();
        let name = "dead".into();
        assert_eq!(error, RouteError::TopicOfDeadLetters { name });
    }
}

#[test]
fn a_record_may_be_as_far_from_now_as_its_topic_says() {
    let limits = TimeLimits {
        before: Some(1_000),
        after: Some(10),
    };
    let setting = |time| limits.broken_by(time, 50_000).map(|broken| broken.setting);
    assert_eq!(setting(49_000), None);
    assert_eq!(setting(48_999), Some(BEFORE));
    assert_eq!(setting(50_010), None);
    assert_eq!(setting(50_011), Some(AFTER));
    assert_eq!(TimeLimits::default().broken_by(1, i64::MAX), None);
}

#[test]
fn what_a_refusal_teaches_holds_for_what_is_as_large_or_as_far_from_now() {
    let router = Router::new(&topics(), &[]).unwrap();
    let topic = Arc::clone(&router.table().all()[0]);
    topic.refused_size(5_000);
    assert_eq!(topic.max_message_bytes(), Some(4_999));
    topic.refused_time(40_000, 50_000);
    topic.refused_time(30_000, 50_000);
    let limits = topic.time_limits();
    assert_eq!((limits.before, limits.after), (Some(9_999), None));
    topic.refused_time(60_000, 50_000);
    assert_eq!(topic.time_limits().after, Some(9_999));
    // A limit that was read counts more.
    topic.learned(1, Some(9_000));
    topic.refused_size(5_000);
    assert_eq!(topic.max_message_bytes(), Some(9_000));
    assert_eq!(topic.out_of_time(0), None);
}

#[test]
fn two_namespaces_of_one_name_share_the_topic() {
    let mut router = Router::new(&all("{database}.{collection}"), &[]).unwrap();
    assert_eq!(route(&mut router, "insert", "d", "a b").unwrap(), "d.a_b");
    assert_eq!(route(&mut router, "insert", "d", "a_b").unwrap(), "d.a_b");
    assert_eq!(router.table().all().len(), 1);
}

/// As MongoDB's connector names it.
#[test]
fn what_is_of_no_collection_has_a_topic_without_that_part() {
    let empty = Arc::new(config::NamespaceMap::empty("."));
    let router = |ddl: &str| {
        let topics = config::Topics {
            ddl: Some(ddl.into()),
            ..all("p.{database}.{collection}.s")
        };
        Router::new(&topics, &[]).unwrap().mapped(&empty)
    };
    let mut own = router("p.{database}.{collection}.s");
    // A collection may have the name that stands elsewhere for none.
    for (operation, collection, topic) in [
        ("insert", "_", "p.d._.s"),
        ("dropDatabase", "", "p.d.s"),
        ("drop", "_", "p.d._.s"),
        ("dropDatabase", "", "p.d.s"),
        ("rename", "a b", "p.d.a_b.s"),
    ] {
        assert_eq!(route(&mut own, operation, "d", collection).unwrap(), topic);
    }
    let mut other = router("ddl.{database}.{collection}");
    assert_eq!(
        route(&mut other, "dropDatabase", "d", "").unwrap(),
        "ddl.d._"
    );
    assert_eq!(route(&mut other, "insert", "d", "c").unwrap(), "p.d.c.s");
}

#[test]
fn no_record_goes_to_the_checkpoint_topic() {
    let reserved = "tailwater.checkpoints";
    let mut router = Router::new(&all("{database}.{collection}"), &[reserved]).unwrap();
    let error = route(&mut router, "insert", "tailwater", "checkpoints").unwrap_err();
    assert_eq!(
        error,
        RouteError::TopicReserved {
            name: reserved.into()
        }
    );
    let fixed = config::Topics {
        ddl: Some(reserved.into()),
        rows: None,
        ..topics()
    };
    assert!(
        Router::new(&fixed, &[reserved])
            .unwrap_err()
            .detail
            .contains("KAFKA_TOPIC_DDL")
    );
}

#[test]
fn no_change_goes_to_a_topic_that_dead_letters_are_read_from_or_that_begins_as_kafkas_own() {
    let mut router = Router::new(&all("{database}.{collection}"), &[])
        .unwrap()
        .reserving("d.read");
    let error = route(&mut router, "insert", "d", "read").unwrap_err();
    assert!(error.to_string().contains("dead letters"), "{error}");
    assert_eq!(route(&mut router, "insert", "d", "rea").unwrap(), "d.rea");
    // Also where the name is known without an event.
    let mut fixed = Router::new(&all("changes"), &[])
        .unwrap()
        .reserving("changes");
    assert!(route(&mut fixed, "insert", "d", "c").is_err());

    let mut router = Router::new(&all("{collection}"), &[]).unwrap();
    assert!(route(&mut router, "insert", "d", "__any").is_err());
    assert_eq!(route(&mut router, "insert", "d", "_a").unwrap(), "_a");
    let mut router = Router::new(&all("__{collection}"), &[]).unwrap();
    assert_eq!(route(&mut router, "insert", "d", "a").unwrap(), "__a");
    assert!(route(&mut router, "insert", "d", "consumer_offsets").is_err());
}

#[test]
fn the_dead_letter_topic_may_be_a_template_too() {
    let config = config::Topics {
        dead_letter: Some("dlq.{collection}".into()),
        ..topics()
    };
    let mut router = Router::new(&config, &[]).unwrap();
    let raw = raw("insert", "d", "c");
    let id = router
        .dead_letter(&Event::parse(raw.as_bytes()).unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(router.table().get(id).name(), "dlq.c");
    let mut router = Router::new(&topics(), &[]).unwrap();
    assert_eq!(
        router.dead_letter(&Event::parse(raw.as_bytes()).unwrap()),
        Ok(None)
    );
}

#[test]
fn what_the_brokers_say_of_a_topic_is_seen_by_every_clone_of_the_router() {
    let router = Router::new(&topics(), &[]).unwrap();
    let clone = router.clone();
    let topic = Arc::clone(&router.table().all()[0]);
    assert_eq!(
        (topic.partitions(), topic.max_message_bytes()),
        (None, None)
    );
    topic.learned(12, Some(1_048_588));
    let seen = clone.table().get(topic.id());
    assert_eq!(
        (seen.partitions(), seen.max_message_bytes()),
        (Some(12), Some(1_048_588))
    );
}

#[test]
fn a_namespace_dropped_from_a_full_cache_finds_its_topic_again() {
    let mut router = Router::new(&all("{database}"), &[]).unwrap();
    let first = route(&mut router, "insert", "first", "c").unwrap();
    for n in 0..CACHE_LIMIT {
        route(&mut router, "insert", &format!("d{n}"), "c").unwrap();
    }
    assert!(router.cache.len() < CACHE_LIMIT);
    assert_eq!(route(&mut router, "insert", "first", "c").unwrap(), first);
    assert_eq!(router.table().all().len(), CACHE_LIMIT + 1);
}

proptest! {
    /// Whatever the namespace is called: a name that Kafka takes, or an error of that event; and
    /// asking again gives the same answer.
    #[test]
    fn every_name_is_legal_or_an_error(db in "[^\0]{1,20}", coll in "[^\0]{1,260}") {
        let mut router = Router::new(&all("{collection}.{database}"), &[]).unwrap();
        let first = route(&mut router, "insert", &db, &coll);
        prop_assert_eq!(&first, &route(&mut router, "insert", &db, &coll));
        match first {
            Ok(name) => {
                prop_assert!(name.len() <= MAX_TOPIC_LEN);
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
                prop_assert!(!matches!(name.as_str(), "" | "." | ".."));
            }
            Err(RouteError::TopicTooLong { len, .. }) => prop_assert!(len > MAX_TOPIC_LEN),
            Err(RouteError::TopicInternal { name }) => prop_assert!(name.starts_with("__")),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
