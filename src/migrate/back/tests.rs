use super::{Back, connector};
use crate::config::{Config, Group, Loaded, Variable, table};
use crate::migrate::{Connector, Incumbent, Verdict};

type Pairs = &'static [(&'static str, &'static str)];

const PEM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/authority.pem");
const REGISTRY: Pairs = &[("SCHEMA_REGISTRY_URL", "https://r:8081")];
const AVRO: Pairs = &[
    ("SCHEMA_REGISTRY_URL", "https://r:8081"),
    ("SERIALIZATION", "avro"),
];

fn load(format: Incumbent, variables: &[&[(&str, &str)]]) -> Result<Loaded, String> {
    let mut all = vec![
        ("MONGODB_URI", "mongodb://h/shop"),
        ("KAFKA_BROKERS", "h:9092"),
        ("FORMAT", format.name()),
        ("KAFKA_TOPIC_PREFIX", "p"),
    ];
    for (name, value) in variables.iter().copied().flatten() {
        all.retain(|(known, _)| known != name);
        all.push((name, value));
    }
    Config::from_vars(all).map_err(|errors| errors.to_string())
}

fn back(format: Incumbent, config: &Config) -> Back {
    connector(format, "c", config, &config.streams[0]).unwrap()
}

fn made(format: Incumbent, variables: &[(&str, &str)]) -> Back {
    back(format, &load(format, &[variables]).unwrap().config)
}

/// What else is set where a variable is looked at, and its value.
fn given(format: Incumbent, variable: &Variable) -> (Pairs, &'static str) {
    let of_schemas = variable.group == Group::Schemas;
    let beside: Pairs = match variable.name {
        "SERIALIZATION" => REGISTRY,
        _ if of_schemas => AVRO,
        "TOMBSTONES" if format == Incumbent::MongoKafka => &[
            ("MONGO_KAFKA_FULL_DOCUMENT_ONLY", "true"),
            ("FULL_DOCUMENT", "updateLookup"),
        ],
        // A text cannot have a schema.
        "MONGO_KAFKA_KEY" => &[("MONGO_KAFKA_KEY_CONVERTER", "json")],
        "MONGO_KAFKA_KEY_SCHEMA" => &[
            ("MONGO_KAFKA_KEY", "schema"),
            ("MONGO_KAFKA_KEY_CONVERTER", "json"),
        ],
        "MONGO_KAFKA_VALUE_SCHEMA" => &[("MONGO_KAFKA_VALUE", "schema")],
        "MONGO_KAFKA_KEY_CONVERTER" => AVRO,
        "DEBEZIUM_TRANSACTION_TOPIC" => &[("TRANSACTION_METADATA", "true")],
        "FIELDS_MASK_TEXT" => &[("FIELDS_MASK", "users:email")],
        _ => &[],
    };
    let value = match variable.name {
        "TOMBSTONES" if format == Incumbent::Debezium => "false",
        "DEBEZIUM_TRANSACTION_TOPIC" => "bounds",
        "SCHEMA_REGISTRY_URL" => "https://other:8081",
        "SCHEMA_REGISTRY_CA_LOCATION" => PEM,
        "FIELDS_MASK_SALT" => "a salt of thirty-two bytes or more than that",
        _ => variable.example,
    };
    (beside, value)
}

/// What is part of a pair is looked at with the other half.
fn other_half(name: &str) -> Pairs {
    match name {
        "SCHEMA_REGISTRY_USERNAME" => &[("SCHEMA_REGISTRY_PASSWORD", "word")],
        "SCHEMA_REGISTRY_PASSWORD" => &[("SCHEMA_REGISTRY_USERNAME", "me")],
        "FIELDS_MASK_SALT" => &[("FIELDS_MASK", "users:email=hash")],
        _ => &[],
    }
}

fn is_said(back: &Back, name: &str) -> bool {
    let of_fields = name.starts_with("FIELDS_");
    let mut notes = back.notes.iter();
    notes.any(|note| note.contains(name) || of_fields && note.contains("FIELDS_*"))
}

/// What topics are made with, which is said of all at once.
const OF_NEW_TOPICS: [&str; 5] = [
    "KAFKA_CREATE_TOPICS",
    "KAFKA_TOPIC_PARTITIONS",
    "KAFKA_TOPIC_REPLICATION",
    "KAFKA_TOPIC_CONFIG",
    "KAFKA_DLQ_TOPIC",
];

/// What the configuration does not take with this format.
const REFUSED: (Incumbent, &str) = (Incumbent::Debezium, "KAFKA_TOPIC_DDL");

