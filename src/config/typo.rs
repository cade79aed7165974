//! Names that look like ours and are not.

use super::problem::Warning;
use super::table;
use std::collections::BTreeSet;

/// A warning for each name that is probably meant for us.
pub(super) fn warnings(unknown: &BTreeSet<String>) -> Vec<Warning> {
    unknown
        .iter()
        .filter_map(|name| {
            Some(Warning {
                variable: name.clone(),
                sentence: sentence(name)?,
            })
        })
        .collect()
}

fn sentence(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if let Some((_, ours)) = OTHER_NAMES.iter().find(|(other, _)| *other == upper) {
        return Some(format!("is not read; its name here is {ours}"));
    }
    if let Some(ours) = name.strip_suffix("_FILE")
        && table::ALL.iter().any(|variable| variable.name == ours)
    {
        return Some(format!(
            "is not read: {ours} is no secret; set {ours} itself"
        ));
    }
    if let Some((base, stream)) = name.split_once("__")
        && let Some(ours) = nearest(&base.to_ascii_uppercase())
    {
        return Some(format!("is not read; did you mean {ours}__{stream}?"));
    }
    if let Some(ours) = nearest(&upper) {
        return Some(format!("is not read; did you mean {ours}?"));
    }
    let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (ours && !is_service_link(name) && !KAFKA_TOOLS.contains(&name))
        .then(|| "is not read: no variable has this name".to_owned())
}

/// The variable whose name differs least, where it differs little for its length.
fn nearest(upper: &str) -> Option<&'static str> {
    nearest_of(upper, table::ALL.iter().map(|variable| variable.name))
}

/// The name that differs least, whatever the case, where it differs little for its length.
pub fn nearest_of(given: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let given = given.to_ascii_lowercase();
    let len = given.chars().count();
    let allowed = |name: &str| if name.len() < 8 { 1 } else { 2 };
    names
        // They differ at least by that much. Each variable of the environment is compared with each of ours.
        .filter(|name| name.len().abs_diff(len) <= allowed(name))
        .map(|name| {
            (
                strsim::osa_distance(&given, &name.to_ascii_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= allowed(name))
        .min()
        .map(|(_, name)| name)
}

/// Beginnings that hardly anyone else uses.
const PREFIXES: &[&str] = &[
    "KAFKA_",
    "MONGODB_",
    "WATCH_",
    "EXCLUDE_",
    "CHANGE_STREAM",
    "FULL_DOCUMENT",
    "BATCH_",
    "MAX_IN_FLIGHT",
    "COMMIT_INTERVAL",
    "RESUME_",
    "RECONNECT_",
    "STATUS_INTERVAL",
    "SHUTDOWN_TIMEOUT",
    "RECORD_",
    "ON_RECORD",
    "ON_HISTORY",
];

/// What the same thing is called elsewhere.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("MONGO_URL", "MONGODB_URI"),
    ("MONGO_URI", "MONGODB_URI"),
    ("MONGODB_URL", "MONGODB_URI"),
    ("MONGODB_CONNECTION_STRING", "MONGODB_URI"),
    ("MONGODB_DB", "MONGODB_DATABASE"),
    ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BROKERS"),
    ("KAFKA_TOPIC", "KAFKA_DB_CHANGES_TOPIC"),
    ("RESUME_DIR", "RESUME_FILE"),
    ("KAFKA_SASL_PASS", "KAFKA_SASL_PASSWORD"),
];

/// Variables of Kafka's own scripts, often set on the same machine.
const KAFKA_TOOLS: &[&str] = &[
    "KAFKA_HOME",
    "KAFKA_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_VERSION",
];

/// What Kubernetes and old Docker links set for a service named `kafka` or `mongodb`.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || (name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(name: &str) -> Option<String> {
        warnings(&BTreeSet::from([name.to_owned()]))
            .pop()
            .map(|warning| warning.sentence)
    }

    #[test]
    fn a_misspelt_name_is_told_the_right_one() {
        for (wrong, right) in [
            ("KAFKA_BROKER", "KAFKA_BROKERS"),
            ("BATCH_SZIE", "BATCH_SIZE"),
            ("WATCH_COLECTIONS", "WATCH_COLLECTIONS"),
            ("batch_size", "BATCH_SIZE"),
            ("MONGO_URI", "MONGODB_URI"),
            ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BROKERS"),
            ("TOMBSTONE", "TOMBSTONES"),
            ("KAFKA_BROKERS_FILE", "set KAFKA_BROKERS itself"),
            ("FORMATS__SHOP", "did you mean FORMAT__SHOP?"),
        ] {
            assert!(
                warned(wrong).is_some_and(|sentence| sentence.contains(right)),
                "{wrong}"
            );
        }
        assert!(warned("RESUME_FOLDER").is_some());
    }

    #[test]
    fn names_of_others_are_left_alone() {
        for name in [
            "PATH",
            "HOME",
            "LOGNAME",
            "HTTP_PROXY",
            "KAFKA_OPTS",
            "KAFKA_SERVICE_HOST",
            "KAFKA_PORT",
            "KAFKA_PORT_9092_TCP_ADDR",
            "MONGODB_SERVICE_PORT_MONGODB",
            "NODE_ENV",
        ] {
            assert_eq!(warned(name), None, "{name}");
        }
    }
}
