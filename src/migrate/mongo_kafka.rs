//! Properties of MongoDB's source connector 2.0.

pub(super) mod records;

use super::plan::Reading;
use super::{Connector, uri};
use crate::config::{MongoKafkaJson, NamespaceMap, table};
use serde_json::{Value, json};

const PACKAGE: &str = "com.mongodb.kafka.connect.source.json.formatter.";
const FORMATTERS: [MongoKafkaJson; 3] = [
    MongoKafkaJson::Default,
    MongoKafkaJson::Extended,
    MongoKafkaJson::Simplified,
];

/// The connector's formatter, without its package, and what `MONGO_KAFKA_JSON` calls it.
fn names(json: MongoKafkaJson) -> (&'static str, &'static str) {
    match json {
        MongoKafkaJson::Default => ("DefaultJson", "default"),
        MongoKafkaJson::Extended => ("ExtendedJson", "extended"),
        MongoKafkaJson::Simplified => ("SimplifiedJson", "simplified"),
    }
}

/// The class of a formatter.
pub(super) fn formatter(json: MongoKafkaJson) -> String {
    format!("{PACKAGE}{}", names(json).0)
}

const NONE: &[(&str, &str)] = &[
    ("batch.size", "the batch size follows SOURCE_BATCH_BYTES"),
    (
        "poll.max.batch.size",
        "batches follow BATCH_SIZE and BATCH_TIMEOUT_MS",
    ),
    (
        "poll.await.time.ms",
        "the server answers as soon as there is a change",
    ),
    (
        "heartbeat.*",
        "an idle stream moves its checkpoint by itself; nothing is written to a heartbeat topic",
    ),
    (
        "startup.mode.copy.existing.*",
        "the copy is behind you; SNAPSHOT_* are for new ones",
    ),
    (
        "copy.existing*",
        "the copy is behind you; SNAPSHOT_* are for new ones",
    ),
    ("offset.partition.name", "the checkpoint is under STREAM_ID"),
    ("provider", "tells MongoDB's log who embeds the connector"),
];

pub(super) fn partition(connector: &Connector) -> Result<Value, String> {
    if let Some(name) = connector.get("offset.partition.name") {
        return Ok(json!({ "ns": name }));
    }
    let uri = connector
        .get("connection.uri")
        .unwrap_or("mongodb://localhost:27017,localhost:27018,localhost:27019");
    if uri.contains("${") {
        return Err("connection.uri is looked up by a config provider, and the connector's offset is named after it; write the hosts into the file".into());
    }
    let hosts = uri::hosts(uri).ok_or("connection.uri is no URI of MongoDB")?;
    let mut ns = format!("{hosts}/{}", connector.get("database").unwrap_or_default());
    if let Some(collection) = connector.get("collection") {
        ns += &format!(".{collection}");
    }
    Ok(json!({ "ns": ns }))
}

pub(super) fn translate(reading: &mut Reading<'_>) {
    let database = reading.get("database");
    let uri = reading.get("connection.uri");
    if let Some(uri) = uri {
        let uri = match database {
            Some(_) => uri.to_owned(),
            None => uri::without_path(uri),
        };
        reading.take("connection.uri", &table::MONGODB_URI, uri);
    }
    match database {
        Some(database) => reading.take("database", &table::MONGODB_DATABASE, database),
        None => reading.set(&table::WATCH_DATABASES, "*"),
    }
    reading.take_as_is("collection", &table::WATCH_COLLECTIONS);
    for (property, variable) in [
        ("topic.prefix", &table::KAFKA_TOPIC_PREFIX),
        ("topic.suffix", &table::KAFKA_TOPIC_SUFFIX),
        ("topic.separator", &table::KAFKA_TOPIC_SEPARATOR),
        ("pipeline", &table::CHANGE_STREAM_PIPELINE),
        (
            "change.stream.show.expanded.events",
            &table::SHOW_EXPANDED_EVENTS,
        ),
    ] {
        reading.take_as_is(property, variable);
    }
    if let Some(map) = reading.get("topic.namespace.map") {
        match NamespaceMap::parse(map, ".") {
            Ok(_) => reading.take(
                "topic.namespace.map",
                &table::KAFKA_TOPIC_NAMESPACE_MAP,
                map,
            ),
            Err(problem) => reading.decide(
                "topic.namespace.map",
                format!("KAFKA_TOPIC_NAMESPACE_MAP: {problem}; KAFKA_DB_CHANGES_TOPIC names another pattern, and STREAMS makes streams of their own"),
            ),
        }
    }
    images(reading);
    output(reading);
    startup(reading);
    for (property, sentence) in [
        (
            "topic.mapper",
            "topics are prefix.database.collection.suffix; no class is run",
        ),
        (
            "collation",
            "the change stream has no collation; $match in CHANGE_STREAM_PIPELINE compares bytes",
        ),
    ] {
        match reading.get(property) {
            None => {}
            Some("com.mongodb.kafka.connect.source.topic.mapping.DefaultTopicMapper") => {
                reading.taken(property, "as Tailwater does")
            }
            Some(_) => reading.decide(property, sentence),
        }
    }
    for property in [
        reading.rest_of("connection.ssl."),
        reading.rest_of("server.api."),
        reading.rest_of("mongo.custom."),
    ]
    .concat()
    {
        match reading.get(&property) {
            None | Some("false") => reading.taken(&property, "the default, as here"),
            Some(_) => reading.decide(&property, "write what you need of it into MONGODB_URI: tlsCAFile and tlsCertificateKeyFile in the place of Java's stores"),
        }
    }
    reading.without(NONE);
}

