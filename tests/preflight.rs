//! What is said about servers before the first event, and what is done about it.

use crate::support::{self, Mongo, Tailwater};
use bson::doc;
use mongodb::Client;
use std::time::Duration;
use tailwater::config::*;
use tailwater::error::Code;
use tailwater::mongo::describe::describe;
use tailwater::mongo::errors::{self, Phase, SourceFault};
use tailwater::mongo::identity::{identify, same_source};
use tailwater::preflight::{Finding, Report, Severity};
use tailwater::source::{Filter, preflight};

fn config(uri: &str, database: &str) -> Config {
    let vars = [
        ("MONGODB_URI", uri),
        ("MONGODB_DATABASE", database),
        ("KAFKA_BROKERS", "localhost:9092"),
        ("KAFKA_DB_CHANGES_TOPIC", "changes"),
    ];
    Config::from_vars(vars)
        .unwrap_or_else(|errors| panic!("{errors:?}"))
        .config
}

async fn client(uri: &str) -> Client {
    let mut options = mongodb::options::ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(Duration::from_secs(3));
    Client::with_options(options).unwrap()
}

async fn report(config: &Config) -> Report {
    let client = client(config.mongo.uri.expose()).await;
    let report = preflight::run(&client, &config.mongo, &config.streams[0]).await;
    println!("{report}");
    report
}

fn finding<'a>(report: &'a Report, name: &str) -> &'a Finding {
    let found = report.findings.iter().find(|finding| finding.name == name);
    found.unwrap_or_else(|| panic!("no {name} in:\n{report}"))
}

#[tokio::test]
async fn a_replica_set_with_the_database_and_the_collections_is_all_right() {
    let db = support::database().await;
    db.documents("users").insert_one(doc! {}).await.unwrap();
    let mut config = config(db.uri(), db.name());
    config.streams[0].source.watch = vec!["users".into()];
    let report = report(&config).await;
    assert_ne!(report.severity(), Severity::Error);
    for name in [
        "mongodb.reachable",
        "mongodb.version",
        "mongodb.privileges",
        "mongodb.database",
    ] {
        assert_eq!(finding(&report, name).severity, Severity::Ok);
    }
    finding(&report, "mongodb.oplog");
    assert!(report.refusal().is_none() && report.waiting_for().is_none());
}

#[tokio::test]
async fn what_is_not_there_yet_is_said_and_does_not_stop() {
    let db = support::database().await;
    let mut missing = config(db.uri(), db.name());
    missing.streams[0].source.watch = vec!["users".into(), "log_*".into()];
    let report = report(&missing).await;
    assert_eq!(
        finding(&report, "mongodb.database").severity,
        Severity::Warn
    );
    let collections = finding(&report, "mongodb.collections");
    assert_eq!(collections.severity, Severity::Ok);
    assert!(
        collections.sentence.ends_with("do not exist yet: users"),
        "{collections}"
    );
}

#[tokio::test]
async fn images_that_are_not_kept_are_an_error_only_where_they_are_required() {
    let db = support::database().await;
    let keep = doc! {"create": "kept", "changeStreamPreAndPostImages": {"enabled": true}};
    db.run_command(keep).await.unwrap();
    db.documents("bare").insert_one(doc! {}).await.unwrap();
    let mut config = config(db.uri(), db.name());
    let mut severity = async |images, watch: &str| {
        config.streams[0].source.pre_images = images;
        config.streams[0].source.watch = vec![watch.into()];
        let report = report(&config).await;
        let found = finding(&report, "mongodb.pre_images").clone();
        if found.severity != Severity::Ok {
            assert!(
                found.sentence.ends_with("no images are kept of: bare"),
                "{found}"
            );
            assert!(
                found.remedy.as_ref().unwrap().contains("collMod: \"bare\""),
                "{found}"
            );
        }
        found.severity
    };
    assert_eq!(severity(PreImages::Required, "*").await, Severity::Error);
    assert_eq!(
        severity(PreImages::WhenAvailable, "*").await,
        Severity::Warn
    );
    assert_eq!(severity(PreImages::Required, "kept").await, Severity::Ok);
}

