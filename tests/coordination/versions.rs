//! An instance of another version: it leaves out what is not needed, and says what this one does not know.

use super::alike::Scene as _;
use super::kafka::Scene as Group;
use super::mongodb::Scene as Leases;
use super::spread;
use crate::support::{PATIENCE, eventually, kafka};
use bson::{Document, doc};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the other one says that it lives.
const HEARTBEAT: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn records_of_another_version_are_understood() {
    let scene = Group::new().await;
    let streams = ["a", "b"];
    // Somebody has to make the topics.
    scene.start("first", &streams).await.stop().await;
    let has_a = AtomicBool::new(true);
    let other = async {
        let key = scene.key("instances", "other");
        for heartbeats in 1_u64.. {
            let mut has = Vec::new();
            has.extend(has_a.load(Ordering::Relaxed).then_some("a"));
            let record = json!({
                "streams": ["a", "b"], "has": has, "heartbeats": heartbeats, "timeoutMs": 2000,
                "version": "9.0.0", "zone": {"name": "b"}, "wishes": [1, null],
            });
            let (topic, record) = (&scene.settings.topic, record.to_string());
            kafka().await.produce(topic, &key, &record).await;
            tokio::time::sleep(HEARTBEAT).await;
        }
    };
    let this = async {
        let one = scene.start("one", &streams).await;
        spread(&[&one], &[1]).await;
        assert_eq!(one.running(), BTreeSet::from(["b".to_owned()]));
        let view = one.coordination.view();
        let seen = view.borrow().clone();
        assert_eq!(seen.instances["other"].version, "9.0.0");
        assert_eq!(seen.streams["a"].owner.as_deref(), Some("other"));
        has_a.store(false, Ordering::Relaxed);
        spread(&[&one], &[2]).await;
        one.stop().await;
    };
    tokio::select! {
        () = other => {}
        () = this => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_another_version_are_understood_and_keep_what_is_not_known_here() {
    let scene = Leases::new().await;
    let lease = doc! {
        "_id": "a", "zone": "b",
        "lockInfo": {"instanceId": "other", "epoch": 3, "heartbeats": 1, "wish": {"x": 1}},
    };
    scene.leases().insert_one(lease).await.unwrap();
    let instances = scene.leases().client().database(&scene.database);
    let instances = instances.collection::<Document>("instances");
    let other = doc! {"_id": "other", "streams": ["a", "b"], "heartbeats": 1, "version": "9.0.0", "zone": "b"};
    instances.insert_one(other).await.unwrap();
    let (leases, has_a) = (scene.leases(), Arc::new(AtomicBool::new(true)));
    let other = tokio::spawn({
        let has_a = Arc::clone(&has_a);
        async move {
            loop {
                let beat = doc! {"$inc": {"lockInfo.heartbeats": 1}};
                let own = doc! {"_id": "a", "lockInfo.instanceId": "other"};
                if has_a.load(Ordering::Relaxed) {
                    leases.update_one(own, beat).await.unwrap();
                }
                let beat = doc! {"$inc": {"heartbeats": 1}};
                instances
                    .update_one(doc! {"_id": "other"}, beat)
                    .await
                    .unwrap();
                tokio::time::sleep(HEARTBEAT).await;
            }
        }
    });
    let one = scene.start("one", &["a", "b"]).await;
    spread(&[&one], &[1]).await;
    assert_eq!(one.running(), BTreeSet::from(["b".to_owned()]));
    let view = one.coordination.view();
    eventually(PATIENCE, "the other one is known", async || {
        let view = view.borrow();
        let known = view.instances.get("other")?.version == "9.0.0";
        (known && view.streams["a"].owner.as_deref() == Some("other")).then_some(())
    })
    .await;
    // It is gone, and its lease runs out.
    has_a.store(false, Ordering::Relaxed);
    other.abort();
    spread(&[&one], &[2]).await;
    let lease = scene.lease("a").await;
    assert_eq!(lease.get_str("zone").unwrap(), "b", "{lease}");
    let lock = lease.get_document("lockInfo").unwrap();
    assert!(lock.get_document("wish").is_ok(), "{lease}");
    assert_eq!(lock.get_i64("epoch").unwrap(), 4, "{lease}");
    one.stop().await;
}
