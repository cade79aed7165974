//! Variables for one stream alone: `FORMAT__ANALYTICS` is `FORMAT` for the stream `analytics`.

use super::env::Origin;
use super::table;
use super::variable::Variable;

/// What stands between a variable and the name of a stream. No variable has it in its name.
const SEPARATOR: &str = "__";

/// What a stream may have by itself: what its records are, and where they go.
pub(super) static VARIABLES: [&Variable; 37] = [
    &table::FULL_DOCUMENT,
    &table::FULL_DOCUMENT_BEFORE_CHANGE,
    &table::KAFKA_DB_CHANGES_TOPIC,
    &table::KAFKA_TOPIC_INSERT,
    &table::KAFKA_TOPIC_UPDATE,
    &table::KAFKA_TOPIC_REPLACE,
    &table::KAFKA_TOPIC_DELETE,
    &table::KAFKA_TOPIC_PREFIX,
    &table::KAFKA_TOPIC_SUFFIX,
    &table::KAFKA_TOPIC_SEPARATOR,
    &table::KAFKA_TOPIC_NAMESPACE_MAP,
    &table::KAFKA_TOPIC_DDL,
    &table::FORMAT,
    &table::JSON_MODE,
    &table::KEY_FORMAT,
    &table::TOMBSTONES,
    &table::TRANSACTION_METADATA,
    &table::DEBEZIUM_SCHEMAS,
    &table::DEBEZIUM_TRANSACTION_TOPIC,
    &table::MONGO_KAFKA_JSON,
    &table::MONGO_KAFKA_KEY,
    &table::MONGO_KAFKA_KEY_CONVERTER,
    &table::MONGO_KAFKA_KEY_SCHEMA,
    &table::MONGO_KAFKA_VALUE,
    &table::MONGO_KAFKA_VALUE_CONVERTER,
    &table::MONGO_KAFKA_VALUE_SCHEMA,
    &table::MONGO_KAFKA_FULL_DOCUMENT_ONLY,
    &table::CLOUDEVENTS_MODE,
    &table::TRACEPARENT_FIELD,
    &table::ENVELOPE_RENAME,
    &table::ENVELOPE_FIELDS,
    &table::EXTRA_HEADERS,
    &table::RECORD_TIMESTAMP,
    &table::SERIALIZATION,
    &table::SCHEMA_SUBJECT,
    &table::SCHEMA_ID_IN,
    &table::SCHEMA_AUTO_REGISTER,
];

/// A variable as it was given for one stream.
pub(super) struct OfStream {
    /// As it is written: `FORMAT__ANALYTICS`.
    pub name: String,
    pub variable: &'static Variable,
    /// The stream's [`label`].
    pub label: String,
    pub value: String,
    pub origin: Origin,
}

/// Whether a stream may have a value by itself.
pub(super) fn may_differ(variable: &Variable) -> bool {
    VARIABLES.iter().any(|known| known.name == variable.name)
}

/// How the name of a stream is written behind a variable: shells take no other characters.
pub(super) fn label(stream: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    stream.chars().map(plain).collect()
}

/// The name of a variable for one stream.
pub(super) fn written(variable: &Variable, stream: &str) -> String {
    format!("{}{SEPARATOR}{}", variable.name, label(stream))
}

/// The variable and the label in such a name; none where it begins with no variable.
pub(super) fn read(name: &str) -> Option<(&'static Variable, String)> {
    let (variable, stream) = name.split_once(SEPARATOR)?;
    let mut known = table::ALL.iter().copied();
    let known = known.find(|known| known.name == variable)?;
    Some((known, label(stream)))
}
