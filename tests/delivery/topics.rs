//! A topic that goes away while it is written to: waited for, made again, no event blamed.

use super::{Load, assert_first_in_order};
use crate::support::PATIENCE;
use crate::support::{self, Record, Tailwater, eventually};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_under_way_is_made_again_and_nothing_is_lost_after() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let (topic, dead) = (db.topic("changes"), db.topic("dead"));
    let mut tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq")
        .start()
        .await;
    let load = Load::on(&db, "users");
    let before = kafka.wait_for_records(&[&topic], 50).await;
    let first = before.iter().map(Record::seq).min().unwrap();
    kafka.delete_topic(&topic).await;
    tailwater.wait_for_event("topic_created").await;
    let written = u64::try_from(load.stop().await).unwrap();

    // What Kafka had acknowledged went with the topic; all that it had not comes.
    let records = eventually(PATIENCE, "the last change", async || {
        let records = kafka.records(&[&topic]).await;
        let seqs: BTreeSet<u64> = records.iter().map(Record::seq).collect();
        let (from, to) = (*seqs.first()?, *seqs.last()?);
        let is_whole = seqs.len() as u64 == to - from + 1;
        (is_whole && to == first + written - 1).then_some(records)
    })
    .await;
    assert_first_in_order(&records);
    assert!(kafka.records(&[&dead]).await.is_empty());
    tailwater.stop().await;
}
