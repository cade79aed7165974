//! Properties of Debezium's connector for MongoDB 3.5.

pub(super) mod converters;
pub(super) mod fields;
mod ignored;
pub(super) mod transactions;

use super::plan::Reading;
use super::{Connector, globs, uri};
use crate::config::table;
use serde_json::{Value, json};

pub(super) fn partition(connector: &Connector) -> Result<Value, String> {
    let prefix = connector.get("topic.prefix");
    let prefix = prefix
        .ok_or("the configuration has no topic.prefix, which names the connector's offset")?;
    Ok(json!({ "server_id": prefix }))
}

pub(super) fn translate(reading: &mut Reading<'_>) {
    reading.take_as_is("topic.prefix", &table::KAFKA_TOPIC_PREFIX);
    source(reading);
    converters::translate(reading);
    capture(reading);
    transactions::translate(reading);
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
                "transaction.metadata.factory",
                "io.debezium.pipeline.txmetadata.DefaultTransactionMetadataFactory",
                "transactions are as the connector's default has them",
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
    reading.without(ignored::ALL);
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
    if let (Some(user), Some(password)) = (user, password) {
        uri = uri.map(|uri| uri::with_credentials(&uri, user, password));
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
        options.push(format!("authSource={}", uri::encoded(database)));
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
    let one = names(reading);
    fields::translate(reading, one.as_deref());
    let Some(uri) = uri else { return };
    let uri = uri::with_options(&uri, &options);
    let uri = match one {
        Some(_) => uri,
        None => uri::without_path(&uri),
    };
    reading.take("mongodb.connection.string", &table::MONGODB_URI, uri);
}

/// Which databases and collections; the database, where it is one.
fn names(reading: &mut Reading<'_>) -> Option<String> {
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
    if let ("database", Some(database)) = (scope, target) {
        databases = Some(vec![database.to_owned()]);
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
        return None;
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
    if !watched.iter().any(|name| name == "*") {
        set_list(reading, &table::WATCH_COLLECTIONS, watched);
    }
    set_list(reading, &table::EXCLUDE_COLLECTIONS, within(excluded));
    Some(one)
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
