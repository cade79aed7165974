//! Properties of Debezium's connector for MongoDB 3.5.

use super::plan::Reading;
use super::{Connector, connect, globs};
use crate::config::table;
use serde_json::{Value, json};

const JSON_CONVERTER: &str = "org.apache.kafka.connect.json.JsonConverter";

const NONE: &[(&str, &str)] = &[
    (
        "max.batch.size",
        "batches follow BATCH_SIZE and BATCH_TIMEOUT_MS",
    ),
    ("max.queue.size*", "MAX_IN_FLIGHT_BYTES bounds the memory"),
    ("poll.interval.ms", "records are sent as they are read"),
    (
        "executor.shutdown.timeout.ms",
        "SHUTDOWN_TIMEOUT_MS bounds a stop",
    ),
    (
        "query.fetch.size",
        "the batch size follows SOURCE_BATCH_BYTES",
    ),
    (
        "cursor.max.await.time.ms",
        "the server answers as soon as there is a change",
    ),
    (
        "mongodb.poll.interval.ms",
        "the driver follows the replica set by itself",
    ),
    (
        "mongodb.connect.timeout.ms",
        "write connectTimeoutMS into the URI where the default is not enough",
    ),
    (
        "mongodb.socket.timeout.ms",
        "write socketTimeoutMS into the URI where you need it",
    ),
    (
        "mongodb.server.selection.timeout.ms",
        "write serverSelectionTimeoutMS into the URI where you need it",
    ),
    (
        "mongodb.heartbeat.frequency.ms",
        "write heartbeatFrequencyMS into the URI where you need it",
    ),
    (
        "mongodb.multi.task.*",
        "a stream has one task; STREAMS makes several of several databases",
    ),
    ("multi.partition.mode", "a stream has one checkpoint"),
    ("mongodb.task.id", "set by the connector for its tasks"),
    ("task.id", "set by the connector for its tasks"),
    (
        "heartbeat.*",
        "an idle stream moves its checkpoint by itself; nothing is written to a heartbeat topic",
    ),
    (
        "signal.*",
        "`tailwater snapshot start` takes the place of signals",
    ),
    (
        "incremental.snapshot.*",
        "snapshots are always incremental; SNAPSHOT_CHUNK_BYTES sizes their queries",
    ),
    (
        "notification.*",
        "`/api/snapshots`, the log and the metrics tell what becomes of a snapshot",
    ),
    ("snapshot.delay.ms", "the start is not delayed"),
    ("streaming.delay.ms", "the start is not delayed"),
    (
        "snapshot.fetch.size",
        "SNAPSHOT_CHUNK_BYTES sizes the queries",
    ),
    (
        "snapshot.max.threads.multiplier",
        "SNAPSHOT_PARALLELISM says how many queries run",
    ),
    (
        "legacy.snapshot.max.threads",
        "SNAPSHOT_PARALLELISM says how many queries run",
    ),
    ("snapshot.locking.*", "nothing is locked"),
    (
        "snapshot.query.*",
        "SNAPSHOT_FILTER says which documents are copied",
    ),
    (
        "snapshot.tables.order.by.row.count",
        "collections are copied beside each other",
    ),
    (
        "topic.cache.size",
        "topics are kept for as long as they are used",
    ),
    (
        "retriable.restart.connector.wait.ms",
        "RECONNECT_DELAY_MS is the first wait; it doubles up to 30 s",
    ),
    (
        "custom.retriable.exception",
        "which errors pass is decided by their code",
    ),
    ("advanced.metrics.enable", "`/metrics` has all figures"),
    (
        "connection.validation.timeout.ms",
        "`tailwater check` validates",
    ),
    (
        "log.position.check.enable",
        "whether the oplog holds the position is always checked",
    ),
    (
        "guardrail.*",
        "there is no limit on the number of collections",
    ),
    ("mongodb.allow.offset.invalidation", "see ON_HISTORY_LOST"),
    ("internal.*", "internal to the connector"),
    (
        "event.converting.failure.handling.mode",
        "ON_RECORD_ERROR says what becomes of a record that cannot be written",
    ),
    (
        "skip.messages.without.change",
        "for relational databases only",
    ),
    (
        "binary.handling.mode",
        "for relational databases only: documents are Extended JSON",
    ),
    ("include.schema.changes", "for relational databases only"),
    (
        "datatype.propagate.source.type",
        "for relational databases only",
    ),
    (
        "transaction.metadata.factory",
        "there is no transaction metadata",
    ),
    ("topic.transaction", "there is no transaction metadata"),
];

