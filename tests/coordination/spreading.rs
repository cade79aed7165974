//! Many streams over several processes.

use super::fleet::{Fleet, Kind, owners, spread, subscriptions, with_times};
use crate::support::{PATIENCE, Tailwater, eventually};
use std::collections::BTreeMap;

/// How often all streams together went from one instance to another.
async fn hand_overs(of: &Tailwater) -> u64 {
    let said = subscriptions(of).await;
    let rows = said["subscriptions"].as_array().cloned();
    let counts = rows.into_iter().flatten();
    counts.filter_map(|row| row["handOvers"].as_u64()).sum()
}

/// Whoever has taken a stream runs it before all others have heard of it.
async fn each_once(of: &Tailwater, all: u64) {
    eventually(PATIENCE, "each stream has moved", async || {
        (hand_overs(of).await >= all).then_some(())
    })
    .await;
    assert_eq!(hand_overs(of).await, all, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_streams_on_three_processes_spread_and_each_moves_once() {
    for kind in [Kind::Leases, Kind::Group] {
        spread_twelve(kind).await;
    }
}

async fn spread_twelve(kind: Kind) {
    let mut fleet = Fleet::new(12, "at_least_once").await;
    // What it counts is only so while nobody loses a lease because the machine is slow.
    let setup = with_times(fleet.setup, [500, 6000, 1000]);
    fleet.setup = match kind {
        Kind::Leases => setup,
        Kind::Group => setup.env("KAFKA_SESSION_TIMEOUT_MS", 6000),
    };
    let mut fleet = fleet.by(kind);
    let (mut one, mut two, mut three) = (
        fleet.setup.spawn(),
        fleet.setup.spawn(),
        fleet.setup.spawn(),
    );
    for instance in [&mut one, &mut two, &mut three] {
        instance.wait_ready().await;
    }
    spread(&[&one, &two, &three], &[4, 4, 4]).await;
    fleet.write();
    fleet.flows().await;
    let before = hand_overs(&one).await;
    two.kill9();
    spread(&[&one, &three], &[6, 6]).await;
    each_once(&one, before + 4).await;
    let again = fleet.setup.start().await;
    spread(&[&one, &again, &three], &[4, 4, 4]).await;
    each_once(&one, before + 8).await;
    fleet.flows().await;
    // The same list on every instance.
    eventually(PATIENCE, "all say the same", async || {
        let said = [
            owners(&one).await,
            owners(&again).await,
            owners(&three).await,
        ];
        (said[0] == said[1] && said[1] == said[2]).then_some(())
    })
    .await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for owner in owners(&one).await.into_values().flatten() {
        *counts.entry(owner).or_default() += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [4, 4, 4]);
    fleet.assert_whole().await;
    for instance in [one, again, three] {
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_added_and_taken_away_one_instance_after_the_other() {
    for kind in [Kind::Leases, Kind::Group] {
        change_streams(kind).await;
    }
}

async fn change_streams(kind: Kind) {
    let mut fleet = Fleet::new(3, "at_least_once").await.by(kind);
    let names: Vec<_> = fleet
        .databases
        .iter()
        .map(|db| db.name().to_owned())
        .collect();
    let old = fleet.setup.clone().env("STREAMS", names[..2].join(","));
    let new = fleet.setup.clone().env("STREAMS", names[1..].join(","));
    let (one, two) = (old.start().await, old.start().await);
    spread(&[&one, &two], &[1, 1]).await;
    one.stop().await;
    let one = new.start().await;
    // The old one has what only it is configured for, the new one what is new.
    let runs = async |of: &Tailwater, id: &str| {
        let owner = owners(of).await.get(id).cloned().flatten();
        owner.is_some()
    };
    eventually(PATIENCE, "all three run", async || {
        for index in 0..3 {
            if !runs(&one, &fleet.id(index)).await || !runs(&two, &fleet.id(index)).await {
                return None;
            }
        }
        Some(())
    })
    .await;
    let said = subscriptions(&one).await;
    let rows = said["subscriptions"].as_array().unwrap();
    let foreign = rows
        .iter()
        .find(|row| row["stream"] == fleet.id(0).as_str());
    assert_eq!(foreign.unwrap()["configured"], false, "{said:#}");
    fleet.write();
    fleet.flows().await;
    two.stop().await;
    let two = new.start().await;
    spread(&[&one, &two], &[1, 1]).await;
    // Nobody is configured for it, and it says who had it last.
    let row = subscriptions(&two).await["subscriptions"].clone();
    let row = row.as_array().unwrap();
    let row = row
        .iter()
        .find(|row| row["stream"] == fleet.id(0).as_str())
        .unwrap();
    assert_eq!(
        (&row["state"], row["owner"].is_null()),
        (&"unowned".into(), true),
        "{row:#}"
    );
    assert!(row["previousOwner"].is_string(), "{row:#}");
    for instance in [one, two] {
        assert!(
            !instance.log().contains("code=\"fenced\""),
            "{}",
            instance.log()
        );
        instance.stop().await;
    }
    // What was written meanwhile is there for whoever runs it again.
    let last = old.start().await;
    let rest = new.start().await;
    fleet.assert_whole().await;
    last.stop().await;
    rest.stop().await;
}