#[test]
fn every_variable_of_topics_records_and_schemas_is_taken_or_said_or_without_effect() {
    let groups = [Group::Topics, Group::Records, Group::Schemas];
    let all = table::ALL.iter().filter(|it| groups.contains(&it.group));
    let (mut taken, mut passed_over) = (0, Vec::new());
    for variable in all.filter(|it| it.name != "FORMAT") {
        for format in [Incumbent::Debezium, Incumbent::MongoKafka] {
            let name = variable.name;
            let (beside, value) = given(format, variable);
            let own = [(name, value)];
            let before = load(format, &[beside]);
            let after = load(format, &[beside, other_half(name), &own]);
            let (before, after) = match (before, after) {
                (Ok(before), Ok(after)) => (before, after),
                (_, Err(_)) if (format, name) == REFUSED => continue,
                (before, after) => {
                    passed_over.push(format!(
                        "{format:?} {name}: {:?} {:?}",
                        before.err(),
                        after.err()
                    ));
                    continue;
                }
            };
            let mut warnings = after.warnings.iter().map(ToString::to_string);
            if warnings.any(|it| {
                it.contains(name) && (it.contains("no effect") || it.contains("without effect"))
            }) {
                continue;
            }
            let [before, after] = [before, after].map(|it| back(format, &it.config));
            let is_taken = before.connector != after.connector;
            taken += usize::from(is_taken);
            let is_general = OF_NEW_TOPICS.contains(&name) && {
                let mut notes = after.notes.iter();
                notes.any(|note| note.contains("what topics are made with"))
            };
            // A variable that takes a sentence away is said, too.
            let is_told = is_said(&after, name) || is_said(&before, name);
            if !(is_taken || is_told || is_general) {
                passed_over.push(format!("{format:?} {name}"));
            }
        }
    }
    assert_eq!(passed_over, [""; 0]);
    assert!(taken > 25, "{taken}");
}

/// What is taken at the way out comes back as it was.
#[test]
fn what_a_registry_is_told_survives_the_way_out_and_in() {
    let more: [&[(&str, &str)]; 3] = [
        &[
            ("SCHEMA_REGISTRY_USERNAME", "me"),
            ("SCHEMA_REGISTRY_PASSWORD", "wo:rd"),
            ("SCHEMA_SUBJECT", "record"),
        ],
        &[
            ("SCHEMA_REGISTRY_TOKEN", "a.b.c"),
            ("SCHEMA_ID_IN", "header"),
        ],
        &[
            ("SCHEMA_SUBJECT", "topic_record"),
            ("SCHEMA_AUTO_REGISTER", "false"),
        ],
    ];
    for format in [Incumbent::Debezium, Incumbent::MongoKafka] {
        for more in more {
            let back = made(format, &[AVRO, more].concat());
            let text = serde_json::json!({"name": "c", "config": back.connector.properties});
            let plan = format.plan(&Connector::read(&text.to_string()).unwrap());
            let mut notes = plan.notes.iter();
            assert!(
                notes.all(|note| note.verdict != Verdict::Decision),
                "{}",
                plan.to_text()
            );
            for (name, value) in AVRO.iter().chain(more) {
                let found = plan.variables.iter().find(|(it, _)| it == name);
                assert_eq!(
                    found.map(|(_, value)| value.as_str()),
                    Some(*value),
                    "{format:?}: {name}"
                );
            }
        }
    }
}

#[test]
fn what_the_registrys_converter_cannot_be_told_is_said() {
    let places = made(
        Incumbent::Debezium,
        &[AVRO, &[("SCHEMA_ID_IN", "apicurio_header")]].concat(),
    );
    assert!(is_said(&places, "SCHEMA_ID_IN=apicurio_header is left out"));
    let header = made(
        Incumbent::Debezium,
        &[AVRO, &[("SCHEMA_ID_IN", "header")]].concat(),
    );
    for half in ["key", "value"] {
        let class = header
            .connector
            .get(&format!("{half}.converter.{half}.schema.id.serializer"));
        assert_eq!(
            class,
            Some("io.confluent.kafka.serializers.schema.id.HeaderSchemaIdSerializer")
        );
    }
    let authorities = made(
        Incumbent::MongoKafka,
        &[AVRO, &[("SCHEMA_REGISTRY_CA_LOCATION", PEM)]].concat(),
    );
    assert!(is_said(
        &authorities,
        "SCHEMA_REGISTRY_CA_LOCATION is left out"
    ));
    assert!(
        !authorities
            .connector
            .properties
            .values()
            .any(|it| it == PEM)
    );
}

#[test]
fn operations_that_debezium_does_not_tell_apart_are_said() {
    for (operations, skipped, is_told) in [
        ("insert,update,replace,delete", None, false),
        ("insert,update,replace", Some("d"), false),
        ("insert,delete", Some("u"), false),
        ("replace,delete", Some("c"), true),
        ("update", Some("c,d"), true),
    ] {
        let back = made(Incumbent::Debezium, &[("WATCH_OPERATIONS", operations)]);
        assert_eq!(back.connector.get("skipped.operations"), skipped);
        assert_eq!(is_said(&back, "WATCH_OPERATIONS"), is_told, "{operations}");
    }
}

#[test]
fn what_consumers_would_see_is_said() {
    for (format, variables, said) in [
        (
            Incumbent::Debezium,
            ("FULL_DOCUMENT", "required"),
            "FULL_DOCUMENT=required becomes",
        ),
        (
            Incumbent::Debezium,
            ("FULL_DOCUMENT_BEFORE_CHANGE", "required"),
            "FULL_DOCUMENT_BEFORE_CHANGE=required becomes",
        ),
        (
            Incumbent::MongoKafka,
            ("KAFKA_TOPIC_DDL", "ddl"),
            "KAFKA_TOPIC_DDL is left out",
        ),
        (
            Incumbent::MongoKafka,
            ("DELIVERY", "exactly_once"),
            "exactly.once.support=required",
        ),
    ] {
        let back = made(format, &[variables]);
        assert!(is_said(&back, said), "{back:#?}");
    }
}
