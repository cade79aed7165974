//! What becomes of a running stream when the server answers with a code. A real server is behind; the
//! codes that it does not give on demand come from a proxy.

use crate::support::{self, Refusals, Tailwater, mongo};
use bson::doc;

const CURSOR_NOT_FOUND: i32 = 43;
const NOT_PRIMARY: i32 = 10107;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_cursor_and_a_step_down_lose_and_repeat_nothing() {
    for code in [CURSOR_NOT_FOUND, NOT_PRIMARY] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let topic = db.topic("changes");
        let refusals = Refusals::before(mongo().await.addr(), "getMore", code).await;
        let tailwater = Tailwater::on(&db, kafka)
            .env("MONGODB_URI", refusals.uri_of(db.name()))
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("RECONNECT_DELAY_MS", 10)
            .start()
            .await;
        for id in 0..30 {
            if id % 10 == 5 {
                refusals.refuse(2);
            }
            db.documents("users")
                .insert_one(doc! {"_id": id})
                .await
                .unwrap();
        }
        let records = kafka.wait_for_records(&[&topic], 30).await;
        tailwater.stop().await;
        let ids: Vec<_> = records
            .iter()
            .map(|r| r.value["documentKey"]["_id"].clone())
            .collect();
        assert_eq!(ids, (0..30).collect::<Vec<_>>());
        assert_eq!(kafka.records(&[&topic]).await.len(), 30);
        assert_eq!(
            refusals.left(),
            0,
            "code {code}: the refusals were never met"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_heal_ends_the_process_with_a_code_of_its_own() {
    for (code, exit_code, said) in [
        (136, 6, "ON_HISTORY_LOST"),
        (260, 5, "token"),
        (13, 3, "changeStream"),
        (18, 3, "MONGODB_URI"),
    ] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let refusals = Refusals::before(mongo().await.addr(), "getMore", code).await;
        let mut tailwater = Tailwater::on(&db, kafka)
            .env("MONGODB_URI", refusals.uri_of(db.name()))
            .start()
            .await;
        refusals.refuse(1);
        let exit = tailwater.wait_exit(support::PATIENCE).await;
        assert_eq!(exit.code, Some(exit_code), "code {code}: {}", exit.output);
        assert!(exit.output.contains(said), "code {code}: {}", exit.output);
    }
}
