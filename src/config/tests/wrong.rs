//! Wrong values: each gets its sentence, all at once.

use super::values::WRONG;
use super::*;

#[test]
fn every_wrong_value_gets_its_sentence() {
    for &(variable, beside, value, right) in WRONG {
        let errors = errors(&[beside, &[(variable, value)]].concat());
        let known = table::ALL.iter().find(|known| known.name == variable);
        let shown = known.map_or(value.to_owned(), |known| shown::shown(known, value));
        let line = match known.is_some_and(|known| !known.is_secret()) && shown == "***" {
            // A path that leads nowhere.
            true => format!("\n  {variable}: "),
            false => format!("\n  {variable}={shown}: "),
        };
        let sentence = errors
            .lines()
            .find(|l| l.starts_with(line.trim_start_matches('\n')));
        assert!(
            sentence.is_some_and(|sentence| sentence.contains(right)),
            "{variable}={value} should say {right:?}:\n{errors}"
        );
    }
}

#[test]
fn every_variable_has_a_wrong_value_among_these() {
    for variable in table::ALL {
        assert!(
            // Any value of DEBUG is taken: it may be another program's.
            variable.name == "DEBUG" || WRONG.iter().any(|(name, ..)| *name == variable.name),
            "{}",
            variable.name
        );
    }
}

