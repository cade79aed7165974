//! Which changes are carried: lists, globs, odd names, operations, stages of the user's own, many
//! databases, and never Tailwater's own writes.

use crate::support::{self, Database, PATIENCE, Setup, Tailwater, eventually, unique};
use bson::{Document, doc};
use futures_util::future::join_all;
use std::collections::BTreeSet;

/// One configuration of the lists, and the collections that must come through.
struct Case {
    setup: Setup,
    topic: String,
    expected: Vec<&'static str>,
}

impl Case {
    async fn new(
        db: &Database,
        variables: &[(&str, &str)],
        expected: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let topic = unique(db.name());
        let mut setup =
            Tailwater::on(db, support::kafka().await).env("KAFKA_DB_CHANGES_TOPIC", &topic);
        for (name, value) in variables {
            setup = setup.env(name, value);
        }
        Self {
            setup,
            topic,
            expected: expected.into_iter().collect(),
        }
    }

    /// Waits for the records of both rounds, and compares them with what is expected.
    async fn check(&self, tailwater: Tailwater) {
        let kafka = support::kafka().await;
        let count = self.expected.len() * 2;
        kafka.wait_for_records(&[&self.topic], count).await;
        tailwater.stop().await;
        let mut came: Vec<_> = kafka
            .records(&[&self.topic])
            .await
            .iter()
            .map(|record| record.value["collection"].as_str().unwrap().to_owned())
            .collect();
        came.sort();
        let twice = self.expected.iter().flat_map(|name| [*name; 2]);
        let mut expected: Vec<_> = twice.collect();
        expected.sort_unstable();
        assert_eq!(came, expected, "{:?}", self.setup);
    }
}

/// Runs all cases at once over two rounds of writes: when the second has come through, whatever
/// was let through of the first by mistake is there too.
async fn check(db: &Database, collections: &[&str], cases: Vec<Case>) {
    let running = join_all(cases.iter().map(|case| case.setup.start())).await;
    for _round in 0..2 {
        for name in collections {
            db.documents(name).insert_one(doc! {}).await.unwrap();
        }
    }
    join_all(
        cases
            .iter()
            .zip(running)
            .map(|(case, running)| case.check(running)),
    )
    .await;
}

const COLLECTIONS: [&str; 7] = [
    "users",
    "orders",
    "audit_2024",
    "audit_2025",
    "audit_2025_old",
    "sessions",
    "a.b.c",
];

#[tokio::test]
async fn lists_and_globs_say_what_is_carried_and_exclude_beats_watch() {
    let db = support::database().await;
    let case = async |watch: &str, exclude: &str, expected: &[&'static str]| {
        let variables = [
            ("WATCH_COLLECTIONS", watch),
            ("EXCLUDE_COLLECTIONS", exclude),
        ];
        Case::new(&db, &variables, expected.iter().copied()).await
    };
    let audits = ["audit_2024", "audit_2025", "audit_2025_old"];
    let cases = vec![
        case("", "", &COLLECTIONS).await,
        case("users, orders", "", &["users", "orders"]).await,
        case("audit_*", "", &audits).await,
        case(
            "users,audit_*",
            "*_old",
            &["users", "audit_2024", "audit_2025"],
        )
        .await,
        case("users,orders", "users", &["orders"]).await,
        case("", "audit_*,sessions,users", &["orders", "a.b.c"]).await,
        // A dot is a character like others, and a plain name is no prefix.
        case("a.*,audit_2025", "", &["a.b.c", "audit_2025"]).await,
    ];
    check(&db, &COLLECTIONS, cases).await;
}

/// 200 characters.
const LONG: &str = concat!(
    "long_567890123456789012345678901234567890123456789",
    "long_567890123456789012345678901234567890123456789",
    "long_567890123456789012345678901234567890123456789",
    "long_567890123456789012345678901234567890123456789",
);

const ODD: [&str; 10] = [
    "with.dots.in.it",
    "with space",
    "ünï☃",
    "systems",
    "my.system.log",
    "System.x",
    "[a-z]+(x)?",
    "it's \"quoted\"",
    "null",
    LONG,
];

