//! What an operator sees of several streams, and does with one of them.

use super::Streams;
use crate::support::{self, Exit, PATIENCE, Setup, eventually};
use serde_json::Value;

async fn run(setup: &Setup, args: &[&str]) -> Exit {
    setup.clone().args(args).run().await
}

#[tokio::test]
async fn one_stream_is_paused_and_resumed_while_the_other_runs() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let tailwater = streams.setup.start().await;
    let asked = streams
        .setup
        .clone()
        .env("HTTP_ADDR", tailwater.http_addr().unwrap());
    let exit = run(&asked, &["pause", "--stream", streams.name(0)]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    for index in 0..2 {
        streams.insert(index, 1).await;
    }
    kafka.wait_for_records(&[&streams.topic(1)], 1).await;
    let live = tailwater.get("/health/live").await.json();
    let state = |live: &Value, index: usize| live["streams"][index]["state"].clone();
    assert_eq!(state(&live, 0), "paused");
    assert_eq!(state(&live, 1), "running");
    assert!(kafka.records(&[&streams.topic(0)]).await.is_empty());

    let exit = run(&asked, &["status"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    for index in 0..2 {
        assert!(exit.output.contains(streams.name(index)), "{}", exit.output);
    }
    let exit = run(&asked, &["resume"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    kafka.wait_for_records(&[&streams.topic(0)], 1).await;

    let exit = run(&asked, &["pause", "--stream", "nobody"]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    assert!(
        exit.output.contains("no stream of that name"),
        "{}",
        exit.output
    );
    let reply = tailwater.get("/health/detailed?stream=nobody").await;
    assert_eq!(reply.status, 404, "{}", reply.body);
    tailwater.stop().await;
}

#[tokio::test]
async fn checkpoints_are_shown_and_moved_for_the_stream_that_is_named() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let tailwater = streams.setup.start().await;
    for index in 0..2 {
        streams.insert(index, 1).await;
        kafka.wait_for_records(&[&streams.topic(index)], 1).await;
    }
    tailwater.stop().await;
    let exit = run(&streams.setup, &["token", "show"]).await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    assert!(exit.output.contains("--stream"), "{}", exit.output);
    let show = async |index| {
        let args = [
            "token",
            "show",
            "--stream",
            streams.name(index),
            "--output",
            "json",
        ];
        let exit = run(&streams.setup, &args).await;
        serde_json::from_str::<Value>(&exit.output).unwrap()
    };
    let (first, second) = (show(0).await, show(1).await);
    assert_eq!(first["stream"], streams.id(0));
    assert_eq!(second["stream"], streams.id(1));
    let args = [
        "token",
        "--stream",
        streams.name(0),
        "reset",
        "--yes",
        "--force",
    ];
    let exit = run(&streams.setup, &args).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(show(0).await.is_null());
    assert_eq!(show(1).await, second);
}

#[tokio::test]
async fn check_tells_of_each_stream_what_differs_and_once_what_does_not() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    streams.insert(0, 1).await;
    let exit = run(&streams.setup, &["check"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert_eq!(
        exit.output.matches("mongodb.reachable").count(),
        1,
        "{}",
        exit.output
    );
    for index in 0..2 {
        let named = format!("{}: ", streams.name(index));
        assert!(exit.output.contains(&named), "{}", exit.output);
    }
    let exit = run(&streams.setup, &["check", "--stream", streams.name(1)]).await;
    assert!(!exit.output.contains(streams.name(0)), "{}", exit.output);
    let exit = run(&streams.setup, &["config"]).await;
    assert!(exit.output.contains(streams.name(1)), "{}", exit.output);
}

#[tokio::test]
async fn every_line_and_series_of_a_stream_says_which_one_it_is() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let setup = streams.setup.clone().env("LOG_FORMAT", "json");
    let tailwater = setup.start().await;
    for index in 0..2 {
        streams.insert(index, 1).await;
        kafka.wait_for_records(&[&streams.topic(index)], 1).await;
    }
    eventually(PATIENCE, "both are counted", async || {
        let page = tailwater.get("/metrics").await.body;
        let series = |index: usize| {
            format!(
                "tailwater_records_acknowledged_total{{stream=\"{}\"}} 1\n",
                streams.name(index)
            )
        };
        (page.contains(&series(0)) && page.contains(&series(1))).then_some(())
    })
    .await;
    let log = tailwater.stop().await.output;
    for index in 0..2 {
        let mine = format!("\"stream\":\"{}\"", streams.name(index));
        for event in ["state", "stopped; everything delivered is committed"] {
            let event = format!("\"event\":\"{event}\"");
            let found = log
                .lines()
                .any(|line| line.contains(&event) && line.contains(&mine));
            assert!(found, "{event} of {mine}: {log}");
        }
    }
}

/// Two streams share the topic of dead letters: each replays its own, under its own name.
#[tokio::test]
async fn dead_letters_are_listed_and_replayed_for_the_stream_that_is_named() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let dead = streams.databases[0].topic("dead");
    for index in 0..2 {
        let settings = [("max.message.bytes", "2000")];
        kafka
            .create_topic(&streams.topic(index), 1, &settings)
            .await;
    }
    let setup = streams
        .setup
        .clone()
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    let tailwater = setup.start().await;
    for index in 0..2 {
        let large = bson::doc! {"_id": 1, "text": "x".repeat(5_000)};
        let users = streams.databases[index].documents("users");
        users.insert_one(large).await.unwrap();
    }
    kafka.wait_for_records(&[&dead], 2).await;
    tailwater.stop().await;
    let args = [
        "dlq",
        "list",
        "--stream",
        streams.name(1),
        "--output",
        "json",
    ];
    let exit = run(&setup, &args).await;
    let listed: Value = serde_json::from_str(&exit.output).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    kafka
        .alter_topic(&streams.topic(1), &[("max.message.bytes", "200000")])
        .await;
    let exit = run(&setup, &["dlq", "replay", "--stream", streams.name(1)]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let records = kafka.wait_for_records(&[&streams.topic(1)], 1).await;
    assert_eq!(records[0].header("tw-stream"), streams.id(1));
    assert!(kafka.records(&[&streams.topic(0)]).await.is_empty());
}