#[test]
fn both_bounds_of_a_number_are_allowed_and_what_is_beyond_is_not() {
    let with = |name: &'static str, value: u64| {
        let mut vars = vec![("MAX_IN_FLIGHT_BYTES", "64GiB".to_owned())];
        vars.push(("RESUME_STORE", "mongodb".to_owned()));
        vars.push((name, value.to_string()));
        let vars: Vec<_> = vars
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        load(&vars).err().map(|errors| errors.to_string())
    };
    for variable in table::ALL {
        let (Form::Number { min, max, .. } | Form::Bytes { min, max }) = variable.form else {
            continue;
        };
        assert_eq!(with(variable.name, min), None);
        assert_eq!(with(variable.name, max), None);
        let above = with(variable.name, max + 1);
        assert!(
            above.is_some_and(|e| e.contains("is too large")),
            "{}",
            variable.name
        );
        let below = min
            .checked_sub(1)
            .map(|below| with(variable.name, below).unwrap());
        assert!(
            below.is_none_or(|e| e.contains("is too small")),
            "{}",
            variable.name
        );
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let errors = errors(&[
        ("MONGODB_URI", "mongodb://localhost:27017"),
        ("BATCH_SIZE", "fifty"),
        ("KAFKA_BROKERS", "localhost"),
        ("KAFKA_PROP_ACKS", "1"),
        ("BATCH_SZIE", "50"),
    ]);
    for expected in [
        "the configuration has 4 errors:",
        "\n  MONGODB_URI=mongodb://localhost:27017: names no database",
        "\n  BATCH_SIZE=fifty: is no whole number; give a whole number from 1 to 100000",
        "\n  KAFKA_BROKERS=localhost: a broker has no port",
        "\n  KAFKA_PROP_ACKS=1: acks is not open to change",
        "\n  warning: BATCH_SZIE: is not read; did you mean BATCH_SIZE?",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn what_must_be_set_and_is_not_gets_its_sentence_with_an_example() {
    let errors = Config::from_vars([("RESUME_STORE", "kafka")]).unwrap_err();
    let names: Vec<_> = errors
        .problems
        .iter()
        .map(|p| p.variable.as_str())
        .collect();
    assert_eq!(names, ["MONGODB_URI", "KAFKA_BROKERS"]);
    let text = errors.to_string();
    assert!(text.contains("MONGODB_URI: is not set; give a MongoDB connection string, such as mongodb://localhost:27017/dashboard"), "{text}");
    assert!(text.contains("KAFKA_BROKERS: is not set"), "{text}");
    let error = crate::error::Error::from(errors);
    assert_eq!(error.code, crate::error::Code::Config);

    let errors = super::errors(&[("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")]);
    for name in [
        "KAFKA_SASL_MECHANISM",
        "KAFKA_SASL_USERNAME",
        "KAFKA_SASL_PASSWORD",
    ] {
        assert!(
            errors.contains(&format!("{name}: is not set, and KAFKA_SECURITY_PROTOCOL")),
            "{errors}"
        );
    }
}

#[test]
fn topics_that_kafka_cannot_tell_apart_are_found_where_collections_are_named() {
    let errors = errors(&[
        ("KAFKA_DB_CHANGES_TOPIC", "{database}.{collection}"),
        ("WATCH_COLLECTIONS", "audit.log,audit_log"),
    ]);
    assert!(
        errors.contains("gives dashboard.audit_log beside dashboard.audit.log"),
        "{errors}"
    );
    config(&[
        ("KAFKA_DB_CHANGES_TOPIC", "{database}.{collection}"),
        ("WATCH_COLLECTIONS", "audit.log,audit.trail"),
    ]);
}

#[test]
fn long_or_multi_line_values_are_cut_and_kept_on_one_line() {
    let long = format!("a\n{}", "b".repeat(500));
    let errors = errors(&[
        ("LOG_FORMAT", &long),
        ("START_AT", "token:82ABCDEF0123SECRETKEY"),
    ]);
    assert!(errors.contains("LOG_FORMAT=a\\nbbb"), "{errors}");
    assert!(
        !errors.contains(&"b".repeat(200)) && errors.contains("b…: "),
        "{errors}"
    );
    assert!(!errors.contains("SECRETKEY"), "{errors}");
}

#[test]
fn what_is_odd_but_harmless_is_warned_of() {
    for (vars, expected) in [
        (
            &[
                ("KAFKA_DB_CHANGES_TOPIC", "all"),
                ("KAFKA_TOPIC_INSERT", "x"),
            ][..],
            "KAFKA_DB_CHANGES_TOPIC: takes all operations; without effect: KAFKA_TOPIC_INSERT",
        ),
        (
            &[("RESUME_FILE", "x")],
            "RESUME_FILE: has no effect without RESUME_STORE=file",
        ),
        (
            &[("RESUME_STORE", "file"), ("RESUME_TOPIC", "x")],
            "RESUME_TOPIC: has no effect without RESUME_STORE=kafka",
        ),
        (
            &[("KAFKA_DLQ_TOPIC", "dead")],
            "KAFKA_DLQ_TOPIC: has no effect without ON_RECORD_ERROR=dlq",
        ),
        (
            &[
                ("KAFKA_CREATE_TOPICS", "false"),
                ("KAFKA_TOPIC_PARTITIONS", "3"),
            ],
            "KAFKA_TOPIC_PARTITIONS: has no effect",
        ),
        (
            &[("WATCH_COLLECTIONS", "a,b"), ("EXCLUDE_COLLECTIONS", "b")],
            "WATCH_COLLECTIONS: b is excluded",
        ),
        (
            &[("WATCH_COLLECTIONS", "dashboard.users")],
            "names go without it",
        ),
        (
            &[("START_AT", "2100-01-01T00:00:00Z")],
            "START_AT: is in the future",
        ),
        (
            &[
                ("MONGODB_URI", "mongodb://h"),
                ("WATCH_DATABASES", "a,b"),
                ("WATCH_COLLECTIONS", "a.x,c.x"),
            ],
            "c.x is in none of WATCH_DATABASES",
        ),
        (
            &[
                ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
                ("KAFKA_SASL_MECHANISM", "PLAIN"),
                ("KAFKA_SASL_USERNAME", "u"),
                ("KAFKA_SASL_PASSWORD", "p"),
            ],
            "sends the password in clear",
        ),
        (
            &[("KAFKA_BROKER", "x")],
            "KAFKA_BROKER: is not read; did you mean KAFKA_BROKERS?",
        ),
        (&[("RESUME_FOLDER", "x")], "RESUME_FOLDER: is not read"),
    ] {
        let warnings = warnings(vars);
        assert!(warnings.contains(expected), "{vars:?}: {warnings}");
    }
    assert_eq!(
        config(&[
            ("KAFKA_DB_CHANGES_TOPIC", "all"),
            ("KAFKA_TOPIC_INSERT", "x")
        ])
        .streams[0]
            .sink
            .topics
            .insert,
        "all"
    );
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf_8_is_told_where_it_is_ours_and_left_alone_where_not() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![b'a', 0xff]);
    let vars = |name: &str| {
        let required = REQUIRED.map(|(name, value)| (name.into(), value.into()));
        required
            .into_iter()
            .chain([(OsString::from(name), bytes())])
    };
    let errors = Config::from_sources(vars("BATCH_SIZE"), None)
        .unwrap_err()
        .to_string();
    assert!(
        errors.contains("BATCH_SIZE: is not valid UTF-8"),
        "{errors}"
    );
    assert!(Config::from_sources(vars("LS_COLORS"), None).is_ok());
}
