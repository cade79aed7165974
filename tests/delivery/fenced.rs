//! A cluster that names no broker for a while: every one of them is fenced, as after an outage of the controllers.

use crate::support::{self, FENCED, Kafka, PATIENCE, Tailwater, eventually};
use bson::doc;

/// Clients forget the brokers that a reply does not name, and have nobody left to ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_names_no_broker_for_a_while_is_found_again() {
    let db = support::database().await;
    let kafka = Kafka::dedicated(FENCED).await;
    for delivery in ["at_least_once", "exactly_once"] {
        let topic = db.topic(&format!("{delivery}.{{collection}}"));
        let tailwater = Tailwater::on(&db, &kafka)
            .env("KAFKA_DB_CHANGES_TOPIC", topic)
            .env("KAFKA_CLIENT_ID", delivery)
            .env("DELIVERY", delivery)
            .env("KAFKA_PROP_TOPIC_METADATA_REFRESH_INTERVAL_MS", 500)
            .start()
            .await;
        // The first record may come before the broker is fenced for the first time.
        for number in 0..2 {
            if number > 0 {
                eventually(PATIENCE, "nobody is known any more", async || {
                    let status = tailwater.get("/status").await.json();
                    (status["kafkaConnected"] == false).then_some(())
                })
                .await;
            }
            let documents = db.documents(&format!("{delivery}{number}"));
            documents.insert_one(doc! {"_id": 1}).await.unwrap();
            eventually(2 * PATIENCE, "its record is acknowledged", async || {
                let status = tailwater.get("/status").await.json();
                let events = status["events"].as_u64();
                (events > Some(number) && status["bufferSize"] == 0).then_some(())
            })
            .await;
        }
    }
}
