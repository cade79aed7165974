//! Variables for one stream alone.

use super::*;
use crate::config::{Format, KeyFormat, SchemaKind};

const TWO: [(&str, &str); 2] = [
    ("MONGODB_URI", "mongodb://localhost:27017"),
    ("STREAMS", "shop,eu-west=reports"),
];

fn streams(more: &[(&str, &str)]) -> Vec<StreamSpec> {
    config(&[&TWO, more].concat()).streams
}

fn refused(more: &[(&str, &str)]) -> String {
    errors(&[&TWO, more].concat())
}

fn warned(more: &[(&str, &str)]) -> String {
    warnings(&[&TWO, more].concat())
}

#[test]
fn a_stream_has_what_is_set_for_it_and_the_others_what_is_set_for_all() {
    let streams = streams(&[
        ("KAFKA_TOPIC_PREFIX__EU_WEST", "inventory"),
        ("FORMAT__EU_WEST", "debezium"),
        ("FULL_DOCUMENT_BEFORE_CHANGE__EU_WEST", "whenAvailable"),
        ("KAFKA_DB_CHANGES_TOPIC__SHOP", "{database}.all"),
        ("KEY_FORMAT__shop", "id"),
        ("JSON_MODE", "relaxed"),
        ("JSON_MODE__SHOP", "canonical"),
        ("EXTRA_HEADERS", "a=b"),
        ("SERIALIZATION__SHOP", "avro"),
        ("SCHEMA_REGISTRY_URL", "http://r:8081"),
        ("SCHEMA_SUBJECT__SHOP", "record"),
    ]);
    let [shop, reports] = streams.as_slice() else {
        panic!("{streams:?}");
    };
    assert_eq!(shop.sink.format, Format::Tailwater);
    assert_eq!(shop.sink.topics.insert, "{database}.all");
    assert_eq!(shop.sink.key_format, KeyFormat::Id);
    assert_eq!(shop.pipeline.json_mode, JsonMode::Canonical);
    assert_eq!(shop.source.pre_images, PreImages::Off);
    let schemas = shop.sink.serialization.schemas().unwrap();
    assert_eq!(schemas.kind, SchemaKind::Avro);
    assert!(!shop.sink.tombstones);

    assert_eq!(reports.sink.format.name(), "debezium");
    let topic = "inventory.{database}.{collection}";
    assert_eq!(reports.sink.topics.insert, topic);
    assert_eq!(reports.sink.key_format, KeyFormat::Tailwater);
    assert_eq!(reports.pipeline.json_mode, JsonMode::Relaxed);
    assert_eq!(reports.source.pre_images, PreImages::WhenAvailable);
    assert!(reports.sink.serialization.schemas().is_none());
    assert!(reports.sink.tombstones);
    for stream in [shop, reports] {
        assert_eq!(*stream.sink.headers, [("a".to_owned(), "b".to_owned())]);
    }
}

