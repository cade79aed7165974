//! What the registry, and who configures it, decides.

use super::gate::registration;
use super::{field, on, read, topic};
use crate::support::{self, Setup, Tailwater, http};
use bson::doc;
use tailwater::error::Code;

#[tokio::test(flavor = "multi_thread")]
async fn what_would_change_a_type_is_a_record_error_with_the_path() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let dead = db.topic("dead");
    let setup = on(&db, kafka, registry)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    let tailwater = setup.start().await;
    let users = db.documents("users");
    for document in [
        doc! {"_id": 1, "address": {"zip": 1010}},
        doc! {"_id": 2, "address": {"zip": "1010 AB"}},
        doc! {"_id": 3, "address": {"zip": 2020.5}},
    ] {
        users.insert_one(document).await.unwrap();
    }
    let topic = topic(&db, "users");
    let records = kafka.wait_for_records(&[&topic], 2).await;
    let ids: Vec<_> = records
        .iter()
        .map(|record| record.key["_id"].clone())
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(!ids.contains(&serde_json::json!(2)), "{ids:?}");
    // An integer became a double, which reads what was written before.
    let wide = records
        .iter()
        .find(|record| record.key["_id"] == 3)
        .unwrap();
    let (_, value) = read(registry, wide).await;
    assert_eq!(field(&value, "fullDocument.address.zip"), 2020.5);
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    assert_eq!(letters[0].header("tw-dlq-reason"), "schema");
    let detail = letters[0].header("tw-dlq-detail");
    assert!(
        detail
            .contains("`fullDocument.address.zip` is an integer in the schema, and here a string"),
        "{detail}"
    );
    assert!(!detail.contains("1010"), "{detail}");
    tailwater.stop().await;

    // Without a topic for dead letters it ends, and says the same.
    let setup = setup.without("KAFKA_DLQ_TOPIC").without("ON_RECORD_ERROR");
    let mut tailwater = setup.start().await;
    users
        .insert_one(doc! {"_id": 4, "address": "somewhere"})
        .await
        .unwrap();
    let exit = tailwater.wait_exit(support::PATIENCE).await;
    assert_eq!(exit.code, Some(i32::from(Code::RecordRefused.exit_code())));
    assert!(
        exit.output
            .contains("`fullDocument.address` is a document in the schema, and here a string"),
        "{}",
        exit.output
    );
}

