//! An instance dies, each way that there is: another one carries on, and nothing is lost.

use super::fleet::{Fleet, Kind, active, name, owners, says_that_it_waits, spread, subscriptions};
use crate::support::{self, Direction, Kafka, PATIENCE, Proxy, Setup, Tailwater, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// Two instances of one stream, which is written to: the owner, and the one that stands by.
async fn pair(fleet: &mut Fleet<'_>) -> (Tailwater, Tailwater) {
    let owner = fleet.setup.clone();
    pair_of(&owner, fleet).await
}

/// As [`pair`], with an owner that is set up in its own way.
async fn pair_of(owner: &Setup, fleet: &mut Fleet<'_>) -> (Tailwater, Tailwater) {
    let one = owner.start().await;
    spread(&[&one], &[1]).await;
    let two = fleet.setup.start().await;
    fleet.write();
    fleet.flows().await;
    (one, two)
}

/// Which instance has written the checkpoint.
async fn written_by(fleet: &Fleet<'_>) -> String {
    let show = fleet.setup.clone();
    let show = show.args(&["token", "show", "--output", "json"]);
    let exit = show.run().await;
    let shown: Value = serde_json::from_str(&exit.output).expect(&exit.output);
    shown["instance"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_goes_on_when_the_owner_is_killed() {
    for (kind, delivery) in Kind::with_both() {
        let mut fleet = Fleet::new(1, delivery).await.by(kind);
        let (mut one, two) = pair(&mut fleet).await;
        assert_eq!(active(&two).await, 0, "it is ready, and runs nothing");
        let first = name(&one).await;
        assert_eq!(owners(&two).await[&fleet.id(0)], Some(first.clone()));

        one.kill9();
        spread(&[&two], &[1]).await;
        let said = subscriptions(&two).await;
        let row = &said["subscriptions"][0];
        assert_eq!(row["mine"], true, "{said:#}");
        assert_eq!(row["previousOwner"], first, "{said:#}");
        fleet.flows().await;
        let pause = fleet.assert_whole().await;
        println!("{kind:?} {delivery}: {pause:?} without a record after kill -9");
        two.stop().await;
    }
}

/// Longer than every time-out, so that it believes to own what it has lost.
const FROZEN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_frozen_wakes_up_and_steps_down() {
    for (kind, delivery) in Kind::with_both() {
        let mut fleet = Fleet::new(1, delivery).await.by(kind);
        let (mut one, two) = pair(&mut fleet).await;
        one.signal(Signal::STOP);
        spread(&[&two], &[1]).await;
        tokio::time::sleep(FROZEN).await;
        one.signal(Signal::CONT);
        spread(&[&one, &two], &[0, 1]).await;
        eventually(PATIENCE, "it stands by", async || {
            one.is_ready().await.then_some(())
        })
        .await;
        fleet.flows().await;
        assert_eq!(written_by(&fleet).await, name(&two).await);
        let said = owners(&one).await;
        assert_eq!(said[&fleet.id(0)], Some(name(&two).await));
        assert_eq!(
            subscriptions(&two).await["subscriptions"][0]["handOvers"],
            1
        );
        let pause = fleet.assert_whole().await;
        println!("{kind:?} {delivery}: {pause:?} without a record after SIGSTOP");
        one.stop().await;
        two.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_cut_off_is_replaced_and_stands_by_when_it_is_back() {
    let mongo = support::mongo().await;
    let (kafka, from_kafka) = Kafka::behind_proxy(&[]).await;
    for (kind, delivery, is_both) in [
        (Kind::Leases, "at_least_once", false),
        (Kind::Leases, "exactly_once", true),
        (Kind::Group, "at_least_once", false),
        (Kind::Group, "exactly_once", true),
    ] {
        let from_mongo = Proxy::to(mongo.addr()).await;
        let fleet = Fleet::over(mongo, &kafka, 1, delivery).await;
        let mut fleet = fleet.by(kind);
        let through = fleet
            .setup
            .clone()
            .env("MONGODB_URI", mongo.uri_through(&from_mongo, ""))
            .env("KAFKA_BROKERS", from_kafka.addr())
            .env("SHUTDOWN_TIMEOUT_MS", 1000);
        let (one, two) = pair_of(&through, &mut fleet).await;
        if is_both || kind == Kind::Leases {
            from_mongo.half_open(Direction::Both);
        }
        if is_both || kind == Kind::Group {
            from_kafka.half_open(Direction::Both);
        }
        spread(&[&one, &two], &[0, 1]).await;
        fleet.flows().await;
        says_that_it_waits(&one).await;
        from_mongo.heal();
        from_kafka.heal();
        eventually(PATIENCE, "it stands by", async || {
            let health = one.get("/health").await;
            (one.is_ready().await && health.status == 200).then_some(())
        })
        .await;
        // The group may assign it to the one that is back.
        eventually(PATIENCE, "one of them runs it", async || {
            (active(&one).await + active(&two).await == 1).then_some(())
        })
        .await;
        fleet.flows().await;
        let writer = written_by(&fleet).await;
        assert!(kind == Kind::Group || writer == name(&two).await);
        let pause = fleet.assert_whole().await;
        println!(
            "{kind:?} {delivery}: {pause:?} without a record after a cut, from both: {is_both}"
        );
        one.stop().await;
        two.stop().await;
    }
}

/// What the instances agree by is well, so it keeps the stream; a person can give it away.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_cut_from_the_other_server_keeps_the_stream_until_somebody_moves_it() {
    for kind in [Kind::Leases, Kind::Group] {
        cut_from_the_other_server(kind).await;
    }
}

async fn cut_from_the_other_server(kind: Kind) {
    let mongo = support::mongo().await;
    let (kafka, from_kafka) = Kafka::behind_proxy(&[]).await;
    let from_mongo = Proxy::to(mongo.addr()).await;
    let fleet = Fleet::over(mongo, &kafka, 1, "at_least_once").await;
    let mut fleet = fleet.by(kind);
    let through = fleet
        .setup
        .clone()
        .env("MONGODB_URI", mongo.uri_through(&from_mongo, ""))
        .env("KAFKA_BROKERS", from_kafka.addr())
        .env("SHUTDOWN_TIMEOUT_MS", 1000);
    let (one, two) = pair_of(&through, &mut fleet).await;
    let other_server = match kind {
        Kind::Leases => &from_kafka,
        Kind::Group => &from_mongo,
    };
    other_server.half_open(Direction::Both);
    eventually(PATIENCE, "it is not well", async || {
        let health = one.get("/health").await.json();
        (health["status"] != "healthy").then_some(())
    })
    .await;
    let owner = &owners(&two).await[&fleet.id(0)];
    assert_eq!(*owner, Some(name(&one).await));
    let ask = fleet
        .setup
        .clone()
        .env("HTTP_ADDR", two.http_addr().unwrap());
    let ask = ask.args(&["streams", "release", fleet.databases[0].name()]);
    let exit = ask.run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    spread(&[&two], &[1]).await;
    fleet.flows().await;
    other_server.heal();
    spread(&[&one, &two], &[0, 1]).await;
    fleet.assert_whole().await;
    two.stop().await;
}

/// It knows nothing of leases, so it wins at first; but nobody fights over the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_claims_the_stream_is_fenced_once_and_nobody_fights() {
    let mut fleet = Fleet::new(1, "at_least_once").await;
    let (one, two) = pair(&mut fleet).await;
    let stranger = fleet.setup.clone().env("COORDINATION", "none");
    let mut stranger = stranger.spawn();
    let exit = stranger.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(7), "{}", exit.output);
    fleet.flows().await;
    let row = subscriptions(&two).await["subscriptions"][0].clone();
    assert!(row["handOvers"].as_u64().unwrap() <= 2, "{row:#}");
    let logs = [one.log(), two.log()];
    let fenced = logs
        .iter()
        .map(|log| log.matches("code=\"fenced\"").count());
    assert_eq!(fenced.sum::<usize>(), 1, "{}", logs.join("\n---\n"));
    fleet.assert_whole().await;
    one.stop().await;
    two.stop().await;
}
