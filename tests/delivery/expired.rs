//! What a broker forgets of a producer: after a rest, or when it comes back without it.

use super::{assert_complete, assert_exactly_once, committed};
use crate::support::{self, Database, Kafka, PATIENCE, Setup, Tailwater, eventually, unique};
use bson::doc;
use std::time::Duration;

/// A broker forgets transactional ids, and idempotent producers, after this.
const EXPIRED: Duration = Duration::from_millis(1_500);

async fn forgetful() -> Kafka {
    Kafka::dedicated(&[
        "transactional.id.expiration.ms=1000",
        "transaction.remove.expired.transaction.cleanup.interval.ms=200",
        "producer.id.expiration.ms=1000",
        "producer.id.expiration.check.interval.ms=200",
        "log.flush.start.offset.checkpoint.interval.ms=100",
    ])
    .await
}

fn setup(db: &Database, kafka: &Kafka, delivery: &str) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("RESUME_TOPIC", unique("checkpoints"))
        .env("DELIVERY", delivery)
        .env("RECONNECT_DELAY_MS", 50)
        .env("COMMIT_INTERVAL_MS", 100)
}

async fn insert(db: &Database, id: i32) {
    let users = db.documents("users");
    users.insert_one(doc! {"_id": id}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rest_that_outlasts_the_ids_changes_arrive_and_are_committed() {
    let kafka = forgetful().await;
    for delivery in ["exactly_once", "at_least_once"] {
        let db = support::database().await;
        let topic = db.topic("changes");
        let setup = setup(&db, &kafka, delivery);
        let tailwater = setup.start().await;
        for id in 1..=2 {
            insert(&db, id).await;
            committed(&kafka, &topic, usize::try_from(id).unwrap()).await;
            // The rest itself: nothing says when the broker has forgotten.
            tokio::time::sleep(EXPIRED).await;
        }
        tailwater.stop().await;
        let tailwater = setup.start().await;
        insert(&db, 3).await;
        let records = committed(&kafka, &topic, 3).await;
        tailwater.stop().await;
        match delivery {
            "exactly_once" => assert_exactly_once(&records, 3),
            _ => assert_complete(&records, 3),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_without_its_producers_gets_every_change() {
    let mut kafka = forgetful().await;
    for delivery in ["exactly_once", "at_least_once"] {
        let db = support::database().await;
        let topic = db.topic("changes");
        kafka.create_topic(&topic, 1, &[]).await;
        // Its clients find the broker again some seconds after it has come back.
        let setup = setup(&db, &kafka, delivery).env("SHUTDOWN_TIMEOUT_MS", 30_000);
        let tailwater = setup.start().await;
        insert(&db, 1).await;
        committed(&kafka, &topic, 1).await;
        kafka.delete_records(&topic, &[]).await;
        // Without it, the deleted record would be there again, and the producer known by it.
        eventually(PATIENCE, "the deletion outlasts the broker", async || {
            let file = kafka.data().join("log-start-offset-checkpoint");
            let starts = std::fs::read_to_string(file).unwrap_or_default();
            starts.contains(&format!("{topic} 0 ")).then_some(())
        })
        .await;
        kafka.kill9();
        kafka.forget_producers();
        kafka.restart().await;
        insert(&db, 2).await;
        insert(&db, 3).await;
        let records = committed(&kafka, &topic, 2).await;
        tailwater.stop().await;
        match delivery {
            "exactly_once" => assert_exactly_once(&records, 2),
            _ => assert_complete(&records, 2),
        }
    }
}