/// What the registry calls incompatible is not written either.
#[tokio::test(flavor = "multi_thread")]
async fn compatibility_is_the_registrys() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let topic = topic(&db, "users");
    let (dead, subject) = (db.topic("dead"), format!("{topic}-value"));
    let tailwater = on(&db, kafka, registry)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq")
        .start()
        .await;
    let users = db.documents("users");
    users.insert_one(doc! {"_id": 1, "n": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    // A reader of the old schema cannot read a double as an integer.
    let body = r#"{"compatibility": "FULL"}"#;
    let path = format!("/apis/ccompat/v7/config/{subject}");
    let reply = http::send(
        registry.addr(),
        &format!(
            "PUT {path} HTTP/1.0\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            registry.addr(),
            body.len()
        ),
    )
    .await
    .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    users.insert_one(doc! {"_id": 2, "n": 0.5}).await.unwrap();
    users.insert_one(doc! {"_id": 3, "new": "x"}).await.unwrap();
    kafka.wait_for_records(&[&topic], 2).await;
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    let detail = letters[0].header("tw-dlq-detail");
    assert!(
        detail.contains("`fullDocument.n` is new or has a wider type, and the schema registry at"),
        "{detail}"
    );
    assert!(detail.contains("409"), "{detail}");
    let versions = registry.get(&format!("/subjects/{subject}/versions")).await;
    assert_eq!(versions, serde_json::json!([1, 2]));
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auto_register_what_is_registered_is_used_and_nothing_else() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let topic = topic(&db, "users");
    let subject = format!("{topic}-value");
    let dead = db.topic("dead");
    let tailwater = on(&db, kafka, registry)
        .env("FORMAT", "document")
        .env("SCHEMA_AUTO_REGISTER", "false")
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq")
        .start()
        .await;
    let users = db.documents("users");
    users
        .insert_one(doc! {"_id": 1, "name": "Ada"})
        .await
        .unwrap();
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    let detail = letters[0].header("tw-dlq-detail");
    assert!(
        detail.contains(&format!("the registry has no subject {subject}")),
        "{detail}"
    );
    let schema = serde_json::json!({
        "type": "record", "name": "User", "namespace": "com.example", "fields": [
            {"name": "id", "type": "int", "mongodb.field": "_id"},
            {"name": "name", "type": ["null", "string"], "default": null},
        ],
    });
    let request = registration(&subject, "AVRO", &schema.to_string());
    let reply = http::send(registry.addr(), &request).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    // It is looked for now and then: until it is found, documents are dead letters.
    let mut id = 1;
    let written = support::eventually(support::PATIENCE, "the schema is used", async || {
        id += 1;
        let document = doc! {"_id": id, "name": "Bob"};
        users.insert_one(document).await.unwrap();
        kafka.records(&[&topic]).await.into_iter().next()
    })
    .await;
    let (_, value) = read(registry, &written).await;
    assert_eq!(field(&value, "id"), written.key["_id"]);
    assert_eq!(field(&value, "name"), "Bob");
    let refused = doc! {"_id": 1000, "name": "Cid", "age": 7};
    users.insert_one(refused).await.unwrap();
    kafka
        .wait_until(&[&dead], "the dead letter", |letters| {
            letters.iter().any(|letter| {
                let detail = letter.header("tw-dlq-detail");
                detail.contains("`fullDocument.age` does not fit the schema of the subject")
            })
        })
        .await;
    let key = written.key.clone();
    let id = i32::try_from(key["_id"].as_i64().unwrap()).unwrap();
    users.delete_one(doc! {"_id": id}).await.unwrap();
    kafka
        .wait_until(&[&topic], "the tombstone", |records| {
            let mut of = records.iter().filter(|record| record.key == key);
            of.any(|record| record.bytes.is_none())
        })
        .await;
    let versions = registry.get(&format!("/subjects/{subject}/versions")).await;
    assert_eq!(versions, serde_json::json!([1]));
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_in_one_topic_have_subjects_of_their_own_by_the_records_name() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let topic = db.topic("all");
    let setup = on(&db, kafka, registry).env("KAFKA_DB_CHANGES_TOPIC", &topic);
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(i32::from(Code::Config.exit_code())));
    assert!(
        exit.output.contains("SCHEMA_SUBJECT=topic_record"),
        "{}",
        exit.output
    );
    let tailwater = setup.env("SCHEMA_SUBJECT", "topic_record").start().await;
    for collection in ["users", "orders"] {
        let documents = db.documents(collection);
        documents
            .insert_one(doc! {"_id": 1, "of": collection})
            .await
            .unwrap();
    }
    let records = kafka.wait_for_records(&[&topic], 2).await;
    for record in &records {
        let (_, value) = read(registry, record).await;
        assert_eq!(
            field(&value, "fullDocument.of"),
            field(&value, "collection")
        );
    }
    let database = db.name().replace('-', "_");
    for collection in ["users", "orders"] {
        let subject = format!("{topic}-tailwater.{database}.{collection}.Change");
        let versions = registry.get(&format!("/subjects/{subject}/versions")).await;
        assert_eq!(versions, serde_json::json!([1]), "{subject}");
    }
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_registry_is_told_at_the_start() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let setup = on(&db, kafka, registry);
    // It answers, but this is not where the interface is.
    let wrong = setup.clone().env(
        "SCHEMA_REGISTRY_URL",
        format!("http://{}/nowhere", registry.addr()),
    );
    let exit = wrong.run().await;
    assert_eq!(exit.code, Some(i32::from(Code::SinkRefused.exit_code())));
    assert!(
        exit.output
            .contains("the schema registry at http://127.0.0.1"),
        "{}",
        exit.output
    );
    assert!(
        exit.output.contains("SCHEMA_REGISTRY_URL"),
        "{}",
        exit.output
    );

    let check = |setup: &Setup| setup.clone().args(&["check"]);
    let exit = check(&setup).run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(
        exit.output.contains("registry.reachable"),
        "{}",
        exit.output
    );
    let exit = check(&wrong).run().await;
    assert_eq!(exit.code, Some(i32::from(Code::SinkRefused.exit_code())));
    let nobody = format!("http://127.0.0.1:{}", support::free_port());
    let exit = check(&setup.env("SCHEMA_REGISTRY_URL", nobody)).run().await;
    assert_eq!(
        exit.code,
        Some(i32::from(Code::SinkUnavailable.exit_code()))
    );
    assert!(exit.output.contains("cannot be reached"), "{}", exit.output);
}

/// Records that nobody could read are worse than a schema that is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_somebody_deletes_is_registered_again() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let mut tailwater = on(&db, kafka, registry)
        .env("SCHEMA_RECHECK_MS", 1000)
        .start()
        .await;
    let (users, topic) = (db.documents("users"), topic(&db, "users"));
    users.insert_one(doc! {"_id": 1, "n": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    let subject = format!("/subjects/{topic}-value");
    let reply = registry
        .send("DELETE", &subject, &serde_json::json!({}))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let versions = format!("{subject}/versions");
    let mut id = 1;
    support::eventually(support::PATIENCE, "it is there again", async || {
        id += 1;
        users.insert_one(doc! {"_id": id, "n": id}).await.unwrap();
        registry.get(&versions).await.is_array().then_some(())
    })
    .await;
    tailwater
        .wait_for_log("the registry has lost a schema that is in use")
        .await;
    let wanted = usize::try_from(id).unwrap();
    let records = kafka.wait_for_records(&[&topic], wanted).await;
    let last = records.iter().find(|record| record.key["_id"] == id);
    let (_, value) = read(registry, last.unwrap()).await;
    assert_eq!(field(&value, "fullDocument.n"), id);
    tailwater.stop().await;
}

/// A dry run asks the registry and leaves nothing there.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_registers_nothing() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let setup = on(&db, kafka, registry).args(&["run", "--dry-run"]);
    let mut tailwater: Tailwater = setup.start().await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    tailwater.wait_for_log("a schema would be registered").await;
    tailwater.stop().await;
    let subject = format!("{}-value", topic(&db, "users"));
    let answer = registry.get(&format!("/subjects/{subject}/versions")).await;
    assert_eq!(answer["error_code"], 40401, "{answer}");
}