pub(super) fn partition(connector: &Connector) -> Result<Value, String> {
    let prefix = connector.get("topic.prefix");
    let prefix = prefix
        .ok_or("the configuration has no topic.prefix, which names the connector's offset")?;
    Ok(json!({ "server_id": prefix }))
}

pub(super) fn translate(reading: &mut Reading<'_>) {
    reading.take_as_is("topic.prefix", &table::KAFKA_TOPIC_PREFIX);
    source(reading);
    converters(reading);
    capture(reading);
    snapshots(reading);
    failures(reading);
    same(
        reading,
        &[
            (
                "topic.delimiter",
                ".",
                "topics have a dot between their parts",
            ),
            (
                "topic.naming.strategy",
                "io.debezium.schema.DefaultTopicNamingStrategy",
                "topics are prefix.database.collection",
            ),
            (
                "schema.name.adjustment.mode",
                "none",
                "names in schemas are not adjusted",
            ),
            (
                "field.name.adjustment.mode",
                "none",
                "names of fields are not adjusted",
            ),
            (
                "sanitize.field.names",
                "false",
                "names of fields are not adjusted",
            ),
            (
                "extended.headers.enabled",
                "true",
                "records have the headers __debezium.context.*",
            ),
            (
                "provide.transaction.metadata",
                "false",
                "`transaction` is always null, and there is no topic of transactions",
            ),
            (
                "mongodb.authentication.class",
                "io.debezium.connector.mongodb.connection.DefaultMongoDbAuthProvider",
                "credentials are those of the URI",
            ),
            (
                "sourceinfo.struct.maker",
                "io.debezium.connector.mongodb.MongoDbSourceInfoStructMaker",
                "`source` is as the connector has it",
            ),
        ],
    );
    for (property, sentence) in [
        (
            "field.exclude.list",
            "fields are not left out; give CHANGE_STREAM_PIPELINE an $unset or $project for the documents",
        ),
        (
            "field.renames",
            "fields are not renamed; CHANGE_STREAM_PIPELINE can rename them in the documents",
        ),
        ("converters", "Tailwater runs no converters of Debezium"),
        (
            "post.processors",
            "Tailwater runs no post processors of Debezium",
        ),
        (
            "custom.sanitize.pattern",
            "names of topics are sanitized as Debezium's default does",
        ),
        (
            "capture.start.op.time",
            "a stream without a checkpoint begins at START_AT",
        ),
    ] {
        if reading.get(property).is_some() {
            reading.decide(property, sentence);
        }
    }
    reading.without(NONE);
}

/// Properties that only have to be what Tailwater does.
fn same(reading: &mut Reading<'_>, list: &[(&str, &str, &str)]) {
    for (property, ours, what) in list {
        match reading.get(property) {
            None => {}
            Some(value) if value.eq_ignore_ascii_case(ours) => {
                reading.taken(property, "as Tailwater does")
            }
            Some(_) => reading.decide(
                property,
                format!("{what}, as with its default {ours}, and nothing changes that"),
            ),
        }
    }
}

