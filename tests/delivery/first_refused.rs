//! The first request to a partition is refused while others are ready to follow it.

use crate::support::{self, Kafka, Record, Tailwater};
use bson::doc;

/// Behind it a broker that does not know the producer yet would take the next one, and librdkafka would count the first
/// as written: `sink::first`.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_that_refuses_its_first_records_loses_none() {
    let (kafka, wire) = Kafka::behind_refusals(&[]).await;
    for delivery in ["at_least_once", "exactly_once"] {
        let db = support::database().await;
        let changes = db.topic("changes");
        kafka.create_topic(&changes, 1, &[]).await;
        let tailwater = Tailwater::on(&db, &kafka)
            .env("KAFKA_BROKERS", wire.addr())
            .env("KAFKA_DB_CHANGES_TOPIC", &changes)
            .env("DELIVERY", delivery)
            // No request gathers what comes meanwhile.
            .env("KAFKA_PROP_LINGER_MS", 0)
            .start()
            .await;
        wire.refuse(&changes);
        let documents = db.documents("users");
        documents.insert_one(doc! {"_id": 0}).await.unwrap();
        wire.held().await;
        for id in 1..10 {
            documents.insert_one(doc! {"_id": id}).await.unwrap();
        }
        let is_last = |record: &Record| record.value["documentKey"]["_id"] == 9;
        let records = kafka
            .wait_until(&[&changes], "the last change", |records| {
                records.iter().any(is_last)
            })
            .await;
        let ids = records
            .iter()
            .map(|record| record.value["documentKey"]["_id"].as_i64().unwrap());
        assert_eq!(
            ids.collect::<Vec<_>>(),
            (0..10).collect::<Vec<_>>(),
            "{delivery}"
        );
        assert!(!wire.was_followed(), "{delivery}");
        tailwater.stop().await;
    }
}
