//! The MongoDB store.

use super::{assert_fenced_by, commit, committable, config, context, location, open, position};
use crate::support::{self, Database, Tailwater};
use bson::{Bson, Document, doc};
use std::time::Duration;
use tailwater::change::position::Position;
use tailwater::checkpoint::{self, Store};
use tailwater::config::{Config, ResumeBackend, Scope, Secret};
use tailwater::error::Code;

const COLLECTION: &str = "changeStreamResumeTokens";

async fn place() -> (Database, Config) {
    let database = support::database().await;
    let config = on(&database, None);
    (database, config)
}

fn on(database: &Database, ttl: Option<Duration>) -> Config {
    let mut config = config(ResumeBackend::MongoDb {
        database: database.name().into(),
        collection: COLLECTION.into(),
        ttl,
    });
    config.mongo.uri = Secret::new(database.uri());
    config.streams[0].source.scope = Scope::Database(database.name().into());
    config
}

#[tokio::test]
async fn absence_is_none_and_what_is_stored_comes_back() {
    let (_database, config) = place().await;
    super::absence_is_none_and_what_is_stored_comes_back(&config).await;
}

#[tokio::test]
async fn a_claim_keeps_the_position_and_tells_who_holds_the_stream() {
    let (_database, config) = place().await;
    super::a_claim_keeps_the_position_and_tells_who_holds_the_stream(&config).await;
}

#[tokio::test]
async fn the_instance_started_last_wins_and_the_other_says_by_whom() {
    let (_database, config) = place().await;
    super::the_instance_started_last_wins_and_the_other_says_by_whom(&config).await;
}

#[tokio::test]
async fn a_checkpoint_never_moves_back() {
    let (_database, config) = place().await;
    super::a_checkpoint_never_moves_back(&config).await;
}

#[tokio::test]
async fn a_new_incarnation_may_begin_earlier_with_a_higher_number() {
    let (_database, config) = place().await;
    super::a_new_incarnation_may_begin_earlier_with_a_higher_number(&config).await;
}

#[tokio::test]
async fn a_misconfigured_instance_is_refused_without_fencing_the_healthy_one() {
    let (_database, config) = place().await;
    super::a_misconfigured_instance_is_refused_without_fencing_the_healthy_one(&config).await;
}

#[tokio::test]
async fn all_checkpoints_are_listed_and_claims_without_one_are_not() {
    let (_database, config) = place().await;
    super::all_checkpoints_are_listed_and_claims_without_one_are_not(&config).await;
}

#[tokio::test]
async fn what_is_beside_the_position_is_kept_and_makes_form_2() {
    let (database, config) = place().await;
    let version = async || {
        let stored = database.contents(COLLECTION).await.remove(0);
        let is_of_first = matches!(stored.get("token"), Some(Bson::Document(_)));
        match stored.get("version") {
            None => {
                assert!(is_of_first && !stored.contains_key("extra"), "{stored}");
                1
            }
            Some(version) => {
                // Releases that know form 1 alone look at no version. They start anew where the token is null,
                // read a document, and refuse all else.
                assert!(matches!(stored.get("token"), Some(Bson::String(_))));
                version.as_i32().unwrap().into()
            }
        }
    };
    super::what_is_beside_the_position_is_kept_and_makes_form_2(&config, version).await;
}

