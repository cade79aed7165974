//! Jobs that are larger than a topic of Kafka takes.

use super::{Answer, Receiver, all_committed, is_all_committed, wanted, worker, write};
use crate::support::{Kafka, PATIENCE, Record, eventually, unique};
use serde_json::{Value, json};

/// It waits for whoever raises the limit, and no other waits with it: Kafka refuses a batch as a whole.
#[tokio::test]
async fn a_job_too_large_for_the_dead_letters_is_kept_and_told_of_until_they_take_it() {
    const TOPIC: &str = "jobs.dlq";
    let kafka = Kafka::dedicated(&[]).await;
    let small = [("max.message.bytes", "2000")];
    kafka.create_topic(TOPIC, 1, &small).await;
    let prefix = unique("jobs.t");
    let topic = format!("{prefix}.all");
    kafka.create_topic(&topic, 1, &[]).await;
    let receiver = Receiver::start(|_| Answer::Status(400)).await;
    for order in ["key", "none"] {
        let handlers = json!({"all": {"url": receiver.url(), "retries": 0, "order": order}});
        let mut jobs: Vec<_> = (0..4).map(|n| wanted("all", n, &n.to_string())).collect();
        for job in &mut jobs {
            job.id = format!("{order}-{}", job.id);
        }
        jobs[1].value["much"] = Value::from("x".repeat(5000));
        // They fail in one moment, and go into one batch.
        write(&kafka, &topic, &jobs).await;
        let worker = worker(&kafka, &prefix, &handlers)
            .env("WORKER_CONCURRENCY", 10)
            .start()
            .await;
        let of_order = |letters: &[Record]| {
            let ids = letters.iter().map(|it| it.header("tw-id").to_owned());
            let mut ids: Vec<_> = ids.filter(|id| id.starts_with(order)).collect();
            ids.sort();
            ids
        };
        let expected = |numbers: &[usize]| -> Vec<_> {
            let ids = numbers.iter().map(|n| format!("{order}-all-{n}"));
            ids.collect()
        };
        let letters = kafka
            .wait_until(&[TOPIC], "the three others", |letters| {
                of_order(letters).len() == 3
            })
            .await;
        assert_eq!(of_order(&letters), expected(&[0, 2, 3]));
        let told = eventually(PATIENCE, "it is told of", async || {
            let health = worker.get("/health").await.json();
            let told = health["waits"]["dead_letters"]["what"].as_str()?;
            Some(told.to_owned())
        })
        .await;
        for part in [TOPIC, "raise max.message.bytes"] {
            assert!(told.contains(part), "{told}");
        }
        // What is behind it is done, and nothing of that is committed.
        assert!(!is_all_committed(&kafka, &prefix, &topic, 1).await);

        kafka
            .alter_topic(TOPIC, &[("max.message.bytes", "100000")])
            .await;
        let letters = kafka
            .wait_until(&[TOPIC], "the large one, too", |letters| {
                of_order(letters).len() == 4
            })
            .await;
        assert_eq!(of_order(&letters), expected(&[0, 1, 2, 3]));
        all_committed(&kafka, &prefix, &topic, 1).await;
        let health = worker.get("/health").await.json();
        assert_eq!(health["waits"]["dead_letters"], Value::Null);
        worker.stop().await;
        kafka.alter_topic(TOPIC, &small).await;
    }
}
