//! Debezium's records in Avro: what the real connector writes with an `AvroConverter` is written again with the same
//! schemas, under the same subjects, byte for byte.

use super::{Peer, by_partition, connect_and_history, debezium, events};
use crate::support::{self, Record, Registry};
use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The same connector with the converter for this registry.
fn in_avro(mut peer: Peer, registry: &Registry) -> Peer {
    let converter = "io.apicurio.registry.utils.converter.AvroConverter";
    peer.properties
        .retain(|(name, _)| !name.contains("converter"));
    let url = format!("http://{}/apis/registry/v2", registry.addr());
    for (name, value) in [
        ("key.converter", converter),
        ("key.converter.apicurio.registry.url", &url),
        ("key.converter.apicurio.registry.auto-register", "true"),
        ("key.converter.apicurio.registry.as-confluent", "true"),
        ("key.converter.apicurio.registry.use-id", "contentId"),
        ("key.converter.apicurio.registry.headers.enabled", "false"),
        ("value.converter.apicurio.registry.headers.enabled", "false"),
        ("value.converter", converter),
        ("value.converter.apicurio.registry.url", &url),
        ("value.converter.apicurio.registry.auto-register", "true"),
        ("value.converter.apicurio.registry.as-confluent", "true"),
        ("value.converter.apicurio.registry.use-id", "contentId"),
        ("schema.name.adjustment.mode", "avro"),
    ] {
        peer.properties.push((name, value.to_owned()));
    }
    peer.variables
        .retain(|(name, _)| *name != "DEBEZIUM_SCHEMAS");
    peer.variables.push(("SERIALIZATION", "avro".to_owned()));
    peer.variables.push(("SCHEMA_REGISTRY_URL", registry.url()));
    peer
}

/// The number of the schema, and what follows it.
fn framed(bytes: &[u8]) -> (i32, &[u8]) {
    assert_eq!(bytes[0], 0, "{bytes:?}");
    let id = i32::from_be_bytes(bytes[1..5].try_into().unwrap());
    (id, &bytes[5..])
}

/// The value without the time of processing, which is a number of six bytes before the transaction's null.
fn timeless(value: &[u8]) -> Vec<u8> {
    let at = value.len() - 7;
    assert_eq!(value[at - 1], 2, "there is a time");
    assert_eq!(value.last(), Some(&0), "and no transaction");
    [&value[..at], &value[at + 6..]].concat()
}

/// What is compared of a record, by the schemas' texts.
fn shown(record: &Record, schemas: &BTreeMap<i32, String>) -> [Option<(String, Vec<u8>)>; 2] {
    let half = |bytes: &Option<Vec<u8>>| {
        let (id, rest) = framed(bytes.as_deref()?);
        Some((schemas[&id].clone(), rest.to_vec()))
    };
    let value = half(&record.bytes).map(|(schema, value)| (schema, timeless(&value)));
    [half(&record.key_bytes), value]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_connector_writes_in_avro_is_written_byte_for_byte() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let registry = support::registry().await;
    let (connect, (resume, _)) = connect_and_history(&db, kafka).await;
    let token = resume.get_str("_data").unwrap();
    let peer = in_avro(debezium(&db, "avro", false, token), registry);
    let count: usize = events(&db, &resume).await.iter().map(peer.records).sum();
    peer.make_topics(kafka).await;
    peer.start(&connect).await;
    let topics = peer.topics();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    let theirs = kafka.wait_for_records(&topics, count).await;
    assert_eq!(theirs.len(), count, "{}", connect.log());
    drop(connect);
    let tailwater = peer.setup(&db, kafka, token).start().await;
    let all = kafka.wait_for_records(&topics, 2 * count).await;
    tailwater.stop().await;

    let mut schemas = BTreeMap::new();
    for record in &all {
        for bytes in [&record.key_bytes, &record.bytes].into_iter().flatten() {
            let (id, mut rest) = framed(bytes);
            if let Entry::Vacant(new) = schemas.entry(id) {
                new.insert(registry.schema(id).await);
            }
            let schema = Schema::parse_str(&schemas[&id]).unwrap();
            let value = from_avro_datum(&schema, &mut rest, None).unwrap();
            assert!(matches!(value, Value::Record(_)) && rest.is_empty());
        }
    }
    let (theirs, all) = (by_partition(theirs), by_partition(all));
    assert_eq!(all.len(), theirs.len());
    for (place, theirs) in &theirs {
        let ours = &all[place][theirs.len()..];
        assert_eq!(theirs.len(), ours.len(), "{place:?}");
        for (theirs, ours) in theirs.iter().zip(ours) {
            let of = |record: &Record| shown(record, &schemas);
            assert_eq!(of(theirs), of(ours), "{place:?}");
            // The numbers, too: the registry knows each schema once.
            assert_eq!(theirs.key_bytes, ours.key_bytes);
            let number = |record: &Record| record.bytes.as_deref().map(|it| framed(it).0);
            assert_eq!(number(theirs), number(ours));
            let names = |record: &Record| record.headers.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(theirs), names(ours));
        }
    }
    for topic in topics {
        for half in ["key", "value"] {
            let versions = registry
                .get(&format!("/subjects/{topic}-{half}/versions"))
                .await;
            assert_eq!(versions, serde_json::json!([1]), "{topic}");
        }
    }
}