fn source(reading: &mut Reading<'_>) {
    let mut uri = reading.get("mongodb.connection.string").map(str::to_owned);
    let user = reading.get("mongodb.user");
    let password = reading.get("mongodb.password");
    let has_credentials = user.is_some() && password.is_some();
    if let (Some(given), Some(user), Some(password)) = (&uri, user, password) {
        let authority = format!("{}:{}@", encoded(user), encoded(password));
        uri = Some(match given.split_once("://") {
            Some((scheme, rest)) if !rest.split('/').next().unwrap_or_default().contains('@') => {
                format!("{scheme}://{authority}{rest}")
            }
            _ => given.clone(),
        });
    }
    for property in ["mongodb.user", "mongodb.password"] {
        match reading.peek(property) {
            Some(_) if has_credentials => reading.taken(property, "MONGODB_URI"),
            Some(value) if !value.contains("${") => reading.decide(
                property,
                "the other half is missing; put both into MONGODB_URI",
            ),
            _ => {}
        }
    }
    let mut options = Vec::new();
    if let Some(database) = reading.get("mongodb.authsource") {
        options.push(format!("authSource={}", encoded(database)));
        reading.taken("mongodb.authsource", "authSource in MONGODB_URI");
    } else if has_credentials {
        options.push("authSource=admin".to_owned());
    }
    if let Some(enabled) = reading.get("mongodb.ssl.enabled") {
        if enabled == "true" {
            options.push("tls=true".to_owned());
        }
        reading.taken("mongodb.ssl.enabled", "tls in MONGODB_URI");
    }
    if reading
        .get("mongodb.ssl.invalid.hostname.allowed")
        .is_some_and(|it| it == "true")
    {
        options.push("tlsAllowInvalidHostnames=true".to_owned());
        reading.taken(
            "mongodb.ssl.invalid.hostname.allowed",
            "tlsAllowInvalidHostnames in MONGODB_URI",
        );
    }
    for property in reading.rest_of("mongodb.ssl.") {
        match property.as_str() {
            "mongodb.ssl.invalid.hostname.allowed" => reading.taken(&property, "the default, as here"),
            _ => reading.decide(&property, "Java's stores of keys are not read; convert it to PEM, and give tlsCAFile and tlsCertificateKeyFile in MONGODB_URI"),
        }
    }
    let uri = uri.map(|uri| with_options(&uri, &options));
    let names = names(reading);
    let Some(uri) = uri else { return };
    let uri = match names.is_one_database {
        true => uri,
        false => connect::without_path(&uri),
    };
    reading.take("mongodb.connection.string", &table::MONGODB_URI, uri);
}

/// Adds options that the URI does not have.
fn with_options(uri: &str, options: &[String]) -> String {
    let mut uri = uri.to_owned();
    for option in options {
        let name = option.split('=').next().unwrap_or_default();
        if uri
            .to_ascii_lowercase()
            .contains(&format!("{}=", name.to_ascii_lowercase()))
        {
            continue;
        }
        let has_path = uri
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/'));
        uri = match (uri.contains('?'), has_path) {
            (true, _) => format!("{uri}&{option}"),
            (false, true) => format!("{uri}?{option}"),
            (false, false) => format!("{uri}/?{option}"),
        };
    }
    uri
}

/// As a URI holds it.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

struct Names {
    is_one_database: bool,
}

/// Which databases and collections.
fn names(reading: &mut Reading<'_>) -> Names {
    let is_literal = reading.get("filters.match.mode") == Some("literal");
    if reading.peek("filters.match.mode").is_some() {
        reading.taken(
            "filters.match.mode",
            "WATCH_* and EXCLUDE_* are names with *",
        );
    }
    let mut list = |property: &str| -> Option<Vec<String>> {
        match globs::of_list(reading.get(property)?, is_literal) {
            Ok(globs) => {
                reading.taken(property, "names to watch or to leave out");
                Some(globs)
            }
            Err(_) => {
                reading.decide(property, "an expression of it is more than names with *; list the names in WATCH_DATABASES, WATCH_COLLECTIONS or EXCLUDE_COLLECTIONS, or give CHANGE_STREAM_PIPELINE a $match with $regex");
                None
            }
        }
    };
    let mut databases = list("database.include.list");
    let left_out = list("database.exclude.list").unwrap_or_default();
    let collections = list("collection.include.list").unwrap_or_default();
    let mut excluded = list("collection.exclude.list").unwrap_or_default();
    let scope = reading.get("capture.scope").unwrap_or("deployment");
    let target = reading.get("capture.target");
    match (scope, target) {
        ("deployment", _) => {}
        ("database", Some(database)) => databases = Some(vec![database.to_owned()]),
        _ => {}
    }
    for property in ["capture.scope", "capture.target"] {
        if reading.peek(property).is_some() {
            match scope {
                "deployment" | "database" => reading.taken(property, "MONGODB_DATABASE or WATCH_DATABASES"),
                _ => reading.decide(property, "name the collection in WATCH_COLLECTIONS, and its database in MONGODB_DATABASE"),
            }
        }
    }
    let databases = databases.unwrap_or_else(|| {
        let mut all: Vec<_> = collections
            .iter()
            .filter_map(|name| {
                name.split_once('.')
                    .map(|(database, _)| database.to_owned())
            })
            .collect();
        all.sort();
        all.dedup();
        match all.is_empty() {
            true => vec!["*".to_owned()],
            false => all,
        }
    });
    excluded.extend(left_out.iter().map(|database| format!("{database}.*")));
    let one = match databases.as_slice() {
        [one] if !one.contains('*') => Some(one.clone()),
        _ => None,
    };
    let Some(one) = one else {
        reading.set(&table::WATCH_DATABASES, databases.join(","));
        set_list(reading, &table::WATCH_COLLECTIONS, collections);
        set_list(reading, &table::EXCLUDE_COLLECTIONS, excluded);
        return Names {
            is_one_database: false,
        };
    };
    let within = |names: Vec<String>| -> Vec<String> {
        let own = names.into_iter().filter_map(|name| {
            let (database, collection) = name.split_once('.')?;
            crate::config::covers(database, &one).then(|| collection.to_owned())
        });
        own.collect()
    };
    reading.set(&table::MONGODB_DATABASE, one.clone());
    let watched = within(collections);
    match watched.iter().any(|name| name == "*") {
        true => {}
        false => set_list(reading, &table::WATCH_COLLECTIONS, watched),
    }
    set_list(reading, &table::EXCLUDE_COLLECTIONS, within(excluded));
    Names {
        is_one_database: true,
    }
}

