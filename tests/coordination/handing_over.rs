//! Streams are given from one instance to another on purpose.

use super::fleet::{Fleet, Kind, name, owners, spread, subscriptions};
use crate::support::{self, Exit, PATIENCE, Tailwater, eventually};
use bson::{Document, doc};
use rustix::process::Signal;
use std::time::Duration;

pub async fn ask(fleet: &Fleet<'_>, of: &Tailwater, args: &[&str]) -> Exit {
    let addr = of.http_addr().unwrap();
    let setup = fleet.setup.clone().env("HTTP_ADDR", addr);
    setup.args(args).run().await
}

/// What is handed over waits for no lease to expire.
const EXPIRY: Duration = Duration::from_secs(30);

/// Time-outs that would be waited for, should somebody wait.
async fn fleet(kind: Kind, streams: usize, delivery: &str) -> Fleet<'static> {
    let mut fleet = Fleet::new(streams, delivery).await;
    for times in ["LEASE_HEARTBEAT_MS", "LEASE_TIMEOUT_MS", "LEASE_POLL_MS"] {
        fleet.setup = fleet.setup.without(times);
    }
    let mut fleet = fleet.by(kind);
    if kind == Kind::Group {
        let session = EXPIRY.as_millis();
        fleet.setup = fleet.setup.env("KAFKA_SESSION_TIMEOUT_MS", session);
    }
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_to_and_fro_without_a_loss_or_a_long_pause() {
    let times = 5;
    for (kind, delivery) in Kind::with_both() {
        let mut fleet = fleet(kind, 1, delivery).await;
        let stream = fleet.databases[0].name().to_owned();
        let one = fleet.setup.start().await;
        spread(&[&one], &[1]).await;
        let two = fleet.setup.start().await;
        let names = [name(&one).await, name(&two).await];
        fleet.write();
        fleet.flows().await;
        for turn in 1..=times {
            let to = &names[turn % 2];
            // Asked of either: both know.
            let exit = ask(&fleet, &one, &["streams", "move", &stream, "--to", to]).await;
            assert_eq!(exit.code, Some(0), "{}", exit.output);
            let owner = owners(&one).await[&fleet.id(0)].clone();
            assert_eq!(owner.as_ref(), Some(to));
            fleet.flows().await;
        }
        eventually(PATIENCE, "both have counted them", async || {
            let row = subscriptions(&two).await["subscriptions"][0].clone();
            (row["handOvers"] == times).then_some(())
        })
        .await;
        let listed = ask(&fleet, &one, &["streams", "list"]).await.output;
        assert!(
            listed.contains(&names[0]) && listed.contains(&stream),
            "{listed}"
        );
        let pause = fleet.assert_whole().await;
        println!(
            "{kind:?} {delivery}: {pause:?} without a record, the longest of {times} hand-overs"
        );
        assert!(pause < EXPIRY, "{pause:?}");
        one.stop().await;
        two.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_stopped_gives_its_streams_away_and_exits_with_0() {
    for (kind, delivery) in Kind::with_both() {
        let mut fleet = fleet(kind, 3, delivery).await;
        let one = fleet.setup.start().await;
        spread(&[&one], &[3]).await;
        let two = fleet.setup.start().await;
        spread(&[&one, &two], &[2, 1]).await;
        fleet.write();
        fleet.flows().await;
        one.stop().await;
        spread(&[&two], &[3]).await;
        fleet.flows().await;
        // The last one leaves them to nobody, and says who had them.
        let last = name(&two).await;
        let ids: Vec<_> = (0..3).map(|index| fleet.id(index)).collect();
        let setup = fleet.setup.clone();
        let pause = fleet.assert_whole().await;
        println!("{kind:?} {delivery}: {pause:?} without a record, the longest of a rolling stop");
        assert!(pause < EXPIRY, "{pause:?}");
        two.stop().await;
        if kind != Kind::Leases {
            continue;
        }
        let client = support::mongo().await.client().await;
        let leases = client.database(&setup.vars()["LEASE_DATABASE"]);
        let leases = leases.collection::<Document>("leases");
        for id in ids {
            let lease = leases.find_one(doc! {"_id": id}).await.unwrap().unwrap();
            assert_eq!(lease.get_str("previous").unwrap(), last, "{lease}");
            assert!(
                lease
                    .get_document("lockInfo")
                    .unwrap()
                    .get_str("instanceId")
                    .is_err()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_refused_with_the_reason() {
    let fleet = Fleet::new(1, "at_least_once").await;
    let stream = fleet.databases[0].name().to_owned();
    let mut one = fleet.setup.start().await;
    spread(&[&one], &[1]).await;
    for (args, sentence) in [
        (
            &["streams", "move", &stream, "--to", "nobody"][..],
            "is not the name of one instance",
        ),
        (
            &["streams", "release", &stream],
            "no other instance can run",
        ),
        (
            &["streams", "release", "nothing"],
            "there is no stream nothing",
        ),
    ] {
        let exit = ask(&fleet, &one, args).await;
        assert_eq!(exit.code, Some(1), "{}", exit.output);
        assert!(
            exit.output.contains(sentence),
            "{sentence}: {}",
            exit.output
        );
    }
    let two = fleet.setup.start().await;
    let exit = ask(&fleet, &two, &["pause", "--stream", &stream]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    assert!(exit.output.contains(&name(&one).await), "{}", exit.output);
    let status = ask(&fleet, &two, &["status"]).await;
    assert_eq!(status.code, Some(0), "{}", status.output);
    assert!(status.output.contains("standby"), "{}", status.output);
    assert!(
        status.output.contains(&name(&one).await),
        "{}",
        status.output
    );
    let metrics = two.get("/metrics").await;
    let labels = [("stream", stream.as_str())];
    assert_eq!(metrics.metric("tailwater_stream_owned", &labels), Some(1.0));
    assert_eq!(metrics.metric("tailwater_stream_mine", &labels), Some(0.0));
    assert_eq!(
        metrics.metric("tailwater_hand_overs_total", &labels),
        Some(0.0)
    );
    one.signal(Signal::TERM);
    assert_eq!(one.wait_exit(PATIENCE).await.code, Some(0));
    eventually(PATIENCE, "the metrics say so, too", async || {
        let metrics = two.get("/metrics").await;
        let mine = metrics.metric("tailwater_stream_mine", &labels);
        (mine == Some(1.0)).then_some(())
    })
    .await;
    two.stop().await;
}
