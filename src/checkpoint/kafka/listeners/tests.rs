use super::*;
use crate::change::position::{Position, ResumeToken, Seq};
use crate::checkpoint::{Checkpoint, Filter};
use std::collections::HashMap;

fn record(listeners: &[Document]) -> Record {
    let set: Vec<_> = listeners.iter().cloned().map(Bson::from).collect();
    let part = doc! {"collection": "d.listeners", "set": set};
    Record::from(Checkpoint {
        stream: "tailwater:d".into(),
        namespace: "d".into(),
        source: "replset:rs".into(),
        filter: Filter::default(),
        instance: "i".into(),
        epoch: 1,
        position: Position {
            token: ResumeToken::from_data("82"),
            seq: Seq(1),
            time_millis: None,
            cluster_time: None,
            extra: Extra::default().with(Extra::LISTENERS, Some(part.into())),
        },
        updated_at_millis: 0,
    })
}

fn listener(id: i32, job: &str) -> Document {
    doc! {"_id": id, "jobName": job, "filter": {"a.b": {"$gt": 5_i64}}}
}

/// A partition as compaction leaves it: the newest value of each key.
#[derive(Default)]
struct Partition {
    values: HashMap<Vec<u8>, Vec<u8>>,
    position: Option<Record>,
    written: usize,
}

impl Partition {
    fn write(&mut self, record: &Record, stored: Option<&Stored>) -> Option<Stored> {
        let packed = pack(record, stored);
        self.written = packed.entries.len();
        for (key, value) in packed.entries {
            assert!(is_of("tailwater:d", &key) && is_of_listener(&key));
            match value {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
        self.position = Some(packed.record);
        packed.stored
    }

    fn read(&self) -> Result<Record, Error> {
        let mut record = self.position.clone().unwrap();
        let mut gathering = Gathering::of(&record).unwrap();
        for (key, value) in &self.values {
            gathering.take(key, Some(value));
        }
        gathering.finish(&mut record, "here")?;
        Ok(record)
    }

    fn set(&self) -> Bson {
        let record = self.read().unwrap();
        let extra = record.position.unwrap().extra;
        let part = extra.get(Extra::LISTENERS).unwrap().as_document().unwrap();
        part.get("set").unwrap().clone()
    }
}

fn set(listeners: &[Document]) -> Bson {
    Bson::Array(listeners.iter().cloned().map(Bson::from).collect())
}

#[test]
fn only_what_has_changed_is_written_and_all_is_read() {
    let mut partition = Partition::default();
    let one = [listener(1, "a"), listener(2, "b")];
    let stored = partition.write(&record(&one), None);
    assert_eq!((partition.written, partition.set()), (2, set(&one)));
    let stored = partition.write(&record(&one), stored.as_ref());
    assert_eq!(partition.written, 0);
    let two = [listener(2, "c"), listener(3, "d")];
    let stored = partition.write(&record(&two), stored.as_ref());
    // The second, the third, and the end of the first.
    assert_eq!((partition.written, partition.set()), (3, set(&two)));
    // Who reads it resumes from it.
    let again = Stored::of(Some(&partition.read().unwrap()));
    partition.write(&record(&two), again.as_ref());
    assert_eq!((partition.written, partition.set()), (0, set(&two)));
    let none = record(&[]);
    partition.write(&none, stored.as_ref());
    assert_eq!((partition.values.len(), partition.set()), (0, set(&[])));
}

#[test]
fn what_an_older_generation_left_is_no_listener() {
    let mut partition = Partition::default();
    partition.write(&record(&[listener(1, "a"), listener(2, "b")]), None);
    let anew = [listener(2, "b")];
    partition.write(&record(&anew), None);
    assert_eq!(partition.values.len(), 2);
    assert_eq!(partition.set(), set(&anew));
}

#[test]
fn a_stream_without_listeners_takes_its_own_away() {
    let mut partition = Partition::default();
    let stored = partition.write(&record(&[listener(1, "a")]), None);
    let mut without = record(&[]);
    without.position.as_mut().unwrap().extra = Extra::default();
    let packed = pack(&without, stored.as_ref());
    assert_eq!(packed.entries.len(), 1);
    assert_eq!(packed.entries[0].1, None);
    assert_eq!(packed.record, without);
    assert_eq!(packed.stored, None);
}

#[test]
fn a_listener_that_is_missing_is_damage() {
    let mut partition = Partition::default();
    partition.write(&record(&[listener(1, "a"), listener(2, "b")]), None);
    let key = partition.values.keys().next().unwrap().clone();
    partition.values.remove(&key);
    let error = partition.read().unwrap_err();
    assert_eq!(error.code, Code::CheckpointFailed);
    assert!(error.detail.contains("has 2 listeners, and 1"), "{error}");
}

#[test]
fn the_newest_value_of_a_key_counts() {
    let mut partition = Partition::default();
    let stored = partition.write(&record(&[listener(1, "a")]), None);
    let (key, old) = partition
        .values
        .iter()
        .next()
        .map(|(k, v)| (k.clone(), v.clone()))
        .unwrap();
    partition.write(&record(&[listener(1, "new")]), stored.as_ref());
    let mut gathering = Gathering::of(partition.position.as_ref().unwrap()).unwrap();
    gathering.take(&key, partition.values.get(&key).map(Vec::as_slice));
    gathering.take(&key, Some(&old));
    let mut read = partition.position.clone().unwrap();
    gathering.finish(&mut read, "here").unwrap();
    assert_eq!(partition.set(), set(&[listener(1, "new")]));
}

#[test]
fn a_stream_whose_id_begins_alike_is_another() {
    assert!(is_of("a", b"a") && is_of("a", b"a listener 1"));
    assert!(!is_of("a", b"ab") && !is_of("a", b"ab listener 1") && !is_of_listener(b"ab"));
}
