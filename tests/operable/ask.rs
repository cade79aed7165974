//! What a command asks of the instance here: of the right one, and with a true answer.

use crate::support::{self, Database, Exit, PATIENCE, Setup, Tailwater, eventually};
use bson::doc;
use serde_json::Value;
use std::net::SocketAddr;

async fn run(setup: &Setup, args: &[&str]) -> Exit {
    setup.clone().args(args).run().await
}

/// The environment of `setup`, with the address of an instance that runs.
fn at(setup: &Setup, addr: SocketAddr) -> Setup {
    setup.clone().env("HTTP_ADDR", addr)
}

fn stream(setup: &Setup, db: &Database) -> String {
    format!("{}:{}", setup.vars()["KAFKA_CLIENT_ID"], db.name())
}

async fn checkpoint(setup: &Setup) -> Value {
    let exit = run(setup, &["token", "show", "--output", "json"]).await;
    serde_json::from_str(&exit.output).unwrap()
}

/// An instance with one record that Kafka cannot acknowledge yet, since it lingers.
async fn with_a_record_in_flight(setup: &Setup, db: &Database) -> Tailwater {
    let lingering = setup.clone().env("KAFKA_PROP_LINGER_MS", 600_000);
    let tailwater = lingering.start().await;
    db.documents("c").insert_one(doc! {"_id": 1}).await.unwrap();
    eventually(PATIENCE, "a record is in flight", async || {
        let status = tailwater.get("/status").await.json();
        (status["bufferSize"] == 1).then_some(())
    })
    .await;
    tailwater
}

