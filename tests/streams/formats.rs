//! Streams of one process whose records differ.

use super::Streams;
use crate::support;
use bson::doc;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_of_one_process_write_different_formats() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let prefix = format!("{}-debezium", streams.prefix);
    let names = format!("plain={},others={}", streams.name(0), streams.name(1));
    let setup = streams
        .setup
        .clone()
        .without("KAFKA_DB_CHANGES_TOPIC")
        .env("STREAMS", names)
        .env("KAFKA_DB_CHANGES_TOPIC__PLAIN", streams.topic(0))
        .env("KEY_FORMAT__PLAIN", "id_string")
        .env("ENVELOPE_RENAME__PLAIN", "operationType=op")
        .env("WATCH_COLLECTIONS", "*.users")
        .env("FORMAT__OTHERS", "debezium")
        .env("KAFKA_TOPIC_PREFIX__OTHERS", &prefix);
    let checked = setup.clone().args(&["check"]).run().await;
    assert_eq!(checked.code, Some(0), "{}", checked.output);
    let tailwater = setup.start().await;
    for index in [0, 1] {
        streams.insert(index, 7).await;
        let users = streams.databases[index].documents("users");
        users.delete_one(doc! {"_id": 7}).await.unwrap();
    }

    let plain = kafka.wait_for_records(&[&streams.topic(0)], 2).await;
    let keys: Vec<_> = plain.iter().map(|it| it.key_bytes.as_deref()).collect();
    assert_eq!(keys, [Some(b"7".as_slice()); 2]);
    let operations: Vec<_> = plain.iter().map(|it| it.value["op"].clone()).collect();
    assert_eq!(operations, ["insert", "delete"]);
    assert_eq!(
        plain[0].header("tw-ns"),
        format!("{}.users", streams.name(0))
    );

    // A tombstone follows the delete, as with the connector: only this stream has them.
    let topic = format!("{prefix}.{}.users", streams.name(1));
    let others = kafka.wait_for_records(&[&topic], 3).await;
    assert_eq!(others[0].key["id"], "7");
    assert_eq!(others[0].value["op"], "c");
    assert_eq!(others[0].value["source"]["name"], prefix.as_str());
    assert_eq!(others[1].value["op"], "d");
    assert_eq!(others[2].value, Value::Null);
    assert_eq!(others[2].bytes, None);
    tailwater.stop().await;
    assert_eq!(kafka.records(&[&streams.topic(0), &topic]).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_format_of_one_stream_is_refused_with_its_name() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let names = format!("plain={},others={}", streams.name(0), streams.name(1));
    let setup = streams
        .setup
        .env("STREAMS", names)
        .env("FORMAT__OTHERS", "debzium")
        .env("FORMAT__OTHER", "document");
    let refused = setup.run().await;
    assert_eq!(refused.code, Some(2));
    for said in [
        "FORMAT__OTHERS=debzium: is none of them; give one of tailwater, debezium",
        "FORMAT__OTHER: STREAMS has no stream of this name; give one of FORMAT__PLAIN, FORMAT__OTHERS",
    ] {
        assert!(refused.output.contains(said), "{}", refused.output);
    }
}
