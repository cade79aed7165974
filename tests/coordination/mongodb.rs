//! Leases in MongoDB.

use super::{Instance, Journal, TWELVE, spread};
use crate::support::{Direction, Mongo, PATIENCE, eventually, mongo, unique};
use bson::{Bson, Document, doc};
use mongodb::Collection;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
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
struct Scene {
    client: mongodb::Client,
    database: String,
    journal: Journal,
    times: LeaseTimes,
}

impl Scene {
    async fn new() -> Self {
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

    fn settings(&self) -> Settings {
        self.settings_through(self.client.clone())
    }

    fn settings_through(&self, client: mongodb::Client) -> Settings {
        Settings::MongoDb(LeaseSettings {
            client,
            database: self.database.clone(),
            times: self.times,
        })
    }

    async fn start(&self, name: &str, streams: &[&str]) -> Instance {
        Instance::start(self.settings(), name, streams, &self.journal).await
    }

    fn leases(&self) -> Collection<Document> {
        self.client.database(&self.database).collection("leases")
    }

    async fn lease(&self, stream: &str) -> Document {
        let found = self.lease_if_any(stream).await;
        found.expect("the lease is there")
    }

    async fn lease_if_any(&self, stream: &str) -> Option<Document> {
        let found = self.leases().find_one(doc! {"_id": stream}).await;
        found.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_streams_spread_evenly_and_each_moves_once() {
    let scene = Scene::new().await;
    let (one, two, three) = tokio::join!(
        scene.start("one", &TWELVE),
        scene.start("two", &TWELVE),
        scene.start("three", &TWELVE)
    );
    spread(&[&one, &two, &three], &[4, 4, 4]).await;
    let before = scene.journal.count();

    let killed = Instant::now();
    two.kill().await;
    spread(&[&one, &three], &[6, 6]).await;
    println!(
        "taken over {:?} after the kill, expiry {:?}",
        killed.elapsed(),
        TIMES.timeout
    );
    assert_eq!(scene.journal.count() - before, 4, "each once");

    let before = scene.journal.count();
    let again = scene.start("again", &TWELVE).await;
    spread(&[&one, &again, &three], &[4, 4, 4]).await;
    assert_eq!(scene.journal.count() - before, 4, "each once");
    scene.journal.assert_one_at_a_time();

    // All of them see the same, whoever owns what.
    let view = eventually(PATIENCE, "a view of all instances", async || {
        let view = one.coordination.view().borrow().clone();
        let mut streams = view.streams.values();
        let is_whole = streams.all(|stream| stream.since.is_some() && stream.owner.is_some());
        (view.instances.len() == 3 && is_whole).then_some(view)
    })
    .await;
    assert_eq!(view.streams.len(), 12);
    for stream in view.streams.values() {
        assert_eq!(stream.mine, stream.owner.as_deref() == Some("one"));
        assert!(stream.last_heartbeat.is_some());
        assert_eq!(stream.epoch, stream.hand_overs + 1);
    }
    assert_eq!(view.instances["again"].streams.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_gives_its_streams_away_after_they_have_stopped() {
    let scene = Scene::new().await;
    let streams = ["a", "b", "c", "d"];
    let one = scene.start("one", &streams).await;
    spread(&[&one], &[4]).await;
    let two = scene.start("two", &streams).await;
    spread(&[&one, &two], &[2, 2]).await;
    one.stop().await;
    spread(&[&two], &[4]).await;
    scene.journal.assert_one_at_a_time();
    println!(
        "longest pause of a planned hand-over: {:?}",
        scene.journal.longest_gap()
    );
    assert_eq!(scene.journal.count(), 8);
    // It has signed off: nobody waits for it.
    let view = two.coordination.view();
    eventually(PATIENCE, "only one instance", async || {
        (view.borrow().instances.keys().eq(["two"])).then_some(())
    })
    .await;
    assert_eq!(view.borrow().streams["a"].previous.as_deref(), Some("one"));
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
    let one = Instance::start(settings, "one", &["a", "b"], &scene.journal).await;
    spread(&[&one], &[2]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    proxy.half_open(Direction::Both);
    spread(&[&one, &two], &[0, 2]).await;
    scene.journal.assert_one_at_a_time();
    let view = one.coordination.view();
    assert!(view.borrow().streams.values().all(|stream| !stream.mine));
    proxy.heal();
    spread(&[&one, &two], &[1, 1]).await;
    scene.journal.assert_one_at_a_time();
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
    // A runtime of one thread, which can be frozen as a process is.
    let (tell, told) = std::sync::mpsc::sync_channel::<Duration>(1);
    let (show, shown) = std::sync::mpsc::sync_channel::<BTreeSet<String>>(1);
    let uri = mongo().await.uri().to_owned();
    let (database, times) = (scene.database.clone(), scene.times);
    let frozen = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let client = mongodb::Client::with_uri_str(uri).await.unwrap();
            let settings = Settings::MongoDb(LeaseSettings {
                client,
                database,
                times,
            });
            let streams = BTreeSet::from(["a".to_owned()]);
            let coordination = Coordination::start(settings, "one".into(), streams)
                .await
                .unwrap();
            let mut wanted = coordination.wanted();
            let owns = wanted.wait_for(|wanted| !wanted.streams.is_empty()).await;
            let version = owns.unwrap().version;
            coordination
                .running(version, BTreeSet::from(["a".to_owned()]))
                .await;
            show.send(wanted.borrow().streams.clone()).unwrap();
            std::thread::sleep(told.recv().unwrap());
            // Whatever comes first in this runtime now comes after this.
            tokio::task::yield_now().await;
            let _ = wanted.changed().await;
            show.send(wanted.borrow().streams.clone()).unwrap();
        });
    });
    assert_eq!(shown.recv().unwrap().len(), 1);
    let two = scene.start("two", &["a"]).await;
    tell.send(TIMES.timeout * 3).unwrap();
    spread(&[&two], &[1]).await;
    let woken = tokio::task::spawn_blocking(move || shown.recv().unwrap()).await;
    assert_eq!(woken.unwrap(), BTreeSet::new());
    frozen.join().unwrap();
    assert_eq!(two.running().len(), 1);
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

    let refused = |error: Result<(), tailwater::error::Error>| error.unwrap_err().detail;
    let said = refused(one.coordination.move_to(&stream, "three").await);
    assert!(said.contains("there are one, two"), "{said}");
    let said = refused(one.coordination.move_to("c", "two").await);
    assert!(said.contains("there is no stream c"), "{said}");
    two.stop().await;
    spread(&[&one], &[2]).await;
    eventually(PATIENCE, "the other one is gone", async || {
        (one.coordination.view().borrow().instances.len() == 1).then_some(())
    })
    .await;
    let said = refused(one.coordination.release(&stream).await);
    assert!(said.contains("no other instance"), "{said}");
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
    let scene = Scene::new().await;
    let one = scene.start("one", &["a"]).await;
    spread(&[&one], &[1]).await;
    let two = scene.start("two", &["a"]).await;
    eventually(PATIENCE, "each knows the other", async || {
        (one.coordination.view().borrow().instances.len() == 2).then_some(())
    })
    .await;
    one.coordination.fenced("a").await;
    spread(&[&one, &two], &[0, 1]).await;
    assert_eq!(scene.journal.count(), 2);
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
    let view = new.coordination.view();
    eventually(
        PATIENCE,
        "the stream without a process is unowned",
        async || {
            let view = view.borrow();
            let stream = &view.streams["a"];
            (stream.owner.is_none() && stream.previous.as_deref() == Some("old")).then_some(())
        },
    )
    .await;
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
