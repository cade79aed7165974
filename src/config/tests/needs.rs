//! What a command takes from an environment that is not whole.

use super::*;

fn environment(vars: &[(&str, &str)]) -> Environment {
    let vars = vars
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Environment::read(vars, None)
}

fn stream(vars: &[(&str, &str)]) -> Option<String> {
    Endpoint::read(&environment(vars)).unwrap().streams.pop()
}

#[test]
fn the_stream_is_told_where_what_it_follows_from_is_right() {
    let uri = ("MONGODB_URI", "mongodb://h/shop");
    assert_eq!(stream(&[]), None);
    assert_eq!(stream(&[uri]).as_deref(), Some("tailwater:shop"));
    let named = ("KAFKA_CLIENT_ID", "watcher");
    let rest = ("BATCH_SIZE", "fifty");
    assert_eq!(stream(&[uri, named, rest]).as_deref(), Some("watcher:shop"));
    let id = ("STREAM_ID", "mine");
    assert_eq!(stream(&[id]).as_deref(), Some("mine"));
    for wrong in [
        &[("MONGODB_URI", "mongodb://h")][..],
        &[uri, ("KAFKA_CLIENT_ID", "two words")],
        &[uri, ("STREAM_ID", "two words")],
    ] {
        assert_eq!(stream(wrong), None, "{wrong:?}");
    }
    let all = config(&[("STREAM_ID", "mine")]);
    assert_eq!(Endpoint::of(&all).streams, ["mine"]);
    assert_eq!(
        Some(config(&[named]).streams[0].id.clone()),
        stream(&[REQUIRED[0], named]),
        "as a run has it"
    );
}

#[test]
fn a_look_at_the_stream_needs_nothing_of_kafka_and_checkpoints() {
    let look = |vars: &[(&str, &str)]| Config::build(&environment(vars), Needs::Source);
    let vars = [
        REQUIRED[0],
        ("KAFKA_BROKERS", "localhost"),
        ("KAFKA_PROP_ACKS", "1"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
        ("KAFKA_SASL_PASSWORD_FILE", "/no/such/file"),
        ("ON_RECORD_ERROR", "dlq"),
        ("RESUME_STORE", "file"),
        ("RESUME_FILE", "/no/such/folder/file"),
        ("BATCH_SIZE", "fifty"),
        ("HTTP_ADDR", "3001"),
    ];
    assert!(look(&vars).is_ok(), "{:?}", look(&vars).err());
    let errors = look(&[
        ("WATCH_OPERATIONS", "truncate"),
        ("JSON_MODE", "yaml"),
        ("LOG_LEVEL", "loud"),
        ("BATCH_SIZE", "fifty"),
    ]);
    let errors = errors.unwrap_err().to_string();
    assert!(errors.contains("4 errors"), "{errors}");
    for variable in ["MONGODB_URI", "WATCH_OPERATIONS", "JSON_MODE", "LOG_LEVEL"] {
        assert!(errors.contains(variable), "{errors}");
    }
    let secret = [("MONGODB_URI_FILE", "/no/such/file")];
    let errors = look(&secret).unwrap_err().to_string();
    assert!(errors.contains("MONGODB_URI_FILE"), "{errors}");
}
