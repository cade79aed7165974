//! Wrong values: each gets its sentence, all at once.

use super::*;

#[test]
fn all_errors_are_told_at_once() {
    let errors = errors(&[
        ("MONGODB_URI", "mongodb://localhost:27017"),
        ("BATCH_SIZE", "fifty"),
        ("KAFKA_BROKERS", "localhost"),
        ("KAFKA_PROP_ACKS", "1"),
    ]);
    for expected in [
        "the configuration has 4 errors:",
        "MONGODB_URI=mongodb://localhost:27017: names no database",
        "BATCH_SIZE=fifty: is no whole number; give a whole number from 1 to 100000",
        "KAFKA_BROKERS=localhost: a broker has no port",
        "KAFKA_PROP_ACKS=1: acks is not open to change",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn both_topic_styles_are_warned_of_and_the_one_topic_wins() {
    let both = [
        ("KAFKA_DB_CHANGES_TOPIC", "all"),
        ("KAFKA_TOPIC_INSERT", "inserts"),
    ];
    let warnings = warnings(&both);
    assert!(
        warnings.contains("KAFKA_DB_CHANGES_TOPIC: takes all operations"),
        "{warnings}"
    );
    assert!(warnings.contains("KAFKA_TOPIC_INSERT"), "{warnings}");
    assert_eq!(config(&both).kafka.topics.insert, "all");
}