#[test]
fn what_is_wrong_says_which_stream_it_is_of() {
    for (vars, expected) in [
        (
            &[("FORMAT__SHOP", "debzium")][..],
            "FORMAT__SHOP=debzium: is none of them; give one of tailwater, debezium",
        ),
        (
            &[("FORMAT__SHOP", "debezium")],
            "KAFKA_TOPIC_PREFIX: in the stream shop: is not set, and FORMAT=debezium",
        ),
        (
            &[
                ("FORMAT__SHOP", "debezium"),
                ("KAFKA_TOPIC_PREFIX__SHOP", "a b"),
            ],
            "KAFKA_TOPIC_PREFIX__SHOP=a b: Kafka allows no ' '",
        ),
        (
            &[
                ("FORMAT__EU_WEST", "debezium"),
                ("KAFKA_TOPIC_PREFIX", "p"),
                ("KAFKA_TOPIC_DDL", "ddl"),
            ],
            "KAFKA_TOPIC_DDL=ddl: in the stream eu-west: FORMAT=debezium has no records of events",
        ),
        (
            &[("FORMAT__NOPE", "debezium")],
            "FORMAT__NOPE: STREAMS has no stream of this name; give one of FORMAT__SHOP, FORMAT__EU_WEST",
        ),
        (
            &[("FORMAT__", "debezium")],
            "FORMAT__: STREAMS has no stream of this name",
        ),
        (
            &[("FORMAT__SHOP", "debezium"), ("FORMAT__shop", "document")],
            "FORMAT__shop: is given beside FORMAT__SHOP; give only one of the two",
        ),
        (
            &[("KAFKA_BROKERS__SHOP", "h:1")],
            "KAFKA_BROKERS__SHOP: KAFKA_BROKERS is the same for all streams",
        ),
        (
            &[("MONGODB_URI__SHOP", "mongodb://u:secret@h")],
            "MONGODB_URI__SHOP: MONGODB_URI is the same for all streams",
        ),
        (
            &[("STREAMS", "a-b=x,a.b=y"), ("FORMAT__A_B", "document")],
            "FORMAT__A_B: means several streams",
        ),
        (
            &[
                ("LIVE_ADDR", "127.0.0.1:3002"),
                ("JSON_MODE__SHOP", "relaxed"),
            ],
            "JSON_MODE__SHOP=relaxed: live changes of all streams are read in one mode",
        ),
    ] {
        let said = refused(vars);
        assert!(said.contains(expected), "{vars:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    let alone = errors(&[("FORMAT__SHOP", "document")]);
    let expected = "FORMAT__SHOP: is for one stream of STREAMS, which is not set; set FORMAT";
    assert!(alone.contains(expected), "{alone}");
}

#[test]
fn what_is_wrong_for_all_is_told_once_and_what_nobody_uses_not_at_all() {
    let said = refused(&[
        ("KEY_FORMAT", "none of them"),
        ("FORMAT__SHOP", "cloudevents"),
    ]);
    assert_eq!(said.matches("KEY_FORMAT").count(), 1, "{said}");
    // Each stream has its own prefix, so that there need be none for all.
    let prefixes = [
        ("FORMAT", "debezium"),
        ("KAFKA_TOPIC_PREFIX__SHOP", "a"),
        ("KAFKA_TOPIC_PREFIX__EU_WEST", "b"),
    ];
    let names: Vec<_> = streams(&prefixes)
        .iter()
        .map(|stream| stream.sink.topics.insert.clone())
        .collect();
    assert_eq!(
        names,
        ["a.{database}.{collection}", "b.{database}.{collection}"]
    );
}

#[test]
fn what_has_no_effect_is_warned_of_where_it_is_of_one_stream() {
    let said = warned(&[("DEBEZIUM_SCHEMAS__SHOP", "true")]);
    let expected = "DEBEZIUM_SCHEMAS__SHOP: has no effect with FORMAT=tailwater";
    assert!(said.contains(expected), "{said}");
    // For all, it is meant for those that it has an effect on.
    let said = warned(&[
        ("DEBEZIUM_SCHEMAS", "true"),
        ("KAFKA_TOPIC_PREFIX", "a"),
        ("FORMAT__SHOP", "debezium"),
    ]);
    assert_eq!(said, "");
}

#[test]
fn records_that_differ_do_not_share_a_topic() {
    let of_format = ("FORMAT__SHOP", "cloudevents");
    let said = refused(&[
        of_format,
        ("KAFKA_DB_CHANGES_TOPIC", "changes.{collection}"),
    ]);
    let expected = "KAFKA_DB_CHANGES_TOPIC=changes.{collection}: shop and eu-west would both write to changes.{collection}";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("KAFKA_DB_CHANGES_TOPIC__EU_WEST"), "{said}");
    streams(&[of_format, ("KAFKA_DB_CHANGES_TOPIC", "{database}.changes")]);
    let other = ("KAFKA_DB_CHANGES_TOPIC__SHOP", "others");
    streams(&[of_format, ("KAFKA_DB_CHANGES_TOPIC", "changes"), other]);
    // Headers and timestamps may differ.
    let headers = ("EXTRA_HEADERS__SHOP", "a=b");
    streams(&[headers, ("KAFKA_DB_CHANGES_TOPIC", "changes")]);
}

#[test]
fn they_are_shown_with_what_else_is_in_force() {
    let loaded = load(&[&TWO[..], &[("EXTRA_HEADERS__EU_WEST", "a=b")]].concat()).unwrap();
    let shown = text(&loaded.settings);
    let line = shown
        .lines()
        .find(|line| line.starts_with("EXTRA_HEADERS__EU_WEST"));
    assert!(
        line.is_some_and(|line| line.ends_with("a=b  [env]")),
        "{shown}"
    );
}

#[test]
fn the_documentation_names_them_all() {
    let page = include_str!("../../../docs/streams.md");
    let of_page = page.split("### Settings of one stream").nth(1).unwrap();
    let of_page = of_page.split("\n#").next().unwrap();
    for variable in table::ALL {
        let is_named = of_page.contains(&format!("`{}`", variable.name));
        assert_eq!(
            of_stream::may_differ(variable),
            is_named,
            "{}",
            variable.name
        );
    }
}
