//! Post-batch resume tokens that go back, as servers of the line 9.0 send them for sharded clusters: left out,
//! said, never stored, and the end of nothing.

use crate::support::{self, Database, Record, Tailwater, mongo, with_real_tokens};
use bson::doc;

fn ids(records: &[Record]) -> Vec<i64> {
    let id = |record: &Record| record.key["_id"].as_i64().unwrap();
    records.iter().map(id).collect()
}

async fn insert(db: &Database, ids: std::ops::Range<i32>) {
    for id in ids {
        let things = db.documents("things");
        things.insert_one(doc! {"_id": id}).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_batch_token_that_goes_back_is_left_out_and_said() {
    for delivery in ["at_least_once", "exactly_once"] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let wire = with_real_tokens(mongo().await).await;
        let topic = db.topic("changes");
        let setup = Tailwater::on(&db, kafka)
            .env("MONGODB_URI", wire.uri_of(db.name()))
            .env("DELIVERY", delivery)
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("KAFKA_TOPIC_PARTITIONS", 1)
            .env("COMMIT_INTERVAL_MS", 50);
        let mut tailwater = setup.start().await;
        insert(&db, 0..3).await;
        kafka.wait_for_records(&[&topic], 3).await;
        // From now on all of them are of an hour before, also those of a start.
        wire.alter(|_, reply| {
            let cursor = reply.get_document_mut("cursor").ok();
            let token = cursor.and_then(|c| c.get_document_mut("postBatchResumeToken").ok());
            if let Some(token) = token {
                let data = token.get_str("_data").unwrap();
                let seconds = u32::from_str_radix(&data[2..10], 16).unwrap() - 3600;
                let back = format!("82{seconds:08X}{}", &data[10..]);
                token.insert("_data", back);
            }
        });
        tailwater.wait_for_event("token_went_back").await;
        insert(&db, 3..5).await;
        kafka.wait_for_records(&[&topic], 5).await;
        let exit = tailwater.stop().await;
        let said = exit.output.matches("is before what was read").count();
        assert_eq!(said, 1, "once in a while: {}", exit.output);

        insert(&db, 5..7).await;
        let mut tailwater = setup.start().await;
        kafka.wait_for_records(&[&topic], 7).await;
        tailwater.wait_for_event("token_went_back").await;
        tailwater.stop().await;
        let tailwater = setup.start().await;
        insert(&db, 7..9).await;
        kafka.wait_for_records(&[&topic], 9).await;
        tailwater.stop().await;
        let records = kafka.records(&[&topic]).await;
        assert_eq!(ids(&records), (0..9).collect::<Vec<_>>(), "{delivery}");
    }
}