#[tokio::test]
async fn odd_names_are_watched_like_others_and_written_as_they_are() {
    assert_eq!(LONG.len(), 200);
    let db = support::database().await;
    let literal = ODD.join(",");
    let cases = vec![
        Case::new(&db, &[], ODD).await,
        Case::new(&db, &[("WATCH_COLLECTIONS", &literal)], ODD).await,
        // As patterns the names must not mean more than they say.
        Case::new(
            &db,
            &[("WATCH_COLLECTIONS", "[a-z]+(x)?*,with*it,ün*☃,*.log,long_*")],
            [
                "[a-z]+(x)?",
                "with.dots.in.it",
                "ünï☃",
                "my.system.log",
                LONG,
            ],
        )
        .await,
        Case::new(
            &db,
            &[("EXCLUDE_COLLECTIONS", "*[a-z]*,* *,*.*,long_*")],
            ["ünï☃", "systems", "null"],
        )
        .await,
    ];
    check(&db, &ODD, cases).await;
}

#[tokio::test]
async fn odd_names_give_legal_topics_and_keep_their_own_in_key_value_and_headers() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", "{database}-{collection}")
        .start()
        .await;
    let names = ["with.dots.in.it", "with space", "ünï☃", LONG];
    let topics = ["with.dots.in.it", "with_space", "_n__", LONG];
    let topics = topics.map(|topic| format!("{}-{topic}", db.name()));
    for (name, topic) in names.iter().zip(&topics) {
        db.documents(name)
            .insert_one(doc! {"_id": 1})
            .await
            .unwrap();
        let records = kafka.wait_for_records(&[topic], 1).await;
        let namespace = format!("{}.{name}", db.name());
        assert_eq!(records[0].header("tw-ns"), namespace);
        assert_eq!(records[0].key["collection"], **name);
        assert_eq!(records[0].value["collection"], **name);
    }
    tailwater.stop().await;
}

#[tokio::test]
async fn only_the_watched_operations_are_carried() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("WATCH_OPERATIONS", "insert, delete")
        .start()
        .await;
    let users = db.documents("users");
    for _round in 0..2 {
        let one = doc! {"_id": 1};
        users.insert_one(one.clone()).await.unwrap();
        let update = doc! {"$set": {"a": 1}};
        users.update_one(one.clone(), update).await.unwrap();
        users.replace_one(one.clone(), doc! {"b": 1}).await.unwrap();
        users.delete_one(one).await.unwrap();
    }
    let records = kafka.wait_for_records(&[&topic], 4).await;
    tailwater.stop().await;
    let mut records: Vec<_> = records
        .iter()
        .map(|record| (record.seq(), record.header("tw-op")))
        .collect();
    records.sort_unstable();
    let operations: Vec<_> = records.iter().map(|(_, operation)| *operation).collect();
    assert_eq!(operations, ["insert", "delete", "insert", "delete"]);
    assert_eq!(kafka.records(&[&topic]).await.len(), 4);
}

#[tokio::test]
async fn stages_of_the_users_own_choose_and_change_what_is_carried() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let stages = r#"[{"$match":{"fullDocument.tenant":"acme"}},{"$unset":"fullDocument.secret"}]"#;
    let tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("EXCLUDE_COLLECTIONS", "logs")
        .env("CHANGE_STREAM_PIPELINE", stages)
        .start()
        .await;
    let insert = async |collection: &str, document: Document| {
        db.documents(collection).insert_one(document).await.unwrap();
    };
    for round in 0..2 {
        insert("users", doc! {"tenant": "other"}).await;
        insert("logs", doc! {"tenant": "acme"}).await;
        let acme = doc! {"_id": round, "tenant": "acme", "secret": "hush", "n": 1};
        insert("users", acme).await;
    }
    let mut records = kafka.wait_for_records(&[&topic], 2).await;
    tailwater.stop().await;
    records.sort_by_key(|record| record.seq());
    for (round, record) in records.iter().enumerate() {
        let expected = serde_json::json!({"_id": round, "tenant": "acme", "n": 1});
        assert_eq!(record.value["fullDocument"], expected);
    }
    assert_eq!(kafka.records(&[&topic]).await.len(), 2);
}

