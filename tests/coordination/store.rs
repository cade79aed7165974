//! What the coordination is kept in: away, or refused.

use super::fleet::{
    BOTH, Fleet, active, owners, says_that_it_waits, spread, subscriptions, with_times,
};
use crate::support::{self, Mongo, PATIENCE, Tailwater, Wire, eventually, wire};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_the_leases_with_a_name_and_says_which_right_is_missing() {
    let mongo = Mongo::with_auth().await;
    let fleet = Fleet::over(&mongo, support::kafka().await, 1, "at_least_once").await;
    let database = fleet.databases[0].name();
    let roles = bson::bson!([{"role": "read", "db": database}]);
    mongo.add_user("reader", "reader-secret", roles).await;
    let setup = fleet
        .setup
        .clone()
        .env("MONGODB_URI", mongo.uri_as("reader", "reader-secret", ""));
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(3), "{}", exit.output);
    let sentence = format!(
        "grant readWrite on database {}",
        setup.vars()["LEASE_DATABASE"]
    );
    assert!(exit.output.contains(&sentence), "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_database_moves_nothing_and_is_told() {
    let mut mongo = Mongo::dedicated(&[]).await;
    let mut fleet = Fleet::over(&mongo, support::kafka().await, 2, "exactly_once").await;
    let (mut one, mut two) = (fleet.setup.spawn(), fleet.setup.spawn());
    one.wait_ready().await;
    two.wait_ready().await;
    spread(&[&one, &two], &[1, 1]).await;
    fleet.write();
    fleet.flows().await;
    let before = owners(&one).await;
    mongo.kill9();
    for instance in [&one, &two] {
        says_that_it_waits(instance).await;
        eventually(
            PATIENCE,
            "nothing runs that nobody can confirm",
            async || (active(instance).await == 0).then_some(()),
        )
        .await;
    }
    mongo.restart().await;
    spread(&[&one, &two], &[1, 1]).await;
    fleet.flows().await;
    assert_eq!(owners(&one).await, before);
    fleet.assert_whole().await;
    one.stop().await;
    two.stop().await;
}

/// How long nobody is the primary. Usually it is less.
const ELECTION: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn an_election_of_the_database_moves_nothing() {
    let mongo = support::mongo().await;
    let wire = Wire::before(mongo.addr()).await;
    for delivery in BOTH {
        let mut fleet = Fleet::new(2, delivery).await;
        let setup = fleet.setup.env("MONGODB_URI", wire.uri_of("admin"));
        fleet.setup = with_times(setup, [500, 15_000, 1000]);
        let one = fleet.setup.start().await;
        spread(&[&one], &[2]).await;
        let two = fleet.setup.start().await;
        spread(&[&one, &two], &[1, 1]).await;
        fleet.write();
        fleet.flows().await;
        let said = async || {
            let said = subscriptions(&two).await["subscriptions"].clone();
            let rows = said.as_array().cloned().unwrap_or_default();
            let row = |row: serde_json::Value| (row["owner"].clone(), row["epoch"].clone());
            rows.into_iter().map(row).collect::<Vec<_>>()
        };
        let before = said().await;
        let stops = |of: &Tailwater| of.log().matches("runs here no more").count();
        let stopped = [stops(&one), stops(&two)];
        wire.refuse_if(|command| {
            let is_asked_always = ["hello", "isMaster", "ismaster"].contains(&wire::name(command));
            (!is_asked_always).then(|| wire::error(10107, &["RetryableWriteError"]))
        });
        wire.alter(|_, reply| {
            if reply.contains_key("isWritablePrimary") {
                reply.insert("isWritablePrimary", false);
                reply.insert("secondary", true);
            }
        });
        tokio::time::sleep(ELECTION).await;
        wire.heal();
        fleet.flows().await;
        spread(&[&one, &two], &[1, 1]).await;
        assert_eq!(said().await, before);
        assert_eq!([stops(&one), stops(&two)], stopped, "{}", one.log());
        for instance in [&one, &two] {
            let log = instance.log();
            assert!(!log.contains("code=\"fenced\""), "{log}");
        }
        fleet.assert_whole().await;
        one.stop().await;
        two.stop().await;
    }
}

/// As if each document had been deleted by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_database_that_is_dropped_is_made_again_and_nothing_moves() {
    let mut fleet = Fleet::new(2, "exactly_once").await;
    let one = fleet.setup.start().await;
    spread(&[&one], &[2]).await;
    let two = fleet.setup.start().await;
    spread(&[&one, &two], &[1, 1]).await;
    fleet.write();
    fleet.flows().await;
    let before = owners(&one).await;
    let client = support::mongo().await.client().await;
    let leases = client.database(&fleet.setup.vars()["LEASE_DATABASE"]);
    for _ in 0..3 {
        leases.drop().await.unwrap();
        eventually(PATIENCE, "all is there again", async || {
            let count = async |name: &str| {
                let documents = leases.collection::<bson::Document>(name);
                documents.count_documents(bson::doc! {}).await.unwrap()
            };
            (count("leases").await == 2 && count("instances").await == 2).then_some(())
        })
        .await;
        fleet.flows().await;
    }
    for instance in [&one, &two] {
        assert_eq!(owners(instance).await, before);
        let log = instance.log();
        assert!(!log.contains("code=\"fenced\""), "{log}");
    }
    fleet.assert_whole().await;
    one.stop().await;
    two.stop().await;
}