#[tokio::test]
async fn the_instance_of_another_stream_is_neither_asked_nor_changed() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (first, second) = (Tailwater::on(&db, kafka), Tailwater::on(&db, kafka));
    let tailwater = first.start().await;
    let addr = tailwater.http_addr().unwrap();
    let (theirs, ours) = (stream(&first, &db), stream(&second, &db));
    for args in [
        &["health"][..],
        &["status"],
        &["pause"],
        &["resume"],
        &["log-level", "debug"],
        &["stop"],
    ] {
        let Exit { code, output } = run(&at(&second, addr), args).await;
        assert_eq!(code, Some(1), "{args:?}: {output}");
        for named in [theirs.as_str(), &ours, "HTTP_ADDR"] {
            assert!(output.contains(named), "{args:?}: {output}");
        }
    }
    assert!(tailwater.is_ready().await);
    // Where the environment does not tell the stream, whoever is there is meant.
    let exit = run(&at(&Setup::empty(), addr), &["health"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let named = Setup::empty().env("STREAM_ID", theirs);
    let exit = run(&at(&named, addr), &["stop"]).await;
    assert_eq!(
        (exit.code, exit.output.as_str()),
        (Some(0), "stopped\n"),
        "by its name"
    );
}

#[tokio::test]
async fn a_stop_that_gives_up_on_records_says_so_and_leaves_with_the_instances_code() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("SHUTDOWN_TIMEOUT_MS", 100);
    let mut tailwater = with_a_record_in_flight(&setup, &db).await;
    let asked = at(&setup, tailwater.http_addr().unwrap());
    let exit = run(&asked, &["pause"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains("they come again"), "{}", exit.output);
    let exit = run(&asked, &["resume"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    eventually(PATIENCE, "the record is read again", async || {
        let status = tailwater.get("/status").await.json();
        // What the pause gave up on is not in flight any more.
        (status["events"] == 2 && status["bufferSize"] == 1).then_some(())
    })
    .await;

    let exit = run(&asked, &["stop"]).await;
    assert_eq!(exit.code, Some(9), "{}", exit.output);
    for word in ["drain_timed_out", "SHUTDOWN_TIMEOUT_MS"] {
        assert!(exit.output.contains(word), "{}", exit.output);
    }
    assert_eq!(tailwater.wait_exit(PATIENCE).await.code, Some(9));
}

#[tokio::test]
async fn an_instance_that_ends_without_a_word_is_not_said_to_have_stopped_well() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("SHUTDOWN_TIMEOUT_MS", 600_000);
    let mut tailwater = with_a_record_in_flight(&setup, &db).await;
    let asked = at(&setup, tailwater.http_addr().unwrap());
    let mut stop = asked.args(&["stop"]).spawn();
    tailwater.wait_for_event("stopping").await;
    tailwater.kill9();
    let exit = stop.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    assert!(
        exit.output.contains("ended without saying how"),
        "{}",
        exit.output
    );
}

#[tokio::test]
async fn a_stream_that_is_switched_off_cannot_be_paused() {
    let setup = Setup::empty()
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/none")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("ENABLE_CHANGE_STREAMS", "false");
    let mut tailwater = setup.spawn();
    tailwater.wait_for_event("nothing_watched").await;
    let asked = at(&setup, tailwater.http_addr().unwrap());
    for args in [&["pause"], &["resume"]] {
        let exit = run(&asked, args).await;
        assert_eq!(exit.code, Some(1), "{}", exit.output);
        let why = "ENABLE_CHANGE_STREAMS=false: no stream runs here\n";
        assert_eq!(exit.output, why);
    }
    let exit = run(&asked, &["stop"]).await;
    assert_eq!((exit.code, exit.output.as_str()), (Some(0), "stopped\n"));
    assert_eq!(tailwater.wait_exit(PATIENCE).await.code, Some(0));
}

#[tokio::test]
async fn the_checkpoint_of_a_paused_instance_is_not_moved_without_force() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"));
    let tailwater = setup.start().await;
    let asked = at(&setup, tailwater.http_addr().unwrap());
    let exit = run(&asked, &["pause"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let before = checkpoint(&asked).await;
    let exit = run(&asked, &["token", "reset", "--yes"]).await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    for word in ["paused", "`tailwater stop`", "--force"] {
        assert!(exit.output.contains(word), "{}", exit.output);
    }
    assert_eq!(checkpoint(&asked).await, before);
    let exit = run(&asked, &["token", "reset", "--yes", "--force"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    tailwater.stop().await;
}

#[tokio::test]
async fn a_checkpoint_file_is_moved_only_when_nobody_has_it() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("RESUME_STORE", "file");
    let tailwater = setup.start().await;
    // Before anything is asked of a person, too.
    for consent in [&[][..], &["--yes"], &["--yes", "--force"]] {
        let args = [&["token", "reset"][..], consent].concat();
        let exit = run(&setup, &args).await;
        assert_eq!(exit.code, Some(10), "{}", exit.output);
        let pid = format!("process {}", tailwater.pid());
        assert!(exit.output.contains("is in use by"), "{}", exit.output);
        assert!(exit.output.contains(&pid), "{}", exit.output);
        assert!(!exit.output.contains("looking whether"), "{}", exit.output);
    }
    tailwater.stop().await;

    // An instance that answers there for another stream is in nobody's way.
    let other = Tailwater::on(&db, kafka).start().await;
    let asked = at(&setup, other.http_addr().unwrap());
    let exit = run(&asked, &["token", "reset", "--yes"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    other.stop().await;
}

#[tokio::test]
async fn a_token_that_mongodb_does_not_know_moves_no_checkpoint() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("RESUME_STORE", "file");
    setup.start().await.stop().await;
    let exported = run(&setup, &["token", "export"]).await.output;
    let mut exported: Value = serde_json::from_str(&exported).unwrap();
    exported["token"]["_data"] = "abcdef0123".into();
    std::fs::write(setup.folder().join("damaged.json"), exported.to_string()).unwrap();
    let before = checkpoint(&setup).await;
    for args in [["set", "abcdef0123"], ["import", "damaged.json"]] {
        let args = [&["token"][..], &args, &["--yes", "--force"]].concat();
        let exit = run(&setup, &args).await;
        assert_eq!(exit.code, Some(5), "{args:?}: {}", exit.output);
        let why = "damaged or of another stream; nothing was changed";
        assert!(exit.output.contains(why), "{args:?}: {}", exit.output);
    }
    assert_eq!(checkpoint(&setup).await, before);
    setup.start().await.stop().await;
}

#[tokio::test]
async fn a_command_that_looks_once_says_at_once_that_a_server_is_away() {
    let away = "mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=200";
    let setup = Setup::empty().env("MONGODB_URI", away);
    let exit = run(&setup, &["tail"]).await;
    assert_eq!(exit.code, Some(11), "{}", exit.output);
    let db = support::database().await;
    let setup = Setup::empty()
        .env("MONGODB_URI", db.uri())
        .env("KAFKA_BROKERS", "127.0.0.1:1");
    let exit = run(&setup, &["check"]).await;
    assert_eq!(exit.code, Some(12), "{}", exit.output);
}
