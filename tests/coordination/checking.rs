//! `tailwater check` says what an instance could not do, and what is wrong with what others have made.

use super::fleet::{Fleet, Kind, spread};
use crate::rights::telling;
use crate::support::{self, Exit, Kafka, Operation, PATIENCE, Resource, Setup, eventually};

async fn check(setup: &Setup) -> Exit {
    setup.clone().args(&["check"]).run().await
}

#[tokio::test]
async fn each_right_that_leases_need_is_named() {
    const READ: &[&str] = &["find", "changeStream", "listCollections", "listIndexes"];
    const WITHOUT_CHANGES: &[&str] = &["find", "insert", "update", "remove"];
    const ALL: &[&str] = &["find", "insert", "update", "remove", "changeStream"];
    let fleet = Fleet::new(1, "at_least_once").await;
    let server = support::mongo().await.addr();
    let streams: &'static str = fleet.databases[0].name().to_owned().leak();
    let setup = fleet.setup.clone().env("LEASE_DATABASE", "leases-of-these");
    for (granted, code, said) in [
        (
            &["listIndexes"][..],
            3,
            "lacks find, insert, update, remove on leases-of-these.leases",
        ),
        (
            &["find", "insert", "update"],
            3,
            "lacks remove on leases-of-these.leases",
        ),
        (&["insert", "update", "remove"], 3, "lacks find on"),
        (
            WITHOUT_CHANGES,
            0,
            "lacks changeStream on database leases-of-these",
        ),
        (
            ALL,
            0,
            "may read and write the leases in database leases-of-these",
        ),
    ] {
        let wire = telling(server, &[(streams, READ), ("leases-of-these", granted)]).await;
        let exit = check(&setup.clone().env("MONGODB_URI", wire.uri_of("admin"))).await;
        assert_eq!(exit.code, Some(code), "{said}: {}", exit.output);
        assert!(exit.output.contains(said), "{said}: {}", exit.output);
        let is_granted = exit
            .output
            .contains("grant readWrite on database leases-of-these");
        assert_eq!(is_granted, granted != ALL, "{}", exit.output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_that_the_registry_and_the_group_need_is_named() {
    let kafka = Kafka::with_acls(&["app"], &[]).await;
    let mongo = support::mongo().await;
    let fleet = Fleet::over(mongo, &kafka, 1, "at_least_once").await;
    let fleet = fleet.by(Kind::Group);
    let registry = fleet.setup.vars()["COORDINATION_TOPIC"].clone();
    // Nothing is there yet.
    let exit = check(&fleet.setup).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let sentence = format!("the topic {registry} does not exist yet and will be created");
    assert!(exit.output.contains(&sentence), "{}", exit.output);
    let one = fleet.setup.start().await;
    spread(&[&one], &[1]).await;
    // Nobody is disturbed by being looked at.
    let exit = check(&fleet.setup).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(!exit.output.contains("kafka.rights"), "{}", exit.output);
    spread(&[&one], &[1]).await;
    one.stop().await;

    let records = kafka.records(&[&registry]).await;
    let group = records.iter().find_map(|it| it.value["group"].as_str());
    let group = group.expect("it was told").to_owned();
    kafka.allow_everything("app").await;
    let setup = fleet.setup.clone().logged_in_as(&kafka, "app");
    eventually(PATIENCE, "the rights are in force", async || {
        let exit = check(&setup).await;
        (exit.code == Some(0) && !exit.output.contains("kafka.rights")).then_some(())
    })
    .await;
    let (of_registry, of_group) = (Resource::Topic(&registry), Resource::Topic(&group));
    for (resource, operation, code, said) in [
        (
            of_registry,
            Operation::Read,
            4,
            format!("lacks Read on topic {registry}"),
        ),
        (
            of_registry,
            Operation::Write,
            4,
            format!("lacks Write on topic {registry}"),
        ),
        (
            of_registry,
            Operation::Describe,
            4,
            format!("lacks Read and Write and Describe on topic {registry}"),
        ),
        (
            of_registry,
            Operation::DescribeConfigs,
            0,
            format!("lacks DescribeConfigs on topic {registry}: whether it is compacted"),
        ),
        (
            of_group,
            Operation::Read,
            4,
            format!("lacks Read on topic {group}"),
        ),
        (
            Resource::Group(&group),
            Operation::Read,
            4,
            format!("lacks Read on group {group}"),
        ),
    ] {
        kafka.deny("app", resource, operation).await;
        let exit = eventually(PATIENCE, &said, async || {
            let exit = check(&setup).await;
            exit.output.contains(&said).then_some(exit)
        })
        .await;
        assert_eq!(exit.code, Some(code), "{said}: {}", exit.output);
        assert!(!exit.output.contains("password-of"), "{}", exit.output);
        kafka.end_denial("app", resource, operation).await;
    }
}

/// Moves and counts would be forgotten with time: that is told, and the streams run.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_compacted_is_told_of() {
    let fleet = Fleet::new(1, "at_least_once").await.by(Kind::Group);
    let registry = fleet.setup.vars()["COORDINATION_TOPIC"].clone();
    let settings = [("cleanup.policy", "delete")];
    fleet.kafka.create_topic(&registry, 1, &settings).await;
    let sentence = format!("the topic {registry} has cleanup.policy=delete");
    let command = format!("--entity-name {registry} --add-config cleanup.policy=compact");
    let exit = check(&fleet.setup).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let mut one = fleet.setup.start().await;
    spread(&[&one], &[1]).await;
    let line = one.wait_for_log(&sentence).await;
    for said in [&exit.output, &line] {
        assert!(
            said.contains(&sentence) && said.contains(&command),
            "{said}"
        );
    }
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_several_partitions_is_refused() {
    let fleet = Fleet::new(1, "at_least_once").await.by(Kind::Group);
    let registry = fleet.setup.vars()["COORDINATION_TOPIC"].clone();
    fleet.kafka.create_topic(&registry, 3, &[]).await;
    let sentence = format!("the topic {registry} has 3 partitions and must have 1");
    for exit in [check(&fleet.setup).await, fleet.setup.run().await] {
        assert_eq!(exit.code, Some(4), "{}", exit.output);
        assert!(exit.output.contains(&sentence), "{}", exit.output);
    }
}
