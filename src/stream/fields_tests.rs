//! What `FIELDS_*` hide is in no record of a stream, whatever becomes of its event.

use super::pump::End;
use super::scripted::{LISTENERS, Rig, STATIC, change, fragment, reply, unwanted};
use crate::change::position::Seq;
use crate::error::Code;
use crate::mongo::errors::SourceFault;
use crate::route::TargetId;
use crate::source::reader::Fetched;
use bson::{Document, doc};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::BTreeMap;

const SECRET: &str = "hush-hush";
const DEAD_LETTERS: [(&str, &str); 2] = [("ON_RECORD_ERROR", "dlq"), ("KAFKA_DLQ_TOPIC", "dead")];

/// The same change, of a document that holds a secret.
fn with_secret(mut event: Document) -> Document {
    let document = event.get_document_mut("fullDocument").unwrap();
    document.insert("secret", SECRET);
    event.insert("fullDocumentBeforeChange", doc! {"secret": SECRET});
    event
}

/// The topics of the records so far, none of which holds the secret.
fn topics(rig: &Rig) -> Vec<String> {
    let sent = rig.producer.sent().into_iter();
    let topics = sent.map(|sent| {
        let all = [sent.key, sent.value].concat();
        let of_headers = sent.headers.iter().any(|(_, it)| it.contains(SECRET));
        let is_there = memchr::memmem::find(&all, SECRET.as_bytes()).is_some();
        assert!(!is_there && !of_headers, "{}", sent.topic);
        sent.topic
    });
    topics.collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_hidden_is_in_no_record_of_a_topic_a_listener_or_a_split_event() {
    let rig = Rig::listening(
        [("FIELDS_EXCLUDE", "orders:secret,rest")],
        &["jobs.a"],
        &[STATIC | LISTENERS[0], LISTENERS[0], STATIC],
    );
    let mut run = rig.run();
    run.reply([
        with_secret(change(1, 1)),
        with_secret(change(2, 2)),
        with_secret(fragment(3, 3, 1)),
        fragment(3, 3, 2),
        unwanted(4),
    ])
    .await;
    for _ in 0..3 {
        rig.producer.acknowledge_all();
        run.settle().await;
    }
    assert_eq!(topics(&rig), ["changes", "jobs.a", "jobs.a", "changes"]);
    let sent = rig.producer.sent();
    assert!(sent.iter().all(|sent| {
        let value = String::from_utf8(sent.value.clone()).unwrap();
        value.contains("\"number\":")
    }));
}

#[tokio::test(start_paused = true)]
async fn what_is_hidden_is_in_no_dead_letter() {
    let [stop, dead] = DEAD_LETTERS;
    let mut rig = Rig::new([stop, dead, ("FIELDS_EXCLUDE", "secret")]);
    rig.hints.refused = BTreeMap::from([(
        (Seq(101), TargetId::STATIC),
        RDKafkaErrorCode::PolicyViolation,
    )]);
    let mut run = rig.run();
    let mut teleport = with_secret(change(2, 2));
    teleport.insert("operationType", "teleport");
    teleport.insert("rest", doc! {"secret": SECRET});
    run.reply([with_secret(change(1, 1)), teleport]).await;
    let mut lookup = with_secret(change(3, 3));
    lookup.insert("added", SECRET);
    let Fetched::Reply(lookup) = reply(&[lookup], None) else {
        panic!("it is a reply");
    };
    for _ in 0..3 {
        rig.producer.acknowledge_all();
        run.settle().await;
    }
    let fault = SourceFault::ImageMissing;
    run.fetch(Fetched::Refused(lookup, fault)).await;
    for _ in 0..3 {
        rig.producer.acknowledge_all();
        run.settle().await;
    }
    assert_eq!(topics(&rig), ["dead", "dead", "dead"]);
    let sent = rig.producer.sent();
    assert!(
        sent.iter()
            .all(|sent| sent.header("tw-dlq-fields").is_some())
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_fields_cannot_be_renamed_is_a_record_error_without_its_document() {
    let [stop, dead] = DEAD_LETTERS;
    let rig = Rig::new([stop, dead, ("FIELDS_RENAME", "number=secret")]);
    let mut run = rig.run();
    run.reply([with_secret(change(1, 1)), change(2, 2)]).await;
    for _ in 0..3 {
        rig.producer.acknowledge_all();
        run.settle().await;
    }
    assert_eq!(topics(&rig), ["dead", "changes"]);
    let sent = rig.producer.sent();
    assert_eq!(sent[0].header("tw-dlq-reason"), Some("fields"));
    let value = String::from_utf8(sent[1].value.clone()).unwrap();
    assert!(value.contains(r#""secret":2"#), "{value}");
}

#[tokio::test(start_paused = true)]
async fn a_hidden_field_of_the_shard_key_stops_the_stream_whatever_the_policy() {
    let [stop, dead] = DEAD_LETTERS;
    for policy in [stop, ("ON_RECORD_ERROR", "skip")] {
        let rig = Rig::new([policy, dead, ("FIELDS_MASK", "orders:secret")]);
        let mut run = rig.run();
        let mut event = change(1, 1);
        event.insert("documentKey", doc! {"_id": 1, "secret": SECRET});
        run.reply([event]).await;
        match run.end() {
            Some(End::Failed(error)) => {
                assert_eq!(error.code, Code::Config);
                assert!(error.detail.contains("shard key") && !error.detail.contains(SECRET));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(topics(&rig), [""; 0]);
    }
}