fn images(reading: &mut Reading<'_>) {
    let documents_alone = reading.get("publish.full.document.only") == Some("true");
    if let Some(value) = reading.get("publish.full.document.only") {
        reading.take(
            "publish.full.document.only",
            &table::MONGO_KAFKA_FULL_DOCUMENT_ONLY,
            value,
        );
    }
    if let Some(value) = reading.get("publish.full.document.only.tombstone.on.delete") {
        match documents_alone {
            true => reading.take(
                "publish.full.document.only.tombstone.on.delete",
                &table::TOMBSTONES,
                value,
            ),
            false => reading.taken(
                "publish.full.document.only.tombstone.on.delete",
                "has no effect without publish.full.document.only",
            ),
        }
    }
    let asked = reading.get("change.stream.full.document");
    // The connector asks for lookups by itself where it publishes documents alone.
    let document = match (documents_alone, asked) {
        (true, _) => "updateLookup",
        (false, asked) => asked.unwrap_or("default"),
    };
    match asked {
        Some(_) => reading.take(
            "change.stream.full.document",
            &table::FULL_DOCUMENT,
            document,
        ),
        None => reading.set(&table::FULL_DOCUMENT, document),
    }
    match reading.get("change.stream.full.document.before.change") {
        None => {}
        Some("default" | "off") => reading.taken(
            "change.stream.full.document.before.change",
            "FULL_DOCUMENT_BEFORE_CHANGE=off",
        ),
        Some(value) => reading.take(
            "change.stream.full.document.before.change",
            &table::FULL_DOCUMENT_BEFORE_CHANGE,
            value,
        ),
    }
    match reading.get("change.stream.document.key.as.key") {
        None => {}
        Some("true") => reading.taken("change.stream.document.key.as.key", "the key is the documentKey"),
        Some(_) => reading.decide("change.stream.document.key.as.key", "the key is the documentKey and never the resume token, which keeps no order of a document"),
    }
}

fn output(reading: &mut Reading<'_>) {
    records::translate(reading);
    let formatter = reading.get("output.json.formatter").map(|class| {
        let name = class.trim_start_matches(PACKAGE);
        FORMATTERS
            .map(names)
            .into_iter()
            .find(|(known, _)| *known == name)
    });
    match formatter {
        None => {}
        Some(Some((_, here))) => {
            reading.take("output.json.formatter", &table::MONGO_KAFKA_JSON, here);
        }
        Some(None) => reading.decide(
            "output.json.formatter",
            "MONGO_KAFKA_JSON has the connector's own three formatters",
        ),
    }
}

fn startup(reading: &mut Reading<'_>) {
    match reading.get("startup.mode") {
        None => {}
        Some(_) => reading.taken(
            "startup.mode",
            "the stream goes on where the connector stopped",
        ),
    }
    for property in reading.rest_of("startup.mode.timestamp.") {
        reading.taken(&property, "the stream goes on where the connector stopped");
    }
}

#[cfg(test)]
mod tests {
    use crate::migrate::{Connector, Incumbent, Verdict};
    use serde_json::json;

    #[test]
    fn a_map_of_topics_is_taken_where_its_expressions_are_known() {
        for (map, verdict) in [
            (
                r#"{"shop.orders":"orders","/shop\\..*":"{db}{sep_coll}","*":"rest"}"#,
                Verdict::Taken,
            ),
            (r#"{"/(?!shop).*":"others"}"#, Verdict::Decision),
            ("orders", Verdict::Decision),
        ] {
            let connector = json!({"name": "c", "topic.namespace.map": map}).to_string();
            let plan = Incumbent::MongoKafka.plan(&Connector::read(&connector).unwrap());
            let notes = plan.notes.iter();
            let note = notes
                .filter(|note| note.property == "topic.namespace.map")
                .collect::<Vec<_>>();
            assert_eq!(note.len(), 1);
            assert_eq!(note[0].verdict, verdict, "{}", note[0].sentence);
            let taken = plan
                .variables
                .iter()
                .find(|(name, _)| *name == "KAFKA_TOPIC_NAMESPACE_MAP");
            assert_eq!(
                taken.map(|(_, value)| value.as_str()),
                (verdict == Verdict::Taken).then_some(map)
            );
        }
    }
}