fn set_list(
    reading: &mut Reading<'_>,
    variable: &'static crate::config::Variable,
    names: Vec<String>,
) {
    if !names.is_empty() {
        reading.set(variable, names.join(","));
    }
}

/// Key and value as JSON, both with or both without schemas.
fn converters(reading: &mut Reading<'_>) {
    let mut schemas = Vec::new();
    for half in ["key", "value"] {
        let (property, enable) = (
            format!("{half}.converter"),
            format!("{half}.converter.schemas.enable"),
        );
        let enabled = reading.get(&enable).unwrap_or("true") == "true";
        match reading.get(&property) {
            Some(JSON_CONVERTER) => {
                schemas.push(enabled);
                reading.taken(&property, "JSON");
            }
            Some(_) => reading.decide(&property, "records are JSON as of JsonConverter; consumers of another converter cannot read them"),
            None => reading.decide(&property, "the worker's converter counts; give its file as --worker, or set DEBEZIUM_SCHEMAS=true where it is JsonConverter with schemas.enable=true"),
        }
        if reading.peek(&enable).is_some() {
            reading.taken(&enable, "DEBEZIUM_SCHEMAS");
        }
    }
    match schemas.as_slice() {
        [key, value] if key == value => reading.set(&table::DEBEZIUM_SCHEMAS, key.to_string()),
        [_, _] => reading.decide(
            "key.converter.schemas.enable",
            "key and value differ; DEBEZIUM_SCHEMAS is one for both",
        ),
        _ => {}
    }
    for half in ["key", "value"] {
        reading.without(&[(&*format!("{half}.converter.*"), "belongs to the converter")]);
    }
}

