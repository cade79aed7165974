//! Leases in MongoDB.

use super::alike::{self, Freezable, Scene as _};
use super::{Journal, spread};
use crate::support::{Mongo, PATIENCE, eventually, mongo, unique};
use bson::{Bson, Document, doc};
use mongodb::Collection;
use std::collections::BTreeSet;
use std::time::Duration;
use tailwater::coordination::{Coordination, LeaseSettings, LeaseTimes, Settings};
use tailwater::error::Code;

/// Fast, and slow enough for a machine that does other things too.
const TIMES: LeaseTimes = LeaseTimes {
    heartbeat: Duration::from_millis(200),
    timeout: Duration::from_millis(2000),
    poll: Duration::from_millis(400),
};

/// The shortest that are allowed.
const SHORTEST: LeaseTimes = LeaseTimes {
    heartbeat: Duration::from_millis(100),
    timeout: Duration::from_millis(500),
    poll: Duration::from_millis(200),
};

/// One database of leases.
pub struct Scene {
    client: mongodb::Client,
    pub database: String,
    journal: Journal,
    times: LeaseTimes,
}

impl Scene {
    pub async fn new() -> Self {
        Self::on(mongo().await).await
    }

    async fn on(mongo: &Mongo) -> Self {
        Self {
            client: mongo.client().await,
            database: unique("leases"),
            journal: Journal::default(),
            times: TIMES,
        }
    }

    fn settings_through(&self, client: mongodb::Client) -> Settings {
        Settings::MongoDb(LeaseSettings {
            client,
            database: self.database.clone(),
            times: self.times,
        })
    }

    pub fn leases(&self) -> Collection<Document> {
        self.client.database(&self.database).collection("leases")
    }

    pub async fn lease(&self, stream: &str) -> Document {
        let found = self.lease_if_any(stream).await;
        found.expect("the lease is there")
    }

    async fn lease_if_any(&self, stream: &str) -> Option<Document> {
        let found = self.leases().find_one(doc! {"_id": stream}).await;
        found.unwrap()
    }
}

