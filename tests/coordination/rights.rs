//! Rights that are taken away from a running instance, and given back.

use super::fleet::{Fleet, Kind, owners, says_that_it_waits, spread};
use crate::support::{self, Kafka, Operation, PATIENCE, Resource, Wire, eventually, wire};

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_leases_any_more_loses_them_and_stands_by_when_it_may() {
    let mongo = support::mongo().await;
    let wire = Wire::before(mongo.addr()).await;
    let mut fleet = Fleet::new(1, "at_least_once").await;
    let leases = fleet.setup.vars()["LEASE_DATABASE"].clone();
    let refused = fleet.setup.clone().env("MONGODB_URI", wire.uri_of("admin"));
    let one = refused.start().await;
    spread(&[&one], &[1]).await;
    let two = fleet.setup.start().await;
    fleet.write();
    fleet.flows().await;
    wire.refuse_if(move |command| {
        let is_theirs = command.get_str("$db").is_ok_and(|db| db == leases);
        let is_write = ["update", "insert", "delete"].contains(&wire::name(command));
        (is_theirs && is_write).then(|| wire::error(13, &[]))
    });
    spread(&[&one, &two], &[0, 1]).await;
    says_that_it_waits(&one).await;
    fleet.flows().await;
    wire.heal();
    eventually(PATIENCE, "it stands by", async || {
        let health = one.get("/health").await;
        (one.is_ready().await && health.status == 200).then_some(())
    })
    .await;
    spread(&[&one, &two], &[0, 1]).await;
    fleet.assert_whole().await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_use_the_registry_any_more_loses_its_streams_and_stands_by_when_it_may() {
    let kafka = Kafka::with_acls(&["one"], &[]).await;
    kafka.allow_everything("one").await;
    let mongo = support::mongo().await;
    let mut fleet = Fleet::over(mongo, &kafka, 1, "at_least_once").await;
    fleet = fleet.by(Kind::Group);
    let registry = fleet.setup.vars()["COORDINATION_TOPIC"].clone();
    let (topic, write) = (Resource::Topic(&registry), Operation::Write);
    let one = fleet
        .setup
        .clone()
        .logged_in_as(&kafka, "one")
        .start()
        .await;
    spread(&[&one], &[1]).await;
    let two = fleet.setup.start().await;
    fleet.write();
    fleet.flows().await;
    kafka.deny("one", topic, write).await;
    spread(&[&one, &two], &[0, 1]).await;
    says_that_it_waits(&one).await;
    fleet.flows().await;
    kafka.end_denial("one", topic, write).await;
    eventually(PATIENCE, "it stands by", async || {
        let health = one.get("/health").await;
        (one.is_ready().await && health.status == 200).then_some(())
    })
    .await;
    // It is a member of the group still: so whichever of the two the group has assigned it to runs it.
    eventually(PATIENCE, "the stream has an owner", async || {
        owners(&one).await[&fleet.id(0)].clone()
    })
    .await;
    fleet.flows().await;
    fleet.assert_whole().await;
    one.stop().await;
    two.stop().await;
}
