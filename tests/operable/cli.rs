//! The commands of a person on call, as subprocesses.

use crate::support::{self, Exit, PATIENCE, Setup, Tailwater, eventually};
use bson::doc;
use serde_json::Value;

/// A command with the environment of `setup`, for the instance `running`.
async fn command(setup: &Setup, running: &Tailwater, args: &[&str]) -> Exit {
    let addr = running.http_addr().unwrap();
    setup.clone().env("HTTP_ADDR", addr).args(args).run().await
}

#[tokio::test]
async fn an_instance_is_asked_paused_resumed_and_stopped_from_the_command_line() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka).env("ADMIN_TOKEN", "0123456789abcdef");
    let mut tailwater = setup.start().await;

    let exit = command(&setup, &tailwater, &["status"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.starts_with("healthy\n"), "{}", exit.output);
    let exit = command(&setup, &tailwater, &["status", "--output", "json"]).await;
    let status: Value = serde_json::from_str(&exit.output).unwrap();
    assert_eq!(status["status"]["isRunning"], true);

    let exit = command(&setup, &tailwater, &["pause"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let exit = command(&setup, &tailwater, &["status"]).await;
    assert!(
        exit.output.starts_with("degraded: paused"),
        "{}",
        exit.output
    );
    let exit = command(&setup, &tailwater, &["health"]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    let exit = command(&setup, &tailwater, &["resume"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    tailwater.wait_ready().await;
    let exit = command(&setup, &tailwater, &["log-level", "debug"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);

    let wrong = setup.clone().env("ADMIN_TOKEN", "fedcba9876543210");
    let exit = command(&wrong, &tailwater, &["stop"]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    assert!(exit.output.contains("ADMIN_TOKEN"), "{}", exit.output);
    let exit = command(&setup, &tailwater, &["stop"]).await;
    assert_eq!((exit.code, exit.output.as_str()), (Some(0), "stopped\n"));
    assert_eq!(tailwater.wait_exit(PATIENCE).await.code, Some(0));
}

#[tokio::test]
async fn a_checkpoint_is_shown_exported_moved_back_and_forgotten() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("RESUME_STORE", "file");
    let token = async |args: &[&str]| setup.clone().args(args).run().await;
    let exit = token(&["token", "show"]).await;
    assert!(
        exit.output.ends_with(": no checkpoint\n"),
        "{}",
        exit.output
    );

    let tailwater = setup.start().await;
    tailwater.stop().await;
    let first = token(&["token", "export"]).await;
    assert_eq!(first.code, Some(0), "{}", first.output);
    std::fs::write(setup.folder().join("first.json"), &first.output).unwrap();

    let tailwater = setup.start().await;
    db.documents("c").insert_one(doc! {"_id": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
    let shown = token(&["token", "show", "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.output).unwrap();
    let exported: Value = serde_json::from_str(&first.output).unwrap();
    assert!(shown["seq"].as_u64() > exported["seq"].as_u64(), "{shown}");
    assert_eq!(shown["namespace"], db.name());
    assert!(shown.get("token").is_none());

    // Not a terminal, and not told to: nothing changes.
    let exit = token(&["token", "import", "first.json", "--force"]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    let exit = token(&["token", "import", "first.json", "--force", "--yes"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let tailwater = setup.start().await;
    let records = kafka.wait_for_records(&[&topic], 2).await;
    assert_eq!(records[0].value, records[1].value);
    assert!(records[0].seq() < records[1].seq());
    tailwater.stop().await;

    let exit = token(&["token", "reset", "--force", "--yes"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let exit = token(&["token", "show"]).await;
    assert!(
        exit.output.ends_with(": no checkpoint\n"),
        "{}",
        exit.output
    );
    let exit = token(&["token", "set", "not hex", "--yes"]).await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
}

#[tokio::test]
async fn a_stream_goes_on_from_the_token_that_was_set() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", &topic);
    let token = async |args: &[&str]| setup.clone().args(args).run().await;
    let things = db.documents("things");
    let tailwater = setup.start().await;
    for id in 1..=3 {
        things.insert_one(doc! {"_id": id}).await.unwrap();
    }
    let records = kafka.wait_for_records(&[&topic], 3).await;
    tailwater.stop().await;

    // The token of the first change, as its record carries it: the next two come again.
    let first = records[0].header("tw-id");
    let exit = token(&["token", "set", first, "--force", "--yes"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(
        exit.output
            .contains("resumes after that token at its next start")
    );
    let shown = token(&["token", "show", "--output", "json"]).await.output;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["seq"].as_u64() > Some(records[2].seq()), "{shown}");
    let tailwater = setup.start().await;
    let records = kafka.wait_for_records(&[&topic], 5).await;
    tailwater.stop().await;
    assert_eq!(ids(&records), [1, 2, 3, 2, 3]);
    assert!(records.is_sorted_by_key(support::Record::seq));
}

#[tokio::test]
async fn a_stream_goes_on_from_the_time_that_was_named() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", &topic);
    let things = db.documents("things");
    let tailwater = setup.start().await;
    // Until one lies well within a later second than the first: the time is one of whole seconds.
    let mut id = 0;
    let records = eventually(PATIENCE, "a later second", async || {
        id += 1;
        things.insert_one(doc! {"_id": id}).await.unwrap();
        let count = usize::try_from(id).unwrap();
        let records = kafka.wait_for_records(&[&topic], count).await;
        let (first, last) = (millis(&records[0]), millis(&records[count - 1]));
        let is_within = (200..800).contains(&(last % 1000));
        (last / 1000 > first / 1000 && is_within).then_some(records)
    })
    .await;
    tailwater.stop().await;

    let time = jiff::Timestamp::from_second(millis(records.last().unwrap()) / 1000).unwrap();
    let args = [
        "token",
        "from-timestamp",
        &time.to_string(),
        "--force",
        "--yes",
    ];
    let exit = setup.clone().args(&args).run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let said = format!("resumes at {time} at its next start");
    assert!(exit.output.contains(&said), "{}", exit.output);
    let tailwater = setup.start().await;
    let all = kafka
        .wait_until(&[&topic], "the last change again", |all| {
            all.len() > records.len() && ids(all).last() == Some(&id.into())
        })
        .await;
    tailwater.stop().await;
    let again = ids(&all[records.len()..]);
    assert!(!again.contains(&1), "{again:?}");
    let expected: Vec<_> = (i64::from(id) + 1 - again.len() as i64..=id.into()).collect();
    assert_eq!(again, expected, "what is behind that time, in order");
}

fn ids(records: &[support::Record]) -> Vec<i64> {
    let id = |record: &support::Record| record.value["documentKey"]["_id"].as_i64();
    records.iter().map(|record| id(record).unwrap()).collect()
}

/// The time of the change.
fn millis(record: &support::Record) -> i64 {
    record.header("tw-ts").parse().unwrap()
}

#[tokio::test]
async fn a_stream_that_somebody_runs_is_not_taken_without_force() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka);
    let tailwater = setup.start().await;
    let exit = setup.clone().args(&["token", "reset", "--yes"]).run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    assert!(
        exit.output.contains("is running this stream"),
        "{}",
        exit.output
    );
    tailwater.stop().await;
}

#[tokio::test]
async fn tail_prints_changes_without_kafka_and_leaves_no_checkpoint() {
    let db = support::database().await;
    let users = db.documents("users");
    // Nothing of Kafka and checkpoints matters to it.
    let setup = Setup::empty()
        .env("MONGODB_URI", db.uri())
        .env("RESUME_STORE", "file")
        .env("RESUME_FILE", "no/such/folder")
        .env("ON_RECORD_ERROR", "dlq")
        .env("HTTP_ADDR", "off");

    let mut tail = setup.clone().args(&["tail", "--json", "-n", "1"]).spawn();
    // Whatever was there before the cursor was open is not shown, so that some are written.
    let mut id = 0;
    eventually(PATIENCE, "one change is printed", async || {
        id += 1;
        users.insert_one(doc! {"_id": id}).await.unwrap();
        tail.log()
            .contains("\"operationType\":\"insert\"")
            .then_some(())
    })
    .await;
    let exit = tail.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let line: Value = serde_json::from_str(exit.output.lines().next().unwrap()).unwrap();
    assert_eq!(line["collection"], "users");
    assert_eq!(exit.output.lines().count(), 1, "{}", exit.output);

    let mut tail = setup.clone().args(&["tail", "-n", "1"]).spawn();
    eventually(PATIENCE, "one change is printed", async || {
        id += 1;
        users.insert_one(doc! {"_id": id}).await.unwrap();
        tail.log().contains("  insert    ").then_some(())
    })
    .await;
    let exit = tail.wait_exit(PATIENCE).await;
    let wanted = format!("  insert    {}.users  {{\"_id\":", db.name());
    assert!(exit.output.contains(&wanted), "{}", exit.output);
    assert_eq!(std::fs::read_dir(setup.folder()).unwrap().count(), 0);
}

#[tokio::test]
async fn topics_says_which_there_are_and_which_would_be_made() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (there, missing) = (db.topic("there"), db.topic("missing"));
    kafka.create_topic(&there, 2, &[]).await;
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_TOPIC_INSERT", &there)
        .env("KAFKA_TOPIC_UPDATE", &missing)
        .env("KAFKA_TOPIC_DELETE", &there)
        .args(&["topics"]);
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains(&there), "{}", exit.output);
    let made = format!("{missing} does not exist yet and will be created");
    assert!(exit.output.contains(&made), "{}", exit.output);
    assert_eq!(kafka.partitions(&missing).await, None);
}