#[tokio::test]
async fn a_newer_form_is_refused_with_what_to_do() {
    let (database, config) = place().await;
    let make_newer = async || {
        let newer = doc! { "$set": { "version": 3 } };
        let documents = database.documents(COLLECTION);
        documents.update_one(doc! {}, newer).await.unwrap();
    };
    super::a_newer_form_is_refused_with_what_to_do(&config, make_newer).await;
    let stored = database.contents(COLLECTION).await.remove(0);
    assert_eq!(stored.get_i64("epoch").unwrap(), 1, "nobody was fenced");
    // One that cannot be read does not hide those of other streams.
    let other = super::renamed(&config, "another");
    let (mut store, _) = open(&other, "one").await;
    commit(&mut store, 1).await.unwrap();
    let listed = checkpoint::list(location(&other), None).await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable() {
    let config = config(ResumeBackend::MongoDb {
        database: "checkpoints".into(),
        collection: COLLECTION.into(),
        ttl: None,
    });
    assert_eq!(
        super::unreachable(&config).await.code,
        Code::SourceUnavailable
    );
}

#[tokio::test]
async fn the_document_is_readable_in_a_shell() {
    let (database, config) = place().await;
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    let stored = database.contents(COLLECTION).await.remove(0);
    assert_eq!(stored.get_str("_id").unwrap(), config.streams[0].id);
    let token = stored.get_document("token").unwrap();
    assert_eq!(token.get_str("_data").ok(), position(1).token.data());
    for time in ["lastProcessedAt", "updatedAt"] {
        assert!(
            matches!(stored.get(time), Some(Bson::DateTime(_))),
            "{time}"
        );
    }
    assert_eq!(stored.get_str("instance").unwrap(), "one");
    assert_eq!(stored.get_str("namespace").unwrap(), "shop");
}

#[tokio::test]
async fn idle_moves_are_not_worth_a_write_each_but_the_last_is_kept() {
    let (database, config) = place().await;
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    let idle = |step| Position {
        seq: position(1).seq,
        ..position(step)
    };
    for step in 2..20 {
        store.commit(&committable(idle(step))).await.unwrap();
    }
    let stored = database.contents(COLLECTION).await.remove(0);
    let token = stored.get_document("token").unwrap();
    assert_eq!(token.get_str("_data").ok(), position(1).token.data());
    store.close().await.unwrap();
    let read = checkpoint::read(location(&config), None).await.unwrap();
    assert_eq!(read.unwrap().position, idle(19));
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_is_an_error_and_never_a_first_start() {
    let (database, config) = place().await;
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    let documents = database.documents(COLLECTION);
    let everything = doc! {};
    for damage in [
        doc! { "$set": { "token": "8265" } },
        doc! { "$set": { "token": { "_data": "82" } }, "$unset": { "seq": 1 } },
        doc! { "$set": { "token": { "_data": "82" }, "seq": 1, "epoch": "many" } },
    ] {
        documents
            .update_one(everything.clone(), damage)
            .await
            .unwrap();
        assert_eq!(
            super::unreachable(&config).await.code,
            Code::CheckpointFailed
        );
    }
}

#[tokio::test]
async fn a_removed_document_is_written_anew_unless_somebody_else_claimed() {
    let (database, config) = place().await;
    let (mut one, _) = open(&config, "one").await;
    commit(&mut one, 1).await.unwrap();
    database
        .documents(COLLECTION)
        .delete_many(doc! {})
        .await
        .unwrap();
    commit(&mut one, 2).await.unwrap();
    let read = checkpoint::read(location(&config), None).await.unwrap();
    assert_eq!(read.unwrap().position, position(2));

    // Epochs begin anew with the document: the number alone does not tell one claim from another.
    database
        .documents(COLLECTION)
        .delete_many(doc! {})
        .await
        .unwrap();
    let (mut two, found) = open(&config, "two").await;
    assert_eq!(found, None);
    assert_eq!(two.claim().epoch, one.claim().epoch);
    assert_fenced_by(commit(&mut one, 3).await, "two");
    commit(&mut two, 4).await.unwrap();
}

#[tokio::test]
async fn two_first_claims_at_one_moment_leave_one_leader() {
    for _ in 0..10 {
        let (_database, config) = place().await;
        let start = |instance| Store::open(location(&config), context(instance));
        let (one, two) = tokio::join!(start("one"), start("two"));
        super::assert_one_leader([one, two]).await;
    }
}

#[tokio::test]
async fn the_expiry_of_unused_checkpoints_follows_the_configuration() {
    let database = support::database().await;
    let seconds = async || -> Vec<Option<u64>> {
        let indexes = database.indexes(COLLECTION).await;
        indexes
            .into_iter()
            .filter(|index| index.keys != doc! { "_id": 1 })
            .map(|index| Some(index.options?.expire_after?.as_secs()))
            .collect()
    };
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    for (ttl, expected) in [
        (days(30), vec![Some(2_592_000)]),
        (days(30), vec![Some(2_592_000)]),
        (days(1), vec![Some(86_400)]),
        (None, vec![]),
    ] {
        open(&on(&database, ttl), "one").await;
        assert_eq!(seconds().await, expected, "{ttl:?}");
    }
}

#[tokio::test]
async fn a_stream_of_several_databases_keeps_its_checkpoint_in_one_of_its_own() {
    let (mongo, watched) = (support::mongo().await, support::database().await);
    let own = mongo.database_named("tailwater").await;
    let collection = support::unique("checkpoints");
    let setup = Tailwater::on(&watched, support::kafka().await)
        .env("MONGODB_URI", mongo.uri())
        .env("WATCH_DATABASES", watched.name())
        .env("RESUME_STORE", "mongodb")
        .env("RESUME_COLLECTION", &collection)
        .env("KAFKA_DB_CHANGES_TOPIC", watched.topic("changes"));
    setup.start().await.stop().await;
    let stored: Vec<Document> = own.contents(&collection).await;
    assert_eq!(stored.len(), 1);
}