#[tokio::test]
async fn a_standalone_server_is_told_how_to_become_a_replica_set() {
    let server = Mongo::dedicated(&["--standalone"]).await;
    for uri in [
        server.uri_of("shop"),
        format!("{}?replicaSet=rs0", server.uri_of("shop")),
    ] {
        let uri = uri.replace("??", "?");
        let refusal = report(&config(&uri, "shop")).await.refusal().unwrap();
        assert_eq!(refusal.code, Code::SourceRefused);
        assert!(refusal.detail.contains("--replSet"), "{refusal}");
        assert!(refusal.detail.contains("rs.initiate()"), "{refusal}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_up_yet_is_waited_for() {
    let uri = "mongodb://127.0.0.1:1/shop?replicaSet=rs0";
    let report = report(&config(uri, "shop")).await;
    assert!(report.refusal().is_none());
    let waiting = report.waiting_for().unwrap();
    assert_eq!(waiting.code, Code::SourceUnavailable);
    assert!(waiting.detail.contains("127.0.0.1:1"), "{waiting}");
}

#[tokio::test]
async fn another_replica_sets_name_in_the_connection_string_is_named() {
    let server = support::mongo().await;
    let uri = server
        .uri_of("shop")
        .replace("replicaSet=secantus", "replicaSet=other");
    let refusal = report(&config(&uri, "shop")).await.refusal().unwrap();
    assert!(refusal.detail.contains("replicaSet=secantus"), "{refusal}");
}

#[tokio::test]
async fn wrong_credentials_and_missing_privileges_come_with_the_command_that_helps() {
    let mut server = Mongo::dedicated(&[]).await;
    let admin = server.client().await.database("admin");
    let user = |name: &str, role: &str, on: &str| {
        doc! {"createUser": name, "pwd": "right", "roles": [{"role": role, "db": on}]}
    };
    admin
        .run_command(user("reader", "read", "shop"))
        .await
        .unwrap();
    admin
        .run_command(user("stranger", "read", "elsewhere"))
        .await
        .unwrap();
    server.restart_with(&["--auth"]).await;
    let uri = |user: &str, password: &str| {
        let with = format!("mongodb://{user}:{password}@");
        format!(
            "{}&authSource=admin",
            server.uri_of("shop").replace("mongodb://", &with)
        )
    };

    assert!(
        report(&config(&uri("reader", "right"), "shop"))
            .await
            .refusal()
            .is_none()
    );

    let refusal = report(&config(&uri("reader", "hunter2"), "shop"))
        .await
        .refusal()
        .unwrap();
    assert_eq!(refusal.code, Code::SourceRefused);
    assert!(
        refusal
            .detail
            .contains("refuses the credentials of user reader"),
        "{refusal}"
    );
    assert!(
        refusal.detail.contains("createUser({user: \"reader\""),
        "{refusal}"
    );
    assert!(!refusal.detail.contains("hunter2"), "{refusal}");

    let stranger = config(&uri("stranger", "right"), "shop");
    let refusal = report(&stranger).await.refusal().unwrap();
    let grant = "grantRolesToUser(\"stranger\", [{role: \"read\", db: \"shop\"}])";
    assert!(refusal.detail.contains(grant), "{refusal}");

    let mut everything = config(&uri("reader", "right"), "shop");
    everything.streams[0].source.scope = Scope::Deployment {
        databases: vec!["*".into()],
    };
    let refusal = report(&everything).await.refusal().unwrap();
    assert!(
        refusal
            .detail
            .contains("role: \"readAnyDatabase\", db: \"admin\""),
        "{refusal}"
    );

    let nobody = config(&server.uri_of("shop"), "shop");
    let refusal = report(&nobody).await.refusal().unwrap();
    assert!(refusal.detail.contains("without a user"), "{refusal}");
    assert!(refusal.detail.contains("createUser("), "{refusal}");

    // An id that may not be read costs nothing: the name of the set is enough.
    let as_reader = identify(&client(&uri("reader", "right")).await)
        .await
        .unwrap()
        .to_string();
    assert!(same_source(&as_reader, "replset:secantus"), "{as_reader}");
    assert!(!same_source(&as_reader, "replset:other"));
}

#[tokio::test]
async fn a_stage_the_server_does_not_know_is_its_refusal_and_not_a_reason_to_wait() {
    let db = support::database().await;
    let mut config = config(db.uri(), db.name());
    config.streams[0].source.user_pipeline = vec![doc! {"$fooBar": {}}];
    let refusal = report(&config).await.refusal().unwrap();
    assert!(
        refusal.detail.contains("CHANGE_STREAM_PIPELINE"),
        "{refusal}"
    );
}

/// Errors as a server gives them, not as they are made up.
#[tokio::test]
async fn errors_of_a_real_server_are_sorted() {
    let db = support::database().await;
    let open = async |stream: bson::Document, more: Option<bson::Document>| {
        let mut pipeline = vec![doc! {"$changeStream": stream}];
        pipeline.extend(more);
        let command = doc! {"aggregate": 1, "pipeline": pipeline, "cursor": {}};
        db.run_command(command).await.unwrap_err()
    };
    for token in [doc! {"_data": "not hex"}, doc! {"_data": 1}, doc! {}] {
        let error = open(doc! {"startAfter": token}, None).await;
        let fault = errors::classify(&error, Phase::Resuming);
        assert_eq!(fault, SourceFault::TokenInvalid, "{}", describe(&error));
    }
    let error = open(doc! {}, Some(doc! {"$fooBar": {}})).await;
    assert_eq!(errors::classify(&error, Phase::Other), SourceFault::Refused);

    let command = doc! {"getMore": 4_711_i64, "collection": "$cmd.aggregate"};
    let error = db.run_command(command).await.unwrap_err();
    assert_eq!(
        errors::classify(&error, Phase::Other),
        SourceFault::Resumable
    );

    let gone = client("mongodb://127.0.0.1:1/").await;
    let error = gone
        .database("a")
        .run_command(doc! {"ping": 1})
        .await
        .unwrap_err();
    assert_eq!(
        errors::classify(&error, Phase::Other),
        SourceFault::Resumable
    );
}

#[tokio::test]
async fn how_far_the_oplog_reaches_back_is_told_when_the_stream_is_open() {
    let db = support::database().await;
    let config = config(db.uri(), db.name());
    let before =
        preflight::before_opening(&client(db.uri()).await, &config.mongo, &config.streams[0]).await;
    let looked_at = before.findings.iter().any(|f| f.name == "mongodb.oplog");
    assert!(!looked_at, "on the way to the first event:\n{before}");

    let setup = Tailwater::on(&db, support::kafka().await);
    let mut tailwater = setup
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .spawn();
    let line = tailwater.wait_for_log("mongodb.oplog").await;
    assert!(line.contains("the oplog reaches back"), "{line}");
    let log = tailwater.stop().await.output;
    let opened = log.find("to=\"running\"").unwrap();
    assert!(opened < log.find("mongodb.oplog").unwrap(), "{log}");
    assert_eq!(log.matches("mongodb.oplog").count(), 1, "{log}");
}

/// The filter of the whole configuration leaves the checkpoints out.
#[tokio::test]
async fn the_checkpoints_own_collection_is_never_watched() {
    let mut config = config("mongodb://localhost/shop", "shop");
    let collection = "changeStreamResumeTokens".to_owned();
    config.streams[0].resume.backend = ResumeBackend::MongoDb {
        database: "shop".into(),
        collection: collection.clone(),
        ttl: None,
    };
    assert!(!Filter::of(&config.streams[0]).watches("shop", &collection));
}
