//! Events that the server cannot send: over 16 MiB where it does not split them (10334), or without an
//! image that is required (47). The codes come from a proxy: the server here sends such events.

use crate::support::{self, Database, Kafka, Refusals, Setup, Tailwater, mongo};
use bson::doc;

const TOO_LARGE: i32 = 10334;
const IMAGE_MISSING: i32 = 47;

async fn insert(db: &Database, id: i32) {
    let document = doc! {"_id": id, "padding": "x".repeat(100)};
    db.documents("users").insert_one(document).await.unwrap();
}

fn on(db: &Database, kafka: &Kafka, refusals: &Refusals) -> Setup {
    Tailwater::on(db, kafka)
        .env("MONGODB_URI", refusals.uri_of(db.name()))
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
}

/// Writes 1, stops, writes 2 and 3, and starts again with refusals: the first is that of the batch, the
/// second that of the event that comes first. 2 is then the one that cannot be sent.
async fn refused(
    db: &Database,
    kafka: &Kafka,
    codes: &[i32],
    set: impl Fn(Setup) -> Setup,
) -> (Setup, Refusals, Tailwater) {
    let refusals = Refusals::before(mongo().await.addr(), "getMore", codes[0]).await;
    let setup = set(on(db, kafka, &refusals));
    let tailwater = setup.start().await;
    insert(db, 1).await;
    kafka.wait_for_records(&[&db.topic("changes")], 1).await;
    tailwater.stop().await;
    insert(db, 2).await;
    insert(db, 3).await;
    refusals.refuse_with(codes);
    let tailwater = setup.spawn();
    (setup, refusals, tailwater)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_sent_is_dead_lettered_and_its_neighbours_arrive() {
    for (code, reason) in [
        (TOO_LARGE, "too_large_to_read"),
        (IMAGE_MISSING, "image_missing"),
    ] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let (changes, letters) = (db.topic("changes"), db.topic("letters"));
        let (_setup, refusals, tailwater) = refused(&db, kafka, &[code, code], |setup| {
            setup
                .env("ON_RECORD_ERROR", "dlq")
                .env("KAFKA_DLQ_TOPIC", &letters)
        })
        .await;

        let letter = &kafka.wait_for_records(&[&letters], 1).await[0];
        assert_eq!(letter.header("tw-dlq-reason"), reason);
        assert_eq!(letter.key["_id"], 2);
        let records = kafka.wait_for_records(&[&changes], 2).await;
        let ids: Vec<_> = records
            .iter()
            .map(|r| r.value["documentKey"]["_id"].clone())
            .collect();
        assert_eq!(ids, [1, 3]);
        let seqs = [records[0].seq(), letter.seq(), records[1].seq()];
        assert!(seqs.is_sorted(), "{seqs:?}");
        assert_eq!(refusals.left(), 0);
        tailwater.stop().await;
        assert_eq!(kafka.records(&[&changes]).await.len(), 2);
    }
}

/// The third refusal meets the cursor that reads the event without what makes it too large.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_just_then_is_come_back_to() {
    const SHUTTING_DOWN: i32 = 11600;
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (changes, letters) = (db.topic("changes"), db.topic("letters"));
    let codes = [TOO_LARGE, TOO_LARGE, SHUTTING_DOWN, TOO_LARGE];
    let (_setup, refusals, tailwater) = refused(&db, kafka, &codes, |setup| {
        setup
            .env("ON_RECORD_ERROR", "dlq")
            .env("KAFKA_DLQ_TOPIC", &letters)
            .env("RECONNECT_DELAY_MS", 50)
    })
    .await;
    let letter = &kafka.wait_for_records(&[&letters], 1).await[0];
    assert_eq!(letter.key["_id"], 2);
    kafka.wait_for_records(&[&changes], 2).await;
    assert_eq!(refusals.left(), 0);
    assert_eq!(tailwater.stop().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_it_stops_the_process_with_the_checkpoint_before_it() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, _refusals, mut tailwater) =
        refused(&db, kafka, &[TOO_LARGE, TOO_LARGE], |setup| setup).await;
    let exit = tailwater.wait_exit(support::PATIENCE).await;
    assert_eq!(exit.code, Some(8), "{}", exit.output);
    assert!(
        exit.output.contains("CHANGE_STREAM_PIPELINE"),
        "{}",
        exit.output
    );

    // Nothing was passed over: with nobody refusing, it is the next one.
    let tailwater = setup.start().await;
    let records = kafka.wait_for_records(&[&db.topic("changes")], 3).await;
    let ids: Vec<_> = records
        .iter()
        .map(|r| r.value["documentKey"]["_id"].clone())
        .collect();
    assert_eq!(ids, [1, 2, 3]);
    tailwater.stop().await;
}
