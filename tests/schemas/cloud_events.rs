//! CloudEvents whose data has a schema.

use super::{field, on, read, topic};
use crate::support;
use bson::doc;

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_binary_cloud_event_has_a_schema() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let registry = support::registry().await;
    let setup = on(&db, kafka, registry)
        .env("FORMAT", "cloudevents")
        .env("CLOUDEVENTS_MODE", "binary")
        .env("TOMBSTONES", "true");
    let tailwater = setup.start().await;
    let users = db.documents("users");
    let ada = doc! {"_id": 1, "name": "Ada"};
    users.insert_one(ada).await.unwrap();
    users.delete_one(doc! {"_id": 1}).await.unwrap();
    let records = kafka.wait_for_records(&[&topic(&db, "users")], 3).await;
    tailwater.stop().await;
    let (id, insert) = read(registry, &records[0]).await;
    assert_eq!(field(&insert, "operationType"), "insert");
    assert_eq!(field(&insert, "fullDocument.name"), "Ada");
    assert_eq!(records[0].header("content-type"), "application/avro");
    assert_eq!(records[0].header("ce_type"), "tailwater.mongodb.insert");
    assert_eq!(records[0].header("ce_specversion"), "1.0");
    let (same, delete) = read(registry, &records[1]).await;
    assert_eq!(same, id);
    assert_eq!(field(&delete, "documentKey._id"), 1);
    assert_ne!(
        records[0].header("ce_sequence"),
        records[1].header("ce_sequence")
    );
    assert_eq!(records[2].bytes, None);
    let suffixed = format!("{}-t", records[1].header("ce_id"));
    assert_eq!(records[2].header("ce_id"), suffixed);
}