impl alike::Scene for Scene {
    fn settings(&self) -> Settings {
        self.settings_through(self.client.clone())
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_streams_spread_evenly_and_each_moves_once() {
    let mut scene = Scene::new().await;
    // What it counts is only so while nobody loses a lease because the machine is slow.
    scene.times = LeaseTimes {
        heartbeat: Duration::from_millis(500),
        timeout: Duration::from_secs(6),
        poll: Duration::from_secs(1),
    };
    alike::twelve_streams_spread(&scene, scene.times.timeout).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_gives_its_streams_away_after_they_have_stopped() {
    let scene = Scene::new().await;
    let two = alike::one_leaves(&scene).await;
    // The last one leaves everything unowned, and says who had it.
    two.stop().await;
    let lease = scene.lease("a").await;
    assert_eq!(
        lease.get_document("lockInfo").unwrap().get("instanceId"),
        Some(&Bson::Null)
    );
    assert_eq!(lease.get_str("previous").unwrap(), "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_times_take_over_soon_after_a_death() {
    let mut scene = Scene::new().await;
    scene.times = SHORTEST;
    let one = scene.start("one", &["a"]).await;
    spread(&[&one], &[1]).await;
    let two = scene.start("two", &["a"]).await;
    let view = two.coordination.view();
    eventually(PATIENCE, "the standby knows the owner", async || {
        (view.borrow().streams["a"].owner.as_deref() == Some("one")).then_some(())
    })
    .await;
    one.kill().await;
    spread(&[&two], &[1]).await;
    println!("taken over after {:?}", scene.journal.longest_gap());
    assert_eq!(view.borrow().streams["a"].previous.as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_cut_off_stops_by_itself_before_another_one_takes_over() {
    let mongo = Mongo::dedicated(&[]).await;
    let proxy = mongo.proxy().await;
    let scene = Scene::on(&mongo).await;
    let through = mongo.uri_through(&proxy, "admin");
    let through = mongodb::Client::with_uri_str(through).await.unwrap();
    let settings = scene.settings_through(through);
    alike::cut_off(&scene, settings, &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_database_moves_nothing() {
    let mut mongo = Mongo::dedicated(&[]).await;
    let scene = Scene::on(&mongo).await;
    let one = scene.start("one", &["a", "b"]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    let (of_one, of_two) = (one.running(), two.running());
    mongo.kill9();
    // Longer than a lease lasts: nothing may run that nobody can confirm.
    spread(&[&one, &two], &[0, 0]).await;
    mongo.restart().await;
    spread(&[&one, &two], &[1, 1]).await;
    assert_eq!((one.running(), two.running()), (of_one, of_two));
    for stream in ["a", "b"] {
        let lease = scene.lease(stream).await;
        assert!(lease.get_i64("handOvers").unwrap() <= 1, "{lease}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_wakes_up_and_wants_nothing() {
    let scene = Scene::new().await;
    let uri = mongo().await.uri().to_owned();
    let (database, times) = (scene.database.clone(), scene.times);
    let frozen = Freezable::start(async move {
        let client = mongodb::Client::with_uri_str(uri).await.unwrap();
        Settings::MongoDb(LeaseSettings {
            client,
            database,
            times,
        })
    });
    let two = scene.start("two", &["a"]).await;
    frozen.freeze(TIMES.timeout * 3, &two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_moves_a_stream_and_it_stays() {
    let scene = Scene::new().await;
    let one = scene.start("one", &["a", "b"]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    let stream = one.running().first().cloned().unwrap();
    // Asked of the one that does not have it.
    two.coordination.move_to(&stream, "two").await.unwrap();
    eventually(PATIENCE, "the stream runs there", async || {
        two.running().contains(&stream).then_some(())
    })
    .await;
    // The other one makes room, and it is even again.
    spread(&[&one, &two], &[1, 1]).await;
    assert!(two.running().contains(&stream));
    scene.journal.assert_one_at_a_time();

    one.coordination.release(&stream).await.unwrap();
    eventually(PATIENCE, "the stream runs on the other", async || {
        one.running().contains(&stream).then_some(())
    })
    .await;

    alike::what_cannot_be_moved(one, two, &stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_a_person_deletes_is_made_again_by_its_owner() {
    let scene = Scene::new().await;
    let one = scene.start("one", &["a", "b"]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    let starts = scene.journal.count();
    let before = scene.lease("a").await;
    let same = |lease: &Document| {
        let lock = lease.get_document("lockInfo").unwrap();
        (
            lock.get_str("instanceId").unwrap().to_owned(),
            lock.get_i64("epoch").unwrap(),
        )
    };
    for _ in 0..3 {
        scene.leases().delete_many(doc! {}).await.unwrap();
        eventually(PATIENCE, "both leases are there again", async || {
            let count = scene.leases().count_documents(doc! {}).await.unwrap();
            (count == 2).then_some(())
        })
        .await;
    }
    assert_eq!(same(&scene.lease("a").await), same(&before));
    let instances = scene.client.database(&scene.database);
    let instances = instances.collection::<Document>("instances");
    instances.delete_many(doc! {}).await.unwrap();
    eventually(PATIENCE, "both are registered again", async || {
        let count = instances.count_documents(doc! {}).await.unwrap();
        (count == 2).then_some(())
    })
    .await;
    assert_eq!(scene.journal.count(), starts, "nothing moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_a_person_changes_is_obeyed_or_made_anew() {
    let scene = Scene::new().await;
    let one = scene.start("one", &["a"]).await;
    spread(&[&one], &[1]).await;
    // Made free: whoever ran it stops, and somebody takes it.
    let free = doc! {"$set": {"lockInfo.instanceId": Bson::Null}};
    scene
        .leases()
        .update_one(doc! {"_id": "a"}, free)
        .await
        .unwrap();
    eventually(PATIENCE, "it was started again", async || {
        (scene.journal.count() == 2).then_some(())
    })
    .await;
    // No lease at all: it is replaced by one.
    let nonsense = doc! {"$set": {"lockInfo": "mine"}};
    scene
        .leases()
        .update_one(doc! {"_id": "a"}, nonsense)
        .await
        .unwrap();
    eventually(PATIENCE, "it is a lease again, with an owner", async || {
        let lease = scene.lease_if_any("a").await?;
        let lock = lease.get_document("lockInfo").ok()?;
        lock.get_str("instanceId").ok().map(|_| ())
    })
    .await;
    spread(&[&one], &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_somebody_claims_from_outside_goes_to_another_instance() {
    alike::claimed_from_outside(&Scene::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_differ_during_a_rolling_change_and_each_runs_once() {
    let scene = Scene::new().await;
    let old = scene.start("old", &["a", "b"]).await;
    spread(&[&old], &[2]).await;
    let new = scene.start("new", &["b", "c"]).await;
    eventually(PATIENCE, "every stream runs", async || {
        let all: BTreeSet<_> = old.running().union(&new.running()).cloned().collect();
        (all.len() == 3 && old.running().contains("a")).then_some(())
    })
    .await;
    old.stop().await;
    spread(&[&new], &[2]).await;
    scene.journal.assert_one_at_a_time();
    // Nobody is configured for it, and everybody sees that.
    alike::is_left_behind_by_old("a", &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_leases_is_told_so_at_the_start() {
    let mongo = Mongo::with_auth().await;
    let scene = Scene::on(&mongo).await;
    let roles = bson::bson!([{"role": "read", "db": &scene.database}]);
    mongo.add_user("reader", "reader-secret", roles).await;
    let uri = mongo.uri_as("reader", "reader-secret", "");
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let settings = scene.settings_through(client);
    let refused = Coordination::start(settings, "one".into(), ["a".to_owned()].into()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, Code::SourceRefused);
    assert!(
        refused.detail.contains("grant readWrite on database"),
        "{refused}"
    );
    assert!(refused.detail.contains("LEASE_DATABASE"), "{refused}");
}
