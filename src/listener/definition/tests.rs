use super::*;
use bson::bson;

fn batches() -> Document {
    doc! {
        "collection": "batches", "filter": {"status": "received", "isProcessed": false},
        "operationType": ["insert", "update"], "jobName": "processBatchResults", "isActive": true,
        "metadata": {"description": "of the example"}, "createdAt": bson::DateTime::now(),
    }
}

fn wrong(document: &Document) -> Vec<String> {
    let problems = Definition::read(document).expect_err("it is wrong");
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn a_listener_is_read() {
    let read = Definition::read(&batches()).unwrap();
    assert_eq!((read.collection.as_str(), read.database), ("batches", None));
    assert_eq!(read.topic_text, "jobs.processBatchResults");
    assert_eq!(
        Vec::from_iter(read.operations.unwrap().names()),
        ["insert", "update"]
    );
    assert!(read.is_active && read.priority.is_none() && read.document_key.is_none());
}

#[test]
fn what_is_not_there_has_its_default() {
    let read = Definition::read(&doc! {"collection": "a", "jobName": "b", "filter": null}).unwrap();
    assert!(read.is_active && read.filter.is_empty() && read.operations.is_none());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut document = batches();
    document.extend(doc! {
        "collection": 5, "operationType": ["upsert"], "filter": {"$where": "true"},
        "isActive": "yes", "priority": [], "topic": "a b", "collation": {"locale": "de"},
    });
    document.remove("jobName");
    let said = wrong(&document);
    for part in [
        "collection: is no string",
        "operationType: \"upsert\"",
        "filter: at $where",
        "isActive: is neither",
        "priority: is neither",
        "topic: Kafka allows no ' '",
        "jobName: is missing",
        "collation is not supported",
    ] {
        assert!(
            said.iter().any(|sentence| sentence.starts_with(part)),
            "{part}: {said:?}"
        );
    }
}

#[test]
fn a_filter_may_be_extended_json_in_a_string() {
    let mut document = batches();
    document.insert("filter", r#"{"size": {"$gt": {"$numberLong": "5"}}}"#);
    assert!(!Definition::read(&document).unwrap().filter.is_empty());
    document.insert("filter", "status = 5");
    assert!(wrong(&document)[0].contains("no JSON object"));
}

#[test]
fn a_document_key_is_an_id_or_a_document_with_one() {
    for key in [bson!(5), bson!({"_id": 5}), bson!("x")] {
        let mut document = batches();
        document.insert("documentKey", key);
        assert!(Definition::read(&document).unwrap().document_key.is_some());
    }
    let mut document = batches();
    document.insert("documentKey", doc! {"id": 5});
    assert!(wrong(&document)[0].contains("has no _id"));
}

#[test]
fn a_job_whose_name_makes_no_topic_needs_one() {
    let mut document = batches();
    document.insert("jobName", "process results");
    assert!(wrong(&document)[0].contains("set topic, or give the job a name"));
    document.insert("topic", "jobs.{collection}");
    assert!(Definition::read(&document).is_ok());
}
