//! Where Connect keeps offsets: a topic, or a standalone worker's file.

use super::java;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::compacted;
use serde_json::{Value, json};
use std::path::Path;

/// One offset of a connector.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub partition: Value,
    pub offset: Value,
}

/// All offsets of the connector in the topic. Blocks.
///
/// # Errors
/// Where the topic cannot be read.
pub fn of_topic(kafka: &Kafka, topic: &str, connector: &str) -> Result<Vec<Stored>, Error> {
    let is_its_own = |key: &[u8]| partition_of(key, connector).is_some();
    let found = compacted::newest(kafka, topic, is_its_own)?;
    Ok(read(found, connector))
}

/// All offsets of the connector in the file.
///
/// # Errors
/// Where it cannot be read, or is no such file.
pub fn of_file(path: &Path, connector: &str) -> Result<Vec<Stored>, Error> {
    Ok(read(entries(path)?, connector))
}

/// Writes an offset to the topic. Blocks.
///
/// # Errors
/// Where Kafka does not take it.
pub fn to_topic(kafka: &Kafka, topic: &str, connector: &str, offset: &Stored) -> Result<(), Error> {
    let (key, value) = offset.record(connector);
    compacted::put(kafka, topic, key.as_bytes(), value.as_bytes())
}

/// Writes an offset to the file, beside the others in it. No worker may be running that has it.
///
/// # Errors
/// Where it cannot be read or written.
pub fn to_file(path: &Path, connector: &str, offset: &Stored) -> Result<(), Error> {
    let mut all = match path.exists() {
        true => entries(path)?,
        false => Vec::new(),
    };
    let (key, value) = offset.record(connector);
    all.retain(|(other, _)| other != key.as_bytes());
    all.push((key.into_bytes(), value.into_bytes()));
    // A worker must never find half of it.
    let beside = path.with_extension("new");
    std::fs::write(&beside, java::write(&all))
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|why| refused(path, "cannot be written").because(why))
}

impl Stored {
    /// Key and value as Connect writes them.
    pub fn record(&self, connector: &str) -> (String, String) {
        let key = json!([connector, self.partition]);
        (key.to_string(), self.offset.to_string())
    }
}

fn read(found: Vec<(Vec<u8>, Vec<u8>)>, connector: &str) -> Vec<Stored> {
    let of = |(key, value): (Vec<u8>, Vec<u8>)| {
        let partition = partition_of(&key, connector)?;
        let offset: Value = serde_json::from_slice(&value).ok()?;
        (!offset.is_null()).then_some(Stored { partition, offset })
    };
    found.into_iter().filter_map(of).collect()
}

/// The partition of a key, where it is one of this connector.
fn partition_of(key: &[u8], connector: &str) -> Option<Value> {
    let Ok(Value::Array(parts)) = serde_json::from_slice(key) else {
        return None;
    };
    let [name, partition] = <[Value; 2]>::try_from(parts).ok()?;
    (name == connector).then_some(partition)
}

fn entries(path: &Path) -> Result<java::Entries, Error> {
    let bytes = std::fs::read(path).map_err(|why| refused(path, "cannot be read").because(why))?;
    java::read(&bytes).ok_or_else(|| {
        refused(
            path,
            "is no file of offsets that Kafka Connect or Debezium Server has written",
        )
    })
}

fn refused(path: &Path, what: &str) -> Error {
    Error::new(Code::Config, format!("{} {what}", path.display()))
}