#[tokio::test]
async fn one_stream_watches_many_databases_of_a_deployment() {
    let mongo = support::mongo().await;
    let kafka = support::kafka().await;
    let prefix = unique("many");
    let name = |end: &str| format!("{prefix}-{end}");
    let topic = name("changes");
    let setup = Setup::empty()
        .env("MONGODB_URI", mongo.uri())
        .env("KAFKA_BROKERS", kafka.brokers())
        .env("KAFKA_CLIENT_ID", &prefix)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env(
            "WATCH_DATABASES",
            format!("{},{}", name("main"), name("tenant_*")),
        )
        .env(
            "WATCH_COLLECTIONS",
            format!("{}.*,*.users,{}.orders", name("main"), name("tenant_1")),
        )
        .env("EXCLUDE_COLLECTIONS", "*.logs");
    let tailwater = setup.start().await;
    let databases = ["main", "tenant_1", "tenant_2", "other"];
    for _round in 0..2 {
        for database in databases {
            let database = mongo.database_named(&name(database)).await;
            for collection in ["users", "orders", "logs"] {
                let collection = database.documents(collection);
                collection.insert_one(doc! {}).await.unwrap();
            }
        }
    }
    let expected = [
        ("main", "orders"),
        ("main", "users"),
        ("tenant_1", "orders"),
        ("tenant_1", "users"),
        ("tenant_2", "users"),
    ];
    let count = expected.len() * 2;
    kafka.wait_for_records(&[&topic], count).await;
    let wanted = [("main", 4), ("tenant_1", 4), ("tenant_2", 2)];
    let wanted = wanted.map(|(database, events)| (name(database), Some(events)));
    eventually(PATIENCE, "each database is counted", async || {
        let detailed = tailwater.get("/health/detailed").await.json();
        let rows = detailed["databases"].as_array().unwrap().iter();
        let rows = rows.filter(|row| row["lastEventRead"].is_string());
        let counts = rows.map(|row| {
            let database = row["database"].as_str().unwrap();
            (database.to_owned(), row["events"].as_u64())
        });
        (counts.collect::<Vec<_>>() == wanted).then_some(())
    })
    .await;
    tailwater.stop().await;
    let records = kafka.records(&[&topic]).await;
    assert_eq!(records.len(), count);
    let came: BTreeSet<_> = records
        .iter()
        .map(|record| record.header("tw-ns").to_owned())
        .collect();
    let expected = expected.map(|(db, coll)| format!("{}.{coll}", name(db)));
    assert_eq!(came, expected.into());
    assert_eq!(records[0].header("tw-stream"), format!("{prefix}:*"));
}

/// The sequence number counts what the server sends: it would grow with each checkpoint otherwise.
#[tokio::test]
async fn checkpoints_in_the_watched_database_do_not_feed_the_stream() {
    let db = support::database().await;
    let topic = db.topic("changes");
    let of_the_database = Tailwater::on(&db, support::kafka().await)
        .env("RESUME_STORE", "mongodb")
        .env("COMMIT_INTERVAL_MS", 10)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic);
    feeds_nothing_back(&db, &of_the_database, "changeStreamResumeTokens", &topic).await;

    let topic = db.topic("deployment");
    let of_the_deployment = of_the_database
        .env("MONGODB_URI", support::mongo().await.uri())
        .env("WATCH_DATABASES", db.name())
        .env("RESUME_DATABASE", db.name())
        .env("RESUME_COLLECTION", "places")
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        // The other stream's checkpoints are somebody's documents to this one.
        .env(
            "EXCLUDE_COLLECTIONS",
            format!("{}.changeStreamResumeTokens", db.name()),
        );
    feeds_nothing_back(&db, &of_the_deployment, "places", &topic).await;
}

async fn feeds_nothing_back(db: &Database, setup: &Setup, checkpoints: &str, topic: &str) {
    let kafka = support::kafka().await;
    let tailwater = setup.start().await;
    let mut before = db.contents(checkpoints).await;
    for n in 0..4_usize {
        db.documents("users").insert_one(doc! {}).await.unwrap();
        kafka.wait_for_records(&[topic], n + 1).await;
        before = eventually(support::PATIENCE, "the checkpoint moves", async || {
            let now = db.contents(checkpoints).await;
            (now != before).then_some(now)
        })
        .await;
    }
    tailwater.stop().await;
    let mut seqs: Vec<_> = kafka
        .records(&[topic])
        .await
        .iter()
        .map(|record| record.seq())
        .collect();
    seqs.sort_unstable();
    let expected: Vec<_> = (0..4).map(|n| seqs[0] + n).collect();
    assert_eq!(seqs, expected);
}
