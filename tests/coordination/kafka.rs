//! A consumer group in Kafka, and the registry of instances.

use super::alike::{self, Freezable, Scene as _};
use super::{Instance, Journal, spread};
use crate::support::{
    FENCED, Kafka, Operation, PATIENCE, Record, Resource, eventually, kafka, unique,
};
use std::time::Duration;
use tailwater::config::{Config, Kafka as Settled, Sasl, Secret, SecurityProtocol};
use tailwater::coordination::{Coordination, GroupSettings, Settings};
use tailwater::error::{Code, Error};

/// Short, and long enough for a machine that does other things too.
const SESSION: Duration = Duration::from_secs(2);

/// One installation with a registry of its own.
pub struct Scene {
    pub settings: GroupSettings,
    journal: Journal,
}

impl Scene {
    pub async fn new() -> Self {
        Self::on(kafka().await)
    }

    fn on(kafka: &Kafka) -> Self {
        Self {
            settings: GroupSettings {
                kafka: cluster(kafka.brokers()),
                topic: unique("streams"),
                session: SESSION,
            },
            journal: Journal::default(),
        }
    }

    pub fn key(&self, kind: &str, id: &str) -> String {
        format!("{}/{kind}/{id}", self.settings.kafka.client_id)
    }
}

impl alike::Scene for Scene {
    fn settings(&self) -> Settings {
        Settings::Kafka(self.settings.clone())
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }
}