/// What the change stream is asked for.
fn capture(reading: &mut Reading<'_>) {
    let by_post_image = reading.get("capture.mode.full.update.type") == Some("post_image");
    if reading.peek("capture.mode.full.update.type").is_some() {
        reading.taken("capture.mode.full.update.type", "FULL_DOCUMENT");
    }
    let mode = reading
        .get("capture.mode")
        .unwrap_or("change_streams_update_full");
    let document = match (mode.contains("update_full"), by_post_image) {
        (false, _) => "default",
        (true, false) => "updateLookup",
        (true, true) => "whenAvailable",
    };
    reading.set(&table::FULL_DOCUMENT, document);
    if mode.contains("pre_image") {
        reading.set(&table::FULL_DOCUMENT_BEFORE_CHANGE, "whenAvailable");
    }
    if reading.peek("capture.mode").is_some() {
        reading.taken(
            "capture.mode",
            "FULL_DOCUMENT and FULL_DOCUMENT_BEFORE_CHANGE",
        );
    }
    let tombstones = reading.get("tombstones.on.delete");
    if let Some(value) = tombstones {
        reading.take("tombstones.on.delete", &table::TOMBSTONES, value);
    }
    if let Some(skipped) = reading.get("skipped.operations") {
        let skipped: Vec<_> = skipped.split(',').map(str::trim).collect();
        let kept = [("c", "insert"), ("u", "update,replace"), ("d", "delete")];
        let kept: Vec<_> = kept
            .iter()
            .filter(|(short, _)| !skipped.contains(short))
            .map(|(_, long)| *long)
            .collect();
        match kept.len() {
            3 => reading.taken(
                "skipped.operations",
                "all operations on documents are watched",
            ),
            0 => reading.decide(
                "skipped.operations",
                "nothing would be left; WATCH_OPERATIONS says what is watched",
            ),
            _ => reading.take(
                "skipped.operations",
                &table::WATCH_OPERATIONS,
                kept.join(","),
            ),
        }
    }
    reading.take_as_is("cursor.pipeline", &table::CHANGE_STREAM_PIPELINE);
    match reading.get("cursor.pipeline.order") {
        Some("internal_first") => {
            reading.taken("cursor.pipeline.order", "your stages run behind the filter")
        }
        Some(_) => reading.decide(
            "cursor.pipeline.order",
            "CHANGE_STREAM_PIPELINE runs behind the filter, and nothing changes that",
        ),
        None => {}
    }
}

fn snapshots(reading: &mut Reading<'_>) {
    match reading.get("snapshot.mode") {
        None => {}
        Some("when_needed") => reading.take("snapshot.mode", &table::SNAPSHOT, "when_needed"),
        Some("initial" | "no_data" | "never" | "configuration_based") => {
            reading.taken("snapshot.mode", "SNAPSHOT=never: the connector's snapshot is behind you");
        }
        Some(_) => reading.decide("snapshot.mode", "a stream that goes on takes no snapshot; SNAPSHOT and `tailwater snapshot start` say otherwise"),
    }
    for property in reading.rest_of("snapshot.mode.") {
        reading.taken(&property, "of snapshot.mode");
    }
    if let Some(list) = reading.get("snapshot.include.collection.list") {
        match globs::of_list(list, false) {
            Ok(globs) => reading.decide(
                "snapshot.include.collection.list",
                format!(
                    "where you take snapshots, set SNAPSHOT_COLLECTIONS; the names are {}",
                    globs.join(",")
                ),
            ),
            Err(_) => reading.decide(
                "snapshot.include.collection.list",
                "where you take snapshots, list the names in SNAPSHOT_COLLECTIONS",
            ),
        }
    }
    for property in reading.rest_of("snapshot.collection.filter.overrides") {
        reading.decide(
            &property,
            "where you take snapshots, SNAPSHOT_FILTER says which documents",
        );
    }
    reading.take_as_is("snapshot.max.threads", &table::SNAPSHOT_PARALLELISM);
}

fn failures(reading: &mut Reading<'_>) {
    match reading.get("event.processing.failure.handling.mode") {
        None => {}
        Some("fail") => reading.take(
            "event.processing.failure.handling.mode",
            &table::ON_RECORD_ERROR,
            "stop",
        ),
        Some(_) => reading.take(
            "event.processing.failure.handling.mode",
            &table::ON_RECORD_ERROR,
            "skip",
        ),
    }
    match reading.get("cursor.oversize.handling.mode") {
        None => {}
        Some("fail") => reading.taken("cursor.oversize.handling.mode", "ON_RECORD_ERROR=stop, as for every record"),
        Some("split") => reading.taken("cursor.oversize.handling.mode", "large events are split where the server can"),
        Some(_) => reading.decide("cursor.oversize.handling.mode", "large events are split where the server can; ON_RECORD_ERROR=skip leaves out those that cannot be written"),
    }
    reading.without(&[(
        "cursor.oversize.skip.threshold",
        "ON_RECORD_ERROR says what becomes of a record that is too large",
    )]);
    match reading.get("errors.max.retries") {
        None => {}
        Some("-1") => reading.taken(
            "errors.max.retries",
            "RECONNECT_MAX_RETRIES=0: it never gives up",
        ),
        Some("0") => reading.take("errors.max.retries", &table::RECONNECT_MAX_RETRIES, "1"),
        Some(value) => reading.take("errors.max.retries", &table::RECONNECT_MAX_RETRIES, value),
    }
}
