//! What is made at the start: the index, and the listeners of a file.

use super::{file, listener, listening};
use crate::support;
use bson::{Document, doc};

#[tokio::test]
async fn what_a_bootstrap_file_has_is_created_where_it_is_missing() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/listeners.example.json");
    let setup = listening(&db, kafka).env("LISTENERS_BOOTSTRAP", example);
    let listeners = db.documents("listeners");
    listeners
        .insert_one(doc! {"_id": "own", "collection": "batchnotifications", "jobName": "processVertexBatchNotification", "isActive": false})
        .await
        .unwrap();
    // Two at once, of two streams.
    let other = setup
        .clone()
        .env("KAFKA_CLIENT_ID", support::unique("other"));
    let (mut one, two) = tokio::join!(setup.start(), other.start());
    let told = one.wait_for_event("listeners_bootstrapped").await;
    assert!(told.contains("kept="), "{told}");
    let there = db.contents("listeners").await;
    assert_eq!(there.len(), 2, "{there:?}");
    let made = there
        .iter()
        .find(|document| document.get_str("_id").is_err())
        .unwrap();
    assert_eq!(made.get_str("jobName").unwrap(), "processBatchResults");
    assert!(made.get_datetime("createdAt").is_ok());
    let own = there
        .iter()
        .find(|document| document.get_str("_id").is_ok())
        .unwrap();
    assert!(
        !own.get_bool("isActive").unwrap(),
        "what is there stays as it is"
    );
    let log = one.log();
    assert!(log.contains("kept as it is"), "{log}");
    two.stop().await;
    one.stop().await;

    let id = made.get_object_id("_id").unwrap();
    let mut again = setup.start().await;
    let told = again.wait_for_event("listeners_bootstrapped").await;
    assert!(
        told.contains("created=0") && told.contains("kept=2"),
        "{told}"
    );
    again.stop().await;
    assert_eq!(
        listeners.count_documents(doc! {"_id": id}).await.unwrap(),
        1
    );
    assert_eq!(listeners.count_documents(doc! {}).await.unwrap(), 2);
}

#[tokio::test]
async fn a_wrong_bootstrap_file_stops_the_start_with_all_that_is_wrong() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = listening(&db, kafka);
    let text =
        r#"[{"collection": "a"}, {"jobName": "b", "collection": "b", "filter": {"$where": "1"}}]"#;
    let path = file(&setup, "wrong.json", text);
    let exit = setup.env("LISTENERS_BOOTSTRAP", path).run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    for part in [
        "listeners[0]: jobName: is missing",
        "listeners[1]: filter",
        "$where",
    ] {
        assert!(exit.output.contains(part), "{part}: {}", exit.output);
    }
    assert!(db.contents("listeners").await.is_empty());
}

#[tokio::test]
async fn listeners_are_kept_apart_by_an_index_or_a_warning_names_those_that_are_not() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let listeners = db.documents("listeners");
    let setup = listening(&db, kafka);
    let mut same = listener(&db, "twin", "a");
    listeners.insert_one(&same).await.unwrap();
    same.insert("_id", "double");
    listeners.insert_one(&same).await.unwrap();
    let mut process = setup.start().await;
    let warning = process.wait_for_event("listeners_index").await;
    assert!(
        warning.contains("twin") && warning.contains("double"),
        "{warning}"
    );
    process.stop().await;

    listeners.delete_one(doc! {"_id": "double"}).await.unwrap();
    let process = setup.start().await;
    assert!(
        !process.log().contains("listeners_index"),
        "{}",
        process.log()
    );
    let indexes = db.indexes("listeners").await;
    let is_made = |index: &mongodb::IndexModel| {
        index
            .options
            .as_ref()
            .and_then(|options| options.name.as_deref())
            == Some("tailwater_identity")
    };
    assert!(indexes.iter().any(is_made), "{indexes:?}");
    assert!(
        listeners.insert_one(&same).await.is_err(),
        "the same listener twice"
    );
    let settings = |id: &str| -> Document {
        doc! {"_id": id, "kind": "database", "database": "x"}
    };
    listeners.insert_one(settings("s1")).await.unwrap();
    listeners.insert_one(settings("s2")).await.unwrap();
    process.stop().await;
}
