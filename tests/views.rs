//! What is watched and has no changes of its own is said before the first event.

use crate::support::{self, Database, Tailwater};
use bson::{Document, doc};

async fn create(db: &Database, command: Document) {
    db.run_command(command).await.unwrap();
}

/// The lines of `check` about collections, and its exit code.
async fn check(db: &Database, watch: &str) -> (String, Option<i32>) {
    let setup = Tailwater::on(db, support::kafka().await)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("RESUME_STORE", "file")
        .env("RESUME_FILE", "checkpoint")
        .args(&["check"]);
    let setup = match watch {
        "" => setup,
        watch => setup.env("WATCH_COLLECTIONS", watch),
    };
    let exit = setup.run().await;
    let mut lines = exit.output.lines().peekable();
    let mut told = String::new();
    while let Some(line) = lines.next() {
        if line.contains("mongodb.collections") {
            told += line;
            while let Some(more) = lines.next_if(|line| line.starts_with("   ")) {
                told += more;
            }
            told.push('\n');
        }
    }
    println!("{}", exit.output);
    (told, exit.code)
}

#[tokio::test]
async fn a_view_is_told_to_have_no_changes_and_what_it_is_made_from() {
    let db = support::database().await;
    db.documents("orders").insert_one(doc! {}).await.unwrap();
    create(&db, doc! {"create": "log", "capped": true, "size": 4096}).await;
    let big = [doc! {"$match": {"total": {"$gt": 100}}}];
    create(
        &db,
        doc! {"create": "orders_big", "viewOn": "orders", "pipeline": big.to_vec()},
    )
    .await;
    create(
        &db,
        doc! {"create": "orders_top", "viewOn": "orders_big", "pipeline": []},
    )
    .await;
    create(
        &db,
        doc! {"create": "lost", "viewOn": "not_there_yet", "pipeline": []},
    )
    .await;

    let (told, code) = check(&db, "orders_big").await;
    assert_eq!(code, Some(0));
    assert!(told.starts_with("warn"), "{told}");
    assert!(
        told.contains("no changes come from a view: orders_big (of orders)"),
        "{told}"
    );
    assert!(told.contains("add orders to WATCH_COLLECTIONS"), "{told}");

    // A view of a view, and one whose collection comes later.
    let (told, _) = check(&db, "orders_top,lost").await;
    assert!(
        told.contains("lost (of not_there_yet), orders_top (of orders)"),
        "{told}"
    );
    assert!(
        told.contains("add not_there_yet, orders to WATCH_COLLECTIONS"),
        "{told}"
    );

    // By a pattern that the collection fits, too.
    let (told, _) = check(&db, "orders*").await;
    assert!(told.starts_with("warn"), "{told}");
    assert!(
        told.contains("orders_big (of orders, which is watched)"),
        "{told}"
    );
    assert!(!told.contains("WATCH_COLLECTIONS"), "{told}");

    // Where everything is watched nobody has asked for the view.
    let (told, _) = check(&db, "").await;
    assert!(
        told.starts_with("ok") && told.contains("orders_top"),
        "{told}"
    );

    // What is an ordinary collection, or is to come, is nothing to warn of.
    let (told, _) = check(&db, "orders,log,to_come").await;
    assert!(
        told.starts_with("ok") && told.contains("do not exist yet: to_come"),
        "{told}"
    );
    assert!(!told.contains("no changes"), "{told}");
}

#[tokio::test]
async fn a_time_series_collection_is_told_to_have_no_changes() {
    let db = support::database().await;
    let series = doc! {"timeField": "at", "metaField": "sensor"};
    create(&db, doc! {"create": "weather", "timeseries": series}).await;
    create(
        &db,
        doc! {"create": "weather_view", "viewOn": "weather", "pipeline": []},
    )
    .await;
    for watch in ["weather", "w*"] {
        let (told, code) = check(&db, watch).await;
        assert_eq!(code, Some(0));
        assert!(
            told.contains("warn") && told.contains("time-series collection: weather"),
            "{told}"
        );
        assert!(told.contains("to an ordinary collection"), "{told}");
        // Watching what the view is made from would not help.
        assert!(!told.contains("WATCH_COLLECTIONS"), "{told}");
    }
}

#[tokio::test]
async fn the_start_warns_of_a_view_as_well() {
    let db = support::database().await;
    create(
        &db,
        doc! {"create": "big", "viewOn": "orders", "pipeline": []},
    )
    .await;
    let mut tailwater = Tailwater::on(&db, support::kafka().await)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("WATCH_COLLECTIONS", "big")
        .spawn();
    let line = tailwater.wait_for_log("no changes come from a view").await;
    assert!(
        line.contains("WARN") && line.contains("add orders to WATCH_COLLECTIONS"),
        "{line}"
    );
    tailwater.stop().await;
}
