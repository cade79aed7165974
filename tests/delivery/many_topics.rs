//! Topics of templates for many collections: made together, before their events where that is possible.

use crate::support::{self, Database, Kafka, Setup, Tailwater};
use bson::doc;
use rustix::process::Signal;

/// A topic for each collection.
fn on(db: &Database, kafka: &Kafka) -> Setup {
    Tailwater::on(db, kafka).env("KAFKA_DB_CHANGES_TOPIC", db.topic("{collection}"))
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

async fn insert_into(db: &Database, collections: &[String]) {
    for collection in collections {
        let documents = db.documents(collection);
        documents.insert_one(doc! {"_id": 1}).await.unwrap();
    }
}

async fn existing(db: &Database, kafka: &Kafka, collections: &[String]) -> usize {
    let mut count = 0;
    for collection in collections {
        let topic = db.topic(collection);
        count += usize::from(kafka.partitions(&topic).await.is_some());
    }
    count
}

/// How many requests made many topics, and how many made one at its event.
fn requests(log: &str) -> (usize, usize) {
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    (count("topics created"), count("topic created"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_of_all_collections_are_there_before_their_first_event() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (wanted, excluded) = (names("wanted", 60), names("not", 5));
    insert_into(&db, &wanted).await;
    insert_into(&db, &excluded).await;
    let setup = on(&db, kafka).env("EXCLUDE_COLLECTIONS", "not*");

    let checked = setup.clone().args(&["topics"]).run().await;
    assert_eq!(checked.code, Some(0), "{}", checked.output);
    let topics = [
        "will be created at the start",
        &db.topic("wanted0"),
        "40 more",
    ];
    for text in topics {
        assert!(checked.output.contains(text), "{}", checked.output);
    }
    assert_eq!(existing(&db, kafka, &wanted).await, 0);

    let tailwater = setup.start().await;
    assert_eq!(existing(&db, kafka, &wanted).await, 60);
    assert_eq!(existing(&db, kafka, &excluded).await, 0);
    assert_eq!(
        kafka.partitions(&db.topic("_")).await,
        None,
        "no DDL is wanted"
    );
    for collection in &wanted {
        let documents = db.documents(collection);
        documents.insert_one(doc! {"_id": 2}).await.unwrap();
    }
    let topics: Vec<_> = wanted.iter().map(|name| db.topic(name)).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    kafka.wait_for_records(&topics, 60).await;
    let exit = tailwater.stop().await;
    assert_eq!(requests(&exit.output), (1, 0), "{}", exit.output);

    let again = setup.start().await.stop().await;
    assert_eq!(requests(&again.output), (0, 0), "{}", again.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_one_reply_lacks_are_made_together() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let new = names("new", 40);
    let mut tailwater = on(&db, kafka).start().await;
    // One reply has the first event, another one has all that came meanwhile.
    tailwater.signal(Signal::STOP);
    insert_into(&db, &new).await;
    tailwater.signal(Signal::CONT);
    let topics: Vec<_> = new.iter().map(|name| db.topic(name)).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    kafka.wait_for_records(&topics, 40).await;
    let exit = tailwater.stop().await;
    let (together, alone) = requests(&exit.output);
    assert!(together >= 1 && together + alone <= 5, "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_ahead_where_nobody_is_to_make_topics_or_stages_choose_the_collections() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let collections = names("some", 3);
    insert_into(&db, &collections).await;
    let stages = r#"[{"$match": {"ns.coll": "other"}}]"#;
    for (variable, value) in [
        ("KAFKA_CREATE_TOPICS", "false"),
        ("CHANGE_STREAM_PIPELINE", stages),
    ] {
        let setup = on(&db, kafka)
            .env(variable, value)
            .env("RESUME_STORE", "file");
        setup.start().await.stop().await;
        assert_eq!(existing(&db, kafka, &collections).await, 0, "{variable}");
    }
    let exit = on(&db, kafka)
        .args(&["run", "--dry-run"])
        .start()
        .await
        .stop()
        .await;
    assert_eq!(
        existing(&db, kafka, &collections).await,
        0,
        "{}",
        exit.output
    );
}
