//! What each format says of a transaction.

use super::{insert_in_one, name_of, numbered};
use crate::support::{self, Record, Tailwater};
use bson::{Bson, Document, doc};
use serde_json::Value;

/// What the server says of the transactions, by document.
async fn of_server(db: &support::Database, start: Bson) -> Vec<(i32, Option<(Document, i64)>)> {
    let token = bson::deserialize_from_bson(start).unwrap();
    let mut watching = db
        .watch()
        .resume_after(Some(token))
        .await
        .unwrap()
        .with_type::<Document>();
    let mut events = Vec::new();
    while let Some(event) = watching.next_if_any().await.unwrap() {
        let id = event.get_document("documentKey").unwrap().get_i32("_id");
        let lsid = event.get_document("lsid").ok().cloned();
        let of = lsid.zip(event.get_i64("txnNumber").ok());
        events.push((id.unwrap(), of));
    }
    events
}

fn headers(record: &Record) -> Option<[String; 3]> {
    let names = ["tw-txn-lsid", "tw-txn-number", "tw-txn-order"];
    let values = names.map(|name| record.headers.get(name).cloned());
    match values {
        [Some(lsid), Some(number), Some(order)] => Some([lsid, number, order]),
        [None, None, None] => None,
        other => panic!("{other:?}"),
    }
}

/// What a record says: from the value, or from headers.
fn said(record: &Record, of: Option<&str>) -> Option<(Value, i64, i64)> {
    let place = of.map(|pointer| record.value.pointer(pointer).cloned());
    match place {
        Some(place) => {
            assert_eq!(headers(record), None);
            let place = place?;
            let order = place["order"].as_i64().unwrap();
            Some((place["lsid"].clone(), name_of(&place).1, order))
        }
        None => {
            let [lsid, number, order] = headers(record)?;
            let lsid = serde_json::from_str(&lsid).unwrap();
            Some((lsid, number.parse().unwrap(), order.parse().unwrap()))
        }
    }
}

/// A format, what is set beside it, and where in the value it says it; none: in headers.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);

#[tokio::test(flavor = "multi_thread")]
async fn each_format_says_which_transaction_and_which_of_its_changes_it_is() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut watching = db.watch().await.unwrap();
    watching.next_if_any().await.unwrap();
    let token = bson::serialize_to_bson(&watching.resume_token().unwrap()).unwrap();
    let data = token
        .as_document()
        .unwrap()
        .get_str("_data")
        .unwrap()
        .to_owned();
    drop(watching);

    let users = db.documents("users");
    users.insert_one(doc! {"_id": 0}).await.unwrap();
    insert_in_one(&db, numbered(1..4)).await;
    insert_in_one(&db, numbered(4..6)).await;
    users.insert_one(doc! {"_id": 6}).await.unwrap();
    insert_in_one(&db, numbered(7..8)).await;
    let events = of_server(&db, token).await;
    let orders = [0, 1, 2, 3, 1, 2, 0, 1];
    assert_eq!(events.len(), orders.len(), "{events:?}");

    let formats: [Case<'_>; 6] = [
        ("tailwater", &[], Some("/transaction")),
        (
            "tailwater",
            &[
                ("ENVELOPE_RENAME", "transaction=tx"),
                ("ENVELOPE_FIELDS", r#"{"a":1}"#),
            ],
            Some("/tx"),
        ),
        ("document", &[], None),
        ("cloudevents", &[], Some("/data/transaction")),
        (
            "cloudevents",
            &[("CLOUDEVENTS_MODE", "binary")],
            Some("/transaction"),
        ),
        ("mongo-kafka", &[("KAFKA_TOPIC_PREFIX", "x")], None),
    ];
    for (index, (format, more, place)) in formats.into_iter().enumerate() {
        let topic = db.topic(&format!("of-{index}"));
        let mut setup = Tailwater::on(&db, kafka)
            .env("STREAM_ID", format!("{topic}-stream"))
            .env("FORMAT", format)
            .env("TRANSACTION_METADATA", true)
            .env("RESUME_STORE", "file")
            .env("START_AT", format!("token:{data}"))
            .env("KAFKA_TOPIC_PARTITIONS", 1)
            .env("KAFKA_DB_CHANGES_TOPIC", &topic);
        for (name, value) in more {
            setup = setup.env(name, value);
        }
        let tailwater = setup.start().await;
        let records = kafka.wait_for_records(&[&topic], events.len()).await;
        tailwater.stop().await;
        for ((record, (id, of)), order) in records.iter().zip(&events).zip(orders) {
            let told = said(record, place);
            let Some((lsid, number)) = of else {
                assert_eq!((told, order), (None, 0), "{format}: {id}");
                continue;
            };
            let (told_lsid, told_number, told_order) = told.expect("it is of a transaction");
            assert_eq!(
                (told_number, told_order),
                (*number, order),
                "{format}: {id}"
            );
            // `JSON_MODE=simple` has a UUID as text.
            let uuid = lsid.get("id").unwrap().clone();
            let Bson::Binary(uuid) = uuid else {
                panic!("{uuid}")
            };
            let uuid = uuid::Uuid::from_slice(&uuid.bytes).unwrap().to_string();
            assert_eq!(told_lsid["id"], uuid, "{format}: {id}");
        }
    }
}
