//! What the group, its topic and the registry are called, and which partition is which stream.

use std::collections::BTreeSet;

/// The names for one set of streams of one installation.
#[derive(Debug, Clone)]
pub struct Names {
    /// `KAFKA_CLIENT_ID`: two installations on one cluster do not meet.
    pub client_id: String,
    /// The compacted topic that all instances write to and read.
    pub registry: String,
    /// The consumer group, and its topic with a partition for each stream.
    pub group: String,
    /// Sorted: partition `i` is the `i`th.
    streams: Vec<String>,
}

impl Names {
    pub fn new(topic: &str, client_id: &str, streams: &BTreeSet<String>) -> Self {
        Self {
            client_id: client_id.to_owned(),
            registry: topic.to_owned(),
            group: format!("{topic}.{:016x}", hash(client_id, streams)),
            streams: streams.iter().cloned().collect(),
        }
    }

    /// How many partitions the group's topic has.
    pub fn partitions(&self) -> i32 {
        i32::try_from(self.streams.len()).unwrap_or(i32::MAX)
    }

    /// The stream that is this partition.
    pub fn stream(&self, partition: i32) -> Option<&str> {
        let index = usize::try_from(partition).ok()?;
        self.streams.get(index).map(String::as_str)
    }
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn hash(client_id: &str, streams: &BTreeSet<String>) -> u64 {
    let names = std::iter::once(client_id).chain(streams.iter().map(String::as_str));
    let bytes = names.flat_map(|name| name.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(client_id: &str, streams: &[&str]) -> Names {
        let streams = streams.iter().map(|name| (*name).to_owned()).collect();
        Names::new("tailwater.streams", client_id, &streams)
    }

    #[test]
    fn a_set_of_streams_has_one_group_whatever_their_order() {
        let group = names("app", &["b", "a"]).group;
        assert_eq!(group, "tailwater.streams.283696e528953e87");
        assert_eq!(group, names("app", &["a", "b"]).group);
        for other in [
            names("app2", &["a", "b"]),
            names("app", &["ab"]),
            names("app", &["a"]),
        ] {
            assert_ne!(group, other.group);
        }
    }

    #[test]
    fn partitions_are_the_sorted_names() {
        let names = names("app", &["b", "c", "a"]);
        assert_eq!(names.partitions(), 3);
        assert_eq!(names.stream(0), Some("a"));
        assert_eq!(names.stream(2), Some("c"));
        assert_eq!((names.stream(3), names.stream(-1)), (None, None));
    }
}
