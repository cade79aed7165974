//! The least rights of `SECURITY.md`: with exactly these everything works, and each that is taken away is
//! named by `check`, whose exit code says so.

use crate::support::Operation::{self, Create, Describe, DescribeConfigs, Read, Write};
use crate::support::Resource::{Topic, TransactionalId};
use crate::support::{
    self, Database, Exit, Kafka, Mongo, PATIENCE, Record, Setup, Tailwater, Wire, eventually, wire,
};
use bson::doc;
use futures_util::future::join_all;
use std::net::SocketAddr;

const RECORDS: &str = "records";
const DDL: &str = "ddl";
const LETTERS: &str = "letters";
const CHECKPOINTS: &str = "checkpoints";
const NEW: &str = "new";
/// The user who lacks what a run does without.
const BLIND: &str = "blind";

/// A line of the table: what, on what (of the user's own transactional id where it is none).
type Right = (Operation, Option<&'static str>);

/// What a run with these topics needs.
const LEAST: [Right; 14] = [
    (Write, Some(RECORDS)),
    (DescribeConfigs, Some(RECORDS)),
    (Write, Some(DDL)),
    (DescribeConfigs, Some(DDL)),
    (Write, Some(LETTERS)),
    (DescribeConfigs, Some(LETTERS)),
    // For `dlq list` and `dlq replay`.
    (Read, Some(LETTERS)),
    (Read, Some(CHECKPOINTS)),
    (Write, Some(CHECKPOINTS)),
    (DescribeConfigs, Some(CHECKPOINTS)),
    (Write, None),
    (Create, Some(NEW)),
    (Write, Some(NEW)),
    (DescribeConfigs, Some(NEW)),
];

/// Users, what each lacks, what it has in its place (reading and writing imply describing), and what is said
/// of that. The ones that lack nothing come last: when their rights are known, all are.
const USERS: [(&str, &[Right], &[Right], &str); 13] = [
    (
        "records",
        &[(Write, Some(RECORDS))],
        &[(Describe, Some(RECORDS))],
        "lacks Write on topic records",
    ),
    (
        "unseen",
        &[(Write, Some(RECORDS)), (DescribeConfigs, Some(RECORDS))],
        &[],
        "describe and write topic records",
    ),
    (
        "ddl",
        &[(Write, Some(DDL))],
        &[(Describe, Some(DDL))],
        "lacks Write on topic ddl",
    ),
    (
        "letters",
        &[(Write, Some(LETTERS))],
        &[],
        "lacks Write on topic letters",
    ),
    (
        "reader",
        &[(Write, Some(CHECKPOINTS))],
        &[],
        "lacks Write on topic checkpoints",
    ),
    (
        "writer",
        &[(Read, Some(CHECKPOINTS))],
        &[],
        "lacks Read on topic checkpoints",
    ),
    (
        "id",
        &[(Write, None)],
        &[(Describe, None)],
        "lacks Write and Describe on transactional id tailwater-id",
    ),
    (
        "noid",
        &[(Write, None)],
        &[],
        "lacks Write and Describe on transactional id tailwater-noid",
    ),
    (
        "creator",
        &[(Create, Some(NEW))],
        &[],
        "--operation Create --topic new",
    ),
    (
        "nowhere",
        &[
            (Write, Some(RECORDS)),
            (Write, Some(DDL)),
            (Write, Some(LETTERS)),
            (Write, Some(CHECKPOINTS)),
            (Write, Some(NEW)),
        ],
        &[(Describe, Some(RECORDS)), (Describe, Some(DDL))],
        "gets no producer id",
    ),
    (
        BLIND,
        &[
            (DescribeConfigs, Some(RECORDS)),
            (DescribeConfigs, Some(DDL)),
            (DescribeConfigs, Some(LETTERS)),
            (DescribeConfigs, Some(CHECKPOINTS)),
        ],
        &[],
        "lacks DescribeConfigs on topic records",
    ),
    ("once", &[], &[], ""),
    ("exactly", &[], &[], ""),
];

async fn grant(kafka: &Kafka, user: &str, (operation, topic): Right) {
    let id = format!("tailwater-{user}");
    let resource = topic.map_or(TransactionalId(&id), Topic);
    kafka.allow(user, resource, operation).await;
}

/// A run of `user`, whose name is the stream's id.
fn setup(db: &Database, kafka: &Kafka, user: &str) -> Setup {
    let delivery = match user {
        "exactly" => "exactly_once",
        _ => "at_least_once",
    };
    Tailwater::on(db, kafka)
        .logged_in_as(kafka, user)
        .env("STREAM_ID", user)
        .env("DELIVERY", delivery)
        .env("KAFKA_TOPIC_INSERT", RECORDS)
        .env("KAFKA_TOPIC_UPDATE", RECORDS)
        .env("KAFKA_TOPIC_DELETE", NEW)
        .env("KAFKA_TOPIC_DDL", DDL)
        .env("KAFKA_DLQ_TOPIC", LETTERS)
        .env("ON_RECORD_ERROR", "dlq")
        .env("RESUME_TOPIC", CHECKPOINTS)
        .env("COMMIT_INTERVAL_MS", 200)
}

async fn check(db: &Database, kafka: &Kafka, user: &str) -> Exit {
    setup(db, kafka, user).args(&["check"]).run().await
}

#[tokio::test]
async fn each_right_of_kafka_that_is_taken_away_is_named_and_with_all_of_them_everything_works() {
    let db = support::database().await;
    let kafka = Kafka::with_acls(&USERS.map(|(user, ..)| user), &[]).await;
    let small = [("max.message.bytes", "2000")];
    kafka.create_topic(RECORDS, 2, &small).await;
    kafka.create_topic(DDL, 1, &[]).await;
    kafka.create_topic(LETTERS, 1, &small).await;
    let compacted = [("cleanup.policy", "compact")];
    kafka.create_topic(CHECKPOINTS, 2, &compacted).await;
    for (user, lacks, has, _) in USERS {
        for right in LEAST.iter().filter(|right| !lacks.contains(right)) {
            grant(&kafka, user, *right).await;
        }
        for right in has {
            grant(&kafka, user, *right).await;
        }
    }
    for user in ["once", "exactly"] {
        eventually(PATIENCE, "the rights are in force", async || {
            let exit = check(&db, &kafka, user).await;
            let is_clean = !exit.output.contains("kafka.rights");
            (exit.code == Some(0) && is_clean).then_some(())
        })
        .await;
    }
    let lacking = USERS.iter().filter(|(_, lacks, ..)| !lacks.is_empty());
    join_all(lacking.map(async |&(user, _, _, said)| {
        let exit = check(&db, &kafka, user).await;
        let code = if user == BLIND { 0 } else { 4 };
        assert_eq!(exit.code, Some(code), "{user}: {}", exit.output);
        assert!(exit.output.contains(said), "{user}: {}", exit.output);
        assert!(!exit.output.contains("password-of"), "{}", exit.output);
    }))
    .await;

    let mut records = 0;
    for user in ["once", "exactly", BLIND] {
        let setup = setup(&db, &kafka, user);
        for id in 1..=2 {
            let tailwater = setup.start().await;
            // Nobody is fenced by being looked at.
            let exit = setup.clone().args(&["check"]).run().await;
            assert_eq!(exit.code, Some(0), "{}", exit.output);
            let documents = db.documents(&format!("of_{user}"));
            documents.insert_one(doc! {"_id": id}).await.unwrap();
            let large = doc! {"_id": -id, "text": "x".repeat(5_000)};
            documents.insert_one(large).await.unwrap();
            documents.delete_one(doc! {"_id": id}).await.unwrap();
            records += 1;
            kafka.wait_for_records(&[RECORDS], records).await;
            kafka.wait_for_records(&[NEW], records).await;
            // A stop may come before the large one has found its way to the dead letters.
            let last_parts = |letters: &[Record]| {
                let is_last = |letter: &&Record| {
                    let part = letter.header("tw-dlq-part").split_once('/');
                    part.is_some_and(|(part, of)| part == of)
                };
                letters.iter().filter(is_last).count() >= records
            };
            kafka
                .wait_until(&[LETTERS], "its dead letter", last_parts)
                .await;
            let log = tailwater.stop().await.output;
            for word in ["fenced", "made anew", "ERROR", "lacks"] {
                assert!(!log.contains(word), "{word}: {log}");
            }
        }
        let exit = setup.clone().args(&["dlq", "list"]).run().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        assert!(exit.output.contains("too_large"), "{}", exit.output);
        let exit = setup.clone().args(&["token", "show"]).run().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
    }
}

/// What is served live is read from Kafka, which a stream alone does not need to.
#[tokio::test]
async fn a_topic_that_may_be_written_and_not_be_served_live_is_named() {
    let (db, kafka) = (
        support::database().await,
        Kafka::with_acls(&["served"], &[]).await,
    );
    kafka.allow_everything("served").await;
    kafka.create_topic(RECORDS, 1, &[]).await;
    let setup = Tailwater::on(&db, &kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", RECORDS)
        .env("LIVE_ADDR", "127.0.0.1:0")
        .logged_in_as(&kafka, "served");
    let exit = setup.clone().args(&["check"]).run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let said = "served live at 127.0.0.1:0: 1";
    assert!(exit.output.contains(said), "{}", exit.output);
    kafka.deny("served", Topic(RECORDS), Read).await;
    let exit = setup.args(&["check"]).run().await;
    assert_ne!(exit.code, Some(0), "{}", exit.output);
    let said = "lacks Read on topic records";
    assert!(exit.output.contains(said), "{}", exit.output);
}

/// A server that tells what the one who has logged in may do; the one here does not.
pub async fn telling(
    server: SocketAddr,
    granted: &[(&'static str, &'static [&'static str])],
) -> Wire {
    let wire = Wire::before(server).await;
    let privileges: Vec<_> = granted
        .iter()
        .map(|(db, actions)| doc! {"resource": {"db": db, "collection": ""}, "actions": actions.to_vec()})
        .collect();
    wire.alter(move |command, reply| {
        if wire::name(command) == "connectionStatus" {
            let users = [doc! {"user": "tw", "db": "admin"}];
            let told =
                doc! {"authenticatedUsers": users.to_vec(), "authenticatedUserPrivileges": &privileges};
            reply.insert("authInfo", told);
        }
    });
    wire
}

/// What storing checkpoints in MongoDB takes is asked of the server, and nothing is written to find out.
#[tokio::test]
async fn each_right_of_mongodb_that_is_taken_away_is_named() {
    const READ: &[&str] = &["find", "changeStream", "listCollections", "listIndexes"];
    const STORE: &[&str] = &["find", "insert", "update"];
    const EXPIRY: &[&str] = &[
        "find",
        "insert",
        "update",
        "listIndexes",
        "createIndex",
        "dropIndex",
    ];
    let (db, kafka) = (support::database().await, support::kafka().await);
    let server = support::mongo().await.addr();
    let store = support::unique("checkpoints");
    let check = async |wire: &Wire, database: &str| {
        let setup = Tailwater::on(&db, kafka)
            .env("MONGODB_URI", wire.uri_of("shop"))
            .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
            .env("RESUME_STORE", "mongodb")
            .env("RESUME_DATABASE", database)
            .env("RESUME_TTL_DAYS", 7);
        setup.args(&["check"]).run().await
    };
    for (granted, database, code, said) in [
        (READ, "shop", 10, "lacks insert, update on"),
        (READ, &store, 10, "lacks find, insert, update on"),
        (&["find", "update"], "shop", 10, "lacks insert on"),
        (&["find", "insert"], "shop", 10, "lacks update on"),
        (&["insert", "update"], "shop", 10, "lacks find on"),
        (
            STORE,
            "shop",
            0,
            "lacks listIndexes, createIndex, dropIndex on",
        ),
        (EXPIRY, "shop", 0, "may read and write"),
    ] {
        let wire = telling(server, &[("shop", granted)]).await;
        let exit = check(&wire, database).await;
        assert_eq!(exit.code, Some(code), "{said}: {}", exit.output);
        assert!(exit.output.contains(said), "{said}: {}", exit.output);
    }
    let wire = telling(server, &[("shop", EXPIRY)]).await;
    wire.refuse_if(|command| {
        (wire::name(command) == "listCollections").then(|| wire::error(13, &[]))
    });
    let exit = check(&wire, "shop").await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(
        exit.output
            .contains("is a view, or keeps images is not known"),
        "{}",
        exit.output
    );

    // What tells nothing is no reason to fail.
    let exit = check(&telling(server, &[]).await, "shop").await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(
        exit.output
            .contains("does not say whether this user may write"),
        "{}",
        exit.output
    );

    let left = db.client.database(&store).list_collection_names().await;
    assert!(left.unwrap().is_empty(), "check has written");
}

#[tokio::test]
async fn with_exactly_the_rights_of_mongodb_everything_works() {
    let mongo = Mongo::with_auth().await;
    let kafka = support::kafka().await;
    let db = mongo.database_named("shop").await;
    let least = bson::bson!([
        {"role": "read", "db": "shop"},
        {"role": "readWrite", "db": "checkpoints"}
    ]);
    mongo.add_user("least", "pwd", least).await;
    let topic = support::unique("changes");
    let setup = Tailwater::on(&db, kafka)
        .env("MONGODB_URI", mongo.uri_as("least", "pwd", "shop"))
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("RESUME_STORE", "mongodb")
        .env("RESUME_DATABASE", "checkpoints")
        .env("RESUME_TTL_DAYS", 7);
    for count in 1..=2 {
        let tailwater = setup.start().await;
        db.documents("orders").insert_one(doc! {}).await.unwrap();
        kafka.wait_for_records(&[&topic], count).await;
        let log = tailwater.stop().await.output;
        assert!(!log.contains("could not be set up"), "{log}");
    }
    for command in [&["check"][..], &["token", "show"]] {
        let exit = setup.clone().args(command).run().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
    }
}
