//! The records of the registry: small JSON that people may read, write and delete
//! (`docs/coordination.md`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One record: what it is about, and what it says; without a value it is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Instance(String, Option<Instance>),
    Stream(String, Option<Stream>),
    Move(String, Option<Move>),
}

/// What an instance says of itself; nobody else writes it, but for a tombstone once it is silent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The consumer group that it is a member of.
    #[serde(default)]
    pub group: String,
    /// The streams that it can run.
    pub streams: BTreeSet<String>,
    /// Those that it claims: of several instances the first one in the topic has the stream.
    pub has: BTreeSet<String>,
    /// Those that it waits for.
    #[serde(default)]
    pub wants: BTreeSet<String>,
    #[serde(default)]
    pub leaving: bool,
    /// Grows with each record. Others watch this; the times are for people.
    pub heartbeats: u64,
    #[serde(default)]
    pub last_heartbeat: Option<Timestamp>,
    /// How long it may be silent.
    pub timeout_ms: u64,
}

/// Who has a stream, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    pub owner: Option<String>,
    #[serde(default)]
    pub since: Option<Timestamp>,
    pub epoch: u64,
    #[serde(default)]
    pub hand_overs: u64,
    #[serde(default)]
    pub previous: Option<String>,
}

/// A stream is to be with this instance while that lives, whatever the group has assigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    pub to: String,
}

const INSTANCES: &str = "instances";
const STREAMS: &str = "streams";
const MOVES: &str = "moves";

/// A record of this installation. One that nobody can read is like one that was deleted; its writer
/// writes it again. None for records of others.
pub fn read(client_id: &str, key: &[u8], value: Option<&[u8]>) -> Option<Entry> {
    fn parsed<'a, T: Deserialize<'a>>(value: Option<&'a [u8]>) -> Option<T> {
        serde_json::from_slice(value?).ok()
    }
    let key = std::str::from_utf8(key).ok()?;
    let key = key.strip_prefix(client_id)?.strip_prefix('/')?;
    let (kind, id) = key.split_once('/')?;
    let id = id.to_owned();
    match kind {
        INSTANCES => Some(Entry::Instance(id, parsed(value))),
        STREAMS => Some(Entry::Stream(id, parsed(value))),
        MOVES => Some(Entry::Move(id, parsed(value))),
        _ => None,
    }
}

impl Entry {
    pub fn key(&self, client_id: &str) -> String {
        match self {
            Self::Instance(id, _) => format!("{client_id}/{INSTANCES}/{id}"),
            Self::Stream(id, _) => format!("{client_id}/{STREAMS}/{id}"),
            Self::Move(id, _) => format!("{client_id}/{MOVES}/{id}"),
        }
    }

    /// None is a tombstone. Strings, numbers and flags always serialize.
    pub fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Instance(_, Some(value)) => serde_json::to_vec(value).ok(),
            Self::Stream(_, Some(value)) => serde_json::to_vec(value).ok(),
            Self::Move(_, Some(value)) => serde_json::to_vec(value).ok(),
            Self::Instance(_, None) | Self::Stream(_, None) | Self::Move(_, None) => None,
        }
    }

    /// Whether both are about the same thing.
    pub fn is_about_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Instance(one, _), Self::Instance(two, _))
            | (Self::Stream(one, _), Self::Stream(two, _))
            | (Self::Move(one, _), Self::Move(two, _)) => one == two,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(entry: &Entry) -> Option<Entry> {
        let (key, value) = (entry.key("my/app"), entry.value());
        read("my/app", key.as_bytes(), value.as_deref())
    }

    #[test]
    fn records_survive_being_written_and_read() {
        let instance = Instance {
            streams: ["a".to_owned(), "b".to_owned()].into(),
            has: ["a".to_owned()].into(),
            since: Timestamp::from_millisecond(5).ok(),
            heartbeats: 7,
            timeout_ms: 10_000,
            ..Instance::default()
        };
        let to = "host/2-abc".to_owned();
        for entry in [
            Entry::Instance("host/1-abc".into(), Some(instance)),
            Entry::Instance("host/1-abc".into(), None),
            Entry::Stream("app:shop".into(), Some(Stream::default())),
            Entry::Move("app:shop".into(), Some(Move { to })),
        ] {
            assert_eq!(there_and_back(&entry).as_ref(), Some(&entry));
            assert!(entry.is_about_the_same_as(&entry));
        }
    }

    #[test]
    fn what_people_write_is_read_and_nonsense_is_as_if_it_was_deleted() {
        let by_hand = br#"{"to": "host/2-abc"}"#;
        let to = "host/2-abc".to_owned();
        assert_eq!(
            read("app", b"app/moves/app:shop", Some(by_hand)),
            Some(Entry::Move("app:shop".into(), Some(Move { to })))
        );
        for nonsense in [&b"host/2-abc"[..], b"{}", b"\xff"] {
            assert_eq!(
                read("app", b"app/moves/app:shop", Some(nonsense)),
                Some(Entry::Move("app:shop".into(), None))
            );
        }
        for others in ["app2/moves/s", "app/other/s", "moves/s", "app"] {
            assert_eq!(
                read("app", others.as_bytes(), Some(by_hand)),
                None,
                "{others}"
            );
        }
    }
}