fn cluster(brokers: &str) -> Settled {
    let loaded = Config::from_vars([
        ("MONGODB_URI", "mongodb://127.0.0.1:1/none"),
        ("KAFKA_BROKERS", brokers),
        ("KAFKA_CLIENT_ID", "app"),
    ]);
    loaded.unwrap().config.kafka
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_streams_spread_evenly_and_each_moves_once() {
    alike::twelve_streams_spread(&Scene::new().await, SESSION).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_gives_its_streams_away_after_they_have_stopped() {
    alike::one_leaves(&Scene::new().await).await.stop().await;
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
    spread(&[&one, &two], &[0, 2]).await;
    // It stays when the group assigns anew.
    let three = scene.start("three", &["a", "b"]).await;
    assert!(two.running().contains(&stream));
    three.stop().await;
    assert!(two.running().contains(&stream));

    one.coordination.release(&stream).await.unwrap();
    eventually(PATIENCE, "the stream runs on the other", async || {
        one.running().contains(&stream).then_some(())
    })
    .await;
    scene.journal.assert_one_at_a_time();

    alike::what_cannot_be_moved(one, two, &stream).await;
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
    // Another group: it takes what is new, and waits for what the other one has.
    spread(&[&old, &new], &[2, 1]).await;
    old.stop().await;
    spread(&[&new], &[2]).await;
    scene.journal.assert_one_at_a_time();
    assert_eq!(scene.journal.count(), 4);
    // Nobody is configured for it, and everybody sees that.
    alike::is_left_behind_by_old("a", &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_a_person_deletes_are_written_again() {
    let scene = Scene::new().await;
    let one = scene.start("one", &["a", "b"]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    let starts = scene.journal.count();
    let view = one.coordination.view();
    let whole = |view: &tailwater::coordination::View| {
        let mut streams = view.streams.values();
        view.instances.len() == 2 && streams.all(|stream| stream.since.is_some())
    };
    eventually(PATIENCE, "all is known", async || {
        whole(&view.borrow()).then_some(())
    })
    .await;
    let before = view.borrow().streams.clone();
    let kafka = kafka().await;
    for key in [
        scene.key("instances", "one"),
        scene.key("instances", "two"),
        scene.key("streams", "a"),
    ] {
        kafka.tombstone(&scene.settings.topic, &key).await;
        let is_of_it = |it: &&Record| it.key_bytes.as_deref() == Some(key.as_bytes());
        kafka
            .wait_until(&[&scene.settings.topic], "it is written again", |records| {
                let mut records = records.iter().filter(is_of_it);
                records.any(|it| it.bytes.is_none()) && records.next().is_some()
            })
            .await;
    }
    eventually(PATIENCE, "all is known again", async || {
        whole(&view.borrow()).then_some(())
    })
    .await;
    let after = view.borrow().streams.clone();
    for (stream, now) in &after {
        assert_eq!(
            (&now.owner, now.epoch),
            (&before[stream].owner, before[stream].epoch)
        );
    }
    assert_eq!(scene.journal.count(), starts, "nothing moved");

    // A move that is deleted ends.
    let stream = one.running().first().cloned().unwrap();
    one.coordination.move_to(&stream, "two").await.unwrap();
    spread(&[&one, &two], &[0, 2]).await;
    kafka
        .tombstone(&scene.settings.topic, &scene.key("moves", &stream))
        .await;
    spread(&[&one, &two], &[1, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_wakes_up_and_wants_nothing() {
    let scene = Scene::new().await;
    // What librdkafka does goes on: were it not for the pulse, the group would keep the assignment.
    let frozen = Freezable::start(std::future::ready(scene.settings()));
    let two = scene.start("two", &["a"]).await;
    frozen.freeze(SESSION * 3, &two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_cut_off_stops_by_itself_before_another_one_takes_over() {
    let (kafka, proxy) = Kafka::behind_proxy(&[]).await;
    let scene = Scene::on(&kafka);
    let mut settings = scene.settings.clone();
    settings.kafka = cluster(&proxy.addr().to_string());
    alike::cut_off(&scene, Settings::Kafka(settings), &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_broker_moves_nothing() {
    let mut kafka = Kafka::dedicated(&[]).await;
    let scene = Scene::on(&kafka);
    let one = scene.start("one", &["a", "b"]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    let (of_one, of_two) = (one.running(), two.running());
    kafka.kill9();
    // Longer than a session: nothing may run that nobody can confirm.
    spread(&[&one, &two], &[0, 0]).await;
    kafka.restart().await;
    spread(&[&one, &two], &[1, 1]).await;
    scene.journal.assert_one_at_a_time();
    println!(
        "after a restart longer than the session: before {of_one:?} {of_two:?}, after {:?} {:?}",
        one.running(),
        two.running()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_a_person_deletes_is_made_again() {
    let kafka = Kafka::dedicated(&[]).await;
    let scene = Scene::on(&kafka);
    let one = scene.start("one", &["a", "b"]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    kafka.delete_topic(&scene.settings.topic).await;
    eventually(PATIENCE, "both say again what they have", async || {
        let records = kafka.records(&[&scene.settings.topic]).await;
        let says = |name: &str| {
            let key = scene.key("instances", name);
            let is_of_it = |it: &&Record| it.key_bytes.as_deref() == Some(key.as_bytes());
            let mut records = records.iter().filter(is_of_it);
            records.any(|it| it.value["has"].as_array().is_some_and(|has| has.len() == 1))
        };
        (says("one") && says("two")).then_some(())
    })
    .await;
    spread(&[&one, &two], &[1, 1]).await;
    scene.journal.assert_one_at_a_time();
    println!("starts: {:?}", scene.journal.starts());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_s_topic_that_a_person_deletes_is_made_again_and_nothing_moves() {
    let scene = Scene::new().await;
    let one = scene.start("one", &["a", "b"]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    let starts = scene.journal.starts();
    let names = group_topics(&scene.settings.topic).await;
    let kafka = kafka().await;
    kafka.delete_topic(&names[0]).await;
    eventually(PATIENCE, "it is made again", async || {
        (kafka.partitions(&names[0]).await == Some(2)).then_some(())
    })
    .await;
    // The group assigns again: who is stopped is replaced.
    assert_eq!(scene.journal.starts(), starts);
    one.stop().await;
    spread(&[&two], &[2]).await;
    scene.journal.assert_one_at_a_time();
}

/// What the start of an instance is refused with.
async fn refusal(settings: &GroupSettings, streams: &[&str]) -> Error {
    let streams = streams.iter().map(|name| (*name).to_owned()).collect();
    let settings = Settings::Kafka(settings.clone());
    let started = Coordination::start(settings, "one".into(), streams).await;
    started.expect_err("it is refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_told_at_the_start() {
    let scene = Scene::new().await;
    let mut settings = scene.settings.clone();
    settings.kafka.creation.enabled = false;
    let refused = refusal(&settings, &["a", "b"]).await;
    assert_eq!(refused.code, Code::SinkRefused);
    let right = format!(
        "create {} with partitions=1 and cleanup.policy=compact",
        settings.topic
    );
    assert!(refused.detail.contains(&right), "{refused}");

    let one = scene.start("one", &["a", "b"]).await;
    one.stop().await;
    let names = group_topics(&scene.settings.topic).await;
    let [group] = names.as_slice() else {
        panic!("{names:?}");
    };
    let kafka = kafka().await;
    kafka.delete_topic(group).await;
    eventually(PATIENCE, "it is gone", async || {
        kafka.partitions(group).await.is_none().then_some(())
    })
    .await;
    let refused = refusal(&settings, &["a", "b"]).await;
    let right = format!("create {group} with partitions=2");
    assert!(refused.detail.contains(&right), "{refused}");
    kafka.create_topic(group, 3, &[]).await;
    let refused = refusal(&scene.settings, &["a", "b"]).await;
    assert_eq!(refused.code, Code::SinkRefused);
    assert!(
        refused.detail.contains("has 3 partitions and must have 2"),
        "{refused}"
    );

    settings = Scene::new().await.settings;
    settings.session = Duration::from_millis(100);
    let refused = refusal(&settings, &["a"]).await;
    assert_eq!(refused.code, Code::SinkRefused);
    assert!(
        refused.detail.contains("KAFKA_SESSION_TIMEOUT_MS"),
        "{refused}"
    );

    settings.kafka = cluster("127.0.0.1:1");
    let refused = refusal(&settings, &["a"]).await;
    assert_eq!(refused.code, Code::SinkUnavailable, "{refused}");
}

/// The topics of the groups that are named after this registry.
async fn group_topics(registry: &str) -> Vec<String> {
    let admin = kafka().await.admin();
    let prefix = format!("{registry}.");
    let listed = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, PATIENCE);
        let metadata = metadata.expect("the broker answers");
        let names = metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned());
        names.filter(|name| name.starts_with(&prefix)).collect()
    });
    listed.await.expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_is_told_which_are_missing() {
    let kafka = Kafka::with_acls(&["app", "other"], &[]).await;
    // The topics are there: made by an administrator.
    let scene = Scene::on(&kafka);
    let one = scene.start("one", &["a"]).await;
    one.stop().await;
    let records = kafka.records(&[&scene.settings.topic]).await;
    let group = records.iter().find_map(|it| it.value["group"].as_str());
    let group = group.expect("it was told").to_owned();

    let registry = scene.settings.topic.clone();
    let read = (Resource::Topic(&registry), Operation::Read);
    let read_group = (Resource::Topic(&group), Operation::Read);
    let write = (Resource::Topic(&registry), Operation::Write);
    let join = (Resource::Group(&group), Operation::Read);
    let on = |topic: &str| format!("Describe, Read and Write on the topic {topic}");
    let of_group = format!("Read on the group {group}");
    let of_write = format!("needs Write on {registry}");
    // In an order in which only one right is missed at a time, but for the topics, which are looked at first.
    for (user, steps) in [
        (
            "app",
            vec![
                (read, on(&registry)),
                (read_group, on(&group)),
                (write, String::new()),
                (join, of_group),
            ],
        ),
        (
            "other",
            vec![
                (read, on(&registry)),
                (read_group, on(&group)),
                (join, String::new()),
                (write, of_write),
            ],
        ),
    ] {
        let mut settings = scene.settings.clone();
        settings.kafka = cluster(kafka.users_brokers());
        settings.kafka.security_protocol = SecurityProtocol::SaslPlaintext;
        settings.kafka.sasl = Some(Sasl {
            mechanism: "PLAIN".into(),
            username: user.into(),
            password: Secret::new(format!("password-of-{user}")),
        });
        for ((resource, operation), says) in steps {
            if !says.is_empty() {
                let refused = refusal(&settings, &["a"]).await;
                assert_eq!(refused.code, Code::SinkRefused, "{refused}");
                assert!(refused.detail.contains(&says), "{refused}\nand not: {says}");
            }
            kafka.allow(user, resource, operation).await;
        }
        let settings = Settings::Kafka(settings);
        let one = Instance::start(settings, "one", &["a"], &scene.journal).await;
        spread(&[&one], &[1]).await;
        one.stop().await;
    }
}

/// Clients forget the brokers that a reply does not name: the group's and the registry's must find them again.
#[tokio::test(flavor = "multi_thread")]
async fn instances_agree_after_the_cluster_has_named_no_broker() {
    let kafka = Kafka::dedicated(FENCED).await;
    let mut scene = Scene::on(&kafka);
    scene.settings.session = Duration::from_secs(20);
    let often = ("topic.metadata.refresh.interval.ms", "500");
    let properties = &mut scene.settings.kafka.properties;
    properties.push((often.0.to_owned(), often.1.to_owned()));
    let one = scene.start("one", &["a", "b"]).await;
    spread(&[&one], &[2]).await;
    for _ in 0..2 {
        kafka.until_fenced().await;
        eventually(PATIENCE, "a broker is named again", async || {
            kafka.names_brokers().await.then_some(())
        })
        .await;
    }
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    scene.journal.assert_one_at_a_time();
}
