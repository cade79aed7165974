//! What is written of the configuration: reference, example, settings.

use super::*;
use std::fs;

const START: &str = "<!-- config-table:start -->";
const END: &str = "<!-- config-table:end -->";

/// What stands between the markers of a file, where it has them.
fn between_markers(file: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).ok()?;
    let (_, rest) = text.split_once(START)?;
    let (table, _) = rest.split_once(END)?;
    Some(table.trim().to_owned())
}

#[test]
fn the_reference_in_the_documentation_is_that_of_the_code() {
    let table = between_markers("docs/configuration.md").unwrap();
    assert_eq!(
        table,
        reference().trim(),
        "put in `tailwater config --reference`"
    );
    if let Some(table) = between_markers("README.md") {
        assert_eq!(
            table,
            reference().trim(),
            "put in `tailwater config --reference`"
        );
    }
}

#[test]
fn the_example_file_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tailwater.env.example");
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text, example_env(), "put in `tailwater config --example`");
}

#[test]
fn the_example_file_works_as_it_is() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, example_env().as_bytes()).unwrap();
    let loaded = Config::from_sources([], Some(file.path())).unwrap();
    assert_eq!(loaded.warnings, []);
}

#[test]
fn every_example_and_default_of_the_table_is_taken() {
    for variable in table::ALL {
        // Some stand only beside others.
        let beside: &[(&str, &str)] = match variable.name {
            "WATCH_DATABASES" | "STREAMS" => &[("MONGODB_URI", "mongodb://h")],
            "TOMBSTONES" => &[("KAFKA_DB_CHANGES_TOPIC", "all")],
            "FORMAT" => &[("KAFKA_TOPIC_PREFIX", "shop")],
            "SERIALIZATION" => &[
                ("SCHEMA_REGISTRY_URL", "http://localhost:8081"),
                ("SCHEMA_SUBJECT", "record"),
            ],
            "ON_RECORD_ERROR" => &[("KAFKA_DLQ_TOPIC", "dead")],
            _ => &[],
        };
        let impossible_here = matches!(
            variable.name,
            "RESUME_FILE"
                | "SCHEDULES_FILE"
                | "KAFKA_SSL_CA_LOCATION"
                | "ADMIN_TOKEN"
                | "FIELDS_MASK_SALT"
                | "WORKER_HANDLERS"
                | "WORKER_TLS_CA_FILE"
                | "SCHEMA_REGISTRY_CA_LOCATION"
        ) || variable.name.starts_with("KAFKA_SASL")
            || variable.name.starts_with("LIVE_JWT_SECRET")
            || variable.name == "KAFKA_SECURITY_PROTOCOL";
        for value in [Some(variable.example), variable.default_value()]
            .into_iter()
            .flatten()
        {
            if !impossible_here {
                config(&[beside, &[(variable.name, value)]].concat());
            }
        }
    }
}

#[test]
fn the_table_is_fit_to_be_read() {
    let mut names = std::collections::BTreeSet::new();
    for variable in table::ALL {
        assert!(names.insert(variable.name), "{} twice", variable.name);
        assert!(
            variable.doc.ends_with('.') && !variable.doc.contains('\n'),
            "{}",
            variable.name
        );
        assert!(!variable.example.is_empty(), "{}", variable.name);
    }
}

#[test]
fn what_is_in_force_is_shown_with_where_it_came_from() {
    let loaded = load(&[
        ("MONGODB_URI", "mongodb://user:hunter2@h/d"),
        ("KAFKA_DB_CHANGES_TOPIC", "all"),
        ("KAFKA_TOPIC_INSERT", "unused"),
        ("DEBUG", "true"),
        ("KAFKA_PROP_SSL_KEY_PASSWORD", "hunter2"),
        ("KAFKA_PROP_LINGER_MS", "3"),
    ]);
    let text = text(&loaded.unwrap().settings);
    let line = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name))
            .unwrap();
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("MONGODB_URI"), "mongodb://***@h/d [env]");
    assert_eq!(line("MONGODB_DATABASE"), "d [derived]");
    assert_eq!(line("STREAM_ID"), "tailwater:d [derived]");
    assert_eq!(line("KAFKA_TOPIC_INSERT"), "all [derived]");
    assert_eq!(line("LOG_LEVEL"), "debug [derived]");
    assert_eq!(line("BATCH_SIZE"), "50 [default]");
    assert_eq!(line("KAFKA_DLQ_TOPIC"), "(not set) [default]");
    assert_eq!(line("KAFKA_PROP_SSL_KEY_PASSWORD"), "*** [env]");
    assert_eq!(line("KAFKA_PROP_LINGER_MS"), "3 [env]");
}
