//! Damage that is planted into the topic while the source is written to.

use super::plant::Plant;
use super::{DIFFERENT, EQUAL, Writer, arrived, figures, listed, of, setup, verify};
use crate::support::{self, Record, Tailwater};
use bson::{Bson, doc};
use serde_json::json;

/// The newest record of a document.
fn newest(records: &[Record], id: &str) -> Record {
    let mut of = records.iter().filter(|it| it.key["_id"] == id);
    of.next_back().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_damage_is_found_and_nothing_else_while_the_source_is_written_to() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka).env("TOMBSTONES", true);
    let topic = db.topic("changes");
    kafka.create_topic(&topic, 3, &[]).await;
    let documents = db.documents("users");
    // Its record is lost: the stream begins later, and is said to have seen all.
    documents.insert_one(doc! {"_id": "lost"}).await.unwrap();
    let tailwater = setup.start().await;
    for name in ["deleted", "altered", "reordered", "repeated", "sound"] {
        let document = doc! {"_id": name, "a": 1, "deep": {"list": [1, {"x": "old"}]}};
        documents.insert_one(document).await.unwrap();
    }
    for set in ["b", "c"] {
        for name in ["reordered", "repeated"] {
            documents
                .update_one(doc! {"_id": name}, doc! {"$set": {set: 1}})
                .await
                .unwrap();
        }
    }
    let records = arrived(kafka, &topic, 9).await;
    let writer = Writer::start(&db, "users");
    let clean = verify(&setup, &[], EQUAL).await;
    assert_eq!(figures(of(&clean, "users")), [0; 5], "{clean:#}");
    assert_eq!(of(&clean, "users")["unknown"]["never_seen"], 1, "{clean:#}");

    // A delete that never happened, a document that never was, and one that has other values.
    let deleted = newest(&records, "deleted");
    let gone = Plant::like(&deleted)
        .operation("delete")
        .seq(deleted.seq() + 1);
    gone.produce(kafka).await;
    let extra = Plant::like(&deleted).id("\"deleted\"", "\"extra\"");
    extra.produce(kafka).await;
    let altered = newest(&records, "altered");
    let altered = Plant::like(&altered)
        .seq(altered.seq() + 1)
        .edit("\"old\"", "\"new\"");
    altered.produce(kafka).await;
    // One between the first and the second change that comes behind the third.
    let reordered: Vec<_> = records
        .iter()
        .filter(|it| it.key["_id"] == "reordered")
        .collect();
    let late = Plant::like(reordered[0]).seq(reordered[0].seq() + 1);
    late.produce(kafka).await;
    Plant::like(&newest(&records, "repeated"))
        .produce(kafka)
        .await;

    let report = verify(&setup, &["--complete"], DIFFERENT).await;
    let users = of(&report, "users");
    assert_eq!(figures(users), [2, 1, 1, 1, 1], "{report:#}");
    assert_eq!(users["unknown"], json!({}), "{report:#}");
    assert_eq!(listed(users, "missing"), ["\"deleted\"", "\"lost\""]);
    assert_eq!(listed(users, "extra"), ["\"extra\""]);
    assert_eq!(listed(users, "different"), ["\"altered\""]);
    let altered = users["listed"].as_array().unwrap();
    let altered = altered
        .iter()
        .find(|it| it["finding"] == "different")
        .unwrap();
    assert_eq!(
        altered["paths"],
        json!([{"path": "deep.list.1.x", "how": "value"}])
    );
    assert_eq!(altered["record"]["topic"], topic.as_str());

    // Values are shown only where that is asked for.
    let text = setup
        .clone()
        .args(&["verify", "--complete"])
        .run()
        .await
        .output;
    assert!(text.contains("deep.list.1.x: another value\n"), "{text}");
    assert!(!text.contains("old"), "{text}");
    let shown = ["verify", "--complete", "--show-documents", "--limit", "9"];
    let text = setup.clone().args(&shown).run().await.output;
    assert!(
        text.contains("another value, \"new\" in Kafka, \"old\" in MongoDB"),
        "{text}"
    );
    assert!(writer.stop().await > 0);
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_type_of_one_field_of_one_document_among_many_is_found_with_canonical() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka)
        .env("JSON_MODE", "canonical")
        .env("DELIVERY", "exactly_once");
    let topic = db.topic("changes");
    let tailwater = setup.start().await;
    let documents = db.documents("numbers");
    let all = (0..3_000_i64).map(|n| {
        doc! {
            "_id": n, "long": n, "nan": f64::NAN, "zero": -0.0, "list": [n, {"double": 1.0}],
            "decimal": "1.50".parse::<bson::Decimal128>().unwrap(), "none": Bson::Null,
        }
    });
    documents.insert_many(all).await.unwrap();
    let records = kafka
        .wait_until(&[&topic], "all", |records| records.len() >= 3_000)
        .await;
    let report = verify(&setup, &["--complete", "--memory", "8MiB"], EQUAL).await;
    assert_eq!(of(&report, "numbers")["equal"], 3_000);
    assert_eq!(report["notes"], json!([]), "canonical shows every type");
    let sample = verify(&setup, &["--complete", "--sample", "10%"], EQUAL).await;
    let compared = of(&sample, "numbers")["equal"].as_u64().unwrap();
    assert!((200..400).contains(&compared), "{sample:#}");

    let number = |id: i64| {
        let mut of = records.iter().filter(|it| it.key["_id"] == id);
        of.next_back().unwrap().clone()
    };
    let plants = [
        (
            7,
            "\"long\":{\"$numberLong\":\"7\"}",
            "\"long\":{\"$numberDouble\":\"7.0\"}",
        ),
        (
            8,
            "\"zero\":{\"$numberDouble\":\"-0.0\"}",
            "\"zero\":{\"$numberDouble\":\"0.0\"}",
        ),
        (
            9,
            "{\"$numberDecimal\":\"1.50\"}",
            "{\"$numberDecimal\":\"1.5\"}",
        ),
        (10, "\"none\":null}", "\"none\":null,\"more\":null}"),
    ];
    for (id, from, to) in plants {
        let record = number(id);
        let plant = Plant::like(&record).seq(record.seq() + 1).edit(from, to);
        plant.produce(kafka).await;
    }
    let report = verify(&setup, &["--complete"], DIFFERENT).await;
    let numbers = of(&report, "numbers");
    assert_eq!(figures(numbers), [0, 0, 4, 0, 0], "{report:#}");
    assert_eq!(numbers["equal"], 2_996);
    let mut paths: Vec<_> = numbers["listed"].as_array().unwrap().iter().collect();
    paths.sort_by_key(|it| it["id"].as_str().unwrap().parse::<u64>().unwrap());
    let paths: Vec<_> = paths.iter().map(|it| it["paths"][0].clone()).collect();
    assert_eq!(
        json!(paths),
        json!([
            {"path": "long", "how": "type"},
            {"path": "zero", "how": "value"},
            {"path": "decimal", "how": "value"},
            {"path": "more", "how": "only_in_kafka"},
        ])
    );
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_by_operation_and_collection_are_found_and_ordered_by_number() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("{collection}.{operation}");
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("COMMIT_INTERVAL_MS", 200);
    let tailwater = setup.start().await;
    let writers = [Writer::start(&db, "users"), Writer::start(&db, "orders")];
    for name in ["users", "orders"] {
        let insert = topic
            .replace("{collection}", name)
            .replace("{operation}", "insert");
        kafka.wait_for_records(&[&insert], 20).await;
    }
    let report = verify(&setup, &["--complete"], EQUAL).await;
    for name in ["users", "orders"] {
        assert_eq!(figures(of(&report, name)), [0; 5], "{report:#}");
        assert_eq!(of(&report, name)["unknown"], json!({}), "{report:#}");
    }
    let one = verify(&setup, &["--complete", "--collection", "users"], EQUAL).await;
    assert_eq!(one["collections"].as_array().unwrap().len(), 1);
    for writer in writers {
        writer.stop().await;
    }
    tailwater.stop().await;
}
