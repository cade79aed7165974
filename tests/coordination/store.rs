//! What the coordination is kept in: away, or refused.

use super::fleet::{Fleet, active, owners, says_that_it_waits, spread};
use crate::support::{self, Mongo, PATIENCE, eventually};

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
