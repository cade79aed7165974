//! History lost: the oplog no longer holds the position to resume at.

use crate::support::wire::{self, Wire};
use crate::support::{
    self, Database, Kafka, Mongo, PATIENCE, Record, Setup, Tailwater, eventually, unique,
};
use bson::doc;

const HISTORY_LOST: i32 = 286;
/// Of a cursor that the oplog has overtaken.
const CAPPED_POSITION_LOST: i32 = 136;

struct Scene {
    mongo: Mongo,
    db: Database,
    kafka: &'static Kafka,
    topic: String,
    ddl: String,
    setup: Setup,
}

impl Scene {
    async fn new(policy: &str) -> Self {
        let mongo = Mongo::with_small_oplog().await;
        let db = mongo.database_named(&unique("db")).await;
        let kafka = support::kafka().await;
        let (topic, ddl) = (db.topic("changes"), db.topic("ddl"));
        let setup = Tailwater::on(&db, kafka)
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("KAFKA_TOPIC_DDL", &ddl)
            .env("RECONNECT_DELAY_MS", 50)
            .env("ON_HISTORY_LOST", policy);
        Self {
            mongo,
            db,
            kafka,
            topic,
            ddl,
            setup,
        }
    }

    /// Runs it until one document is delivered and committed.
    async fn deliver_one(&self) -> Record {
        let tailwater = self.setup.start().await;
        let things = self.db.documents("things");
        things.insert_one(doc! {"_id": 1}).await.unwrap();
        let mut records = self.kafka.wait_for_records(&[&self.topic], 1).await;
        tailwater.stop().await;
        records.remove(0)
    }

    /// Writes one more, and waits until it is in Kafka.
    async fn delivers(&self, id: i32) {
        let things = self.db.documents("things");
        things.insert_one(doc! {"_id": id}).await.unwrap();
        self.kafka
            .wait_until(&[&self.topic], "the write behind the gap", |records| {
                records
                    .iter()
                    .any(|record| record.value["fullDocument"]["_id"] == id)
            })
            .await;
    }

    /// The record that tells of the gap, and the first change behind it.
    async fn gap_and_next(&self) -> (Record, Record) {
        let gap = self.kafka.wait_for_records(&[&self.ddl], 1).await.remove(0);
        let records = self.kafka.wait_for_records(&[&self.topic], 2).await;
        (gap, records[1].clone())
    }
}

/// Behind the gap the stream is well again; what tells of it is counted and named.
async fn assert_told_at_the_endpoints(tailwater: &Tailwater) {
    assert_eq!(tailwater.get("/health").await.json()["status"], "healthy");
    let detailed = tailwater.get("/health/detailed").await.json();
    let source = &detailed["components"]["source"];
    assert_eq!(source["counters"]["historyGaps"], 1, "{source}");
    let error = source["lastError"]["message"].as_str().unwrap();
    assert!(error.contains("history lost: changes of "), "{error}");
    let page = tailwater.get("/metrics").await;
    assert_eq!(page.metric("tailwater_history_gaps_total", &[]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_stop_a_running_stream_that_is_overtaken_is_unhealthy_and_then_leaves() {
    let scene = Scene::new("stop").await;
    let proxy = scene.mongo.proxy().await;
    let uri = scene.mongo.uri_through(&proxy, scene.db.name());
    let setup = scene.setup.clone().env("MONGODB_URI", uri);
    let mut tailwater = setup.start().await;
    let things = scene.db.documents("things");
    things.insert_one(doc! {"_id": 1}).await.unwrap();
    scene.kafka.wait_for_records(&[&scene.topic], 1).await;
    proxy.cut();
    eventually(PATIENCE, "it is unhealthy", async || {
        let health = tailwater.get("/health").await;
        (health.status == 503).then_some(())
    })
    .await;
    scene.db.overtake_oplog(3000).await;
    proxy.heal();
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(6), "{}", exit.output);
    assert!(exit.output.contains("missing, from 20"), "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_stop_it_leaves_saying_how_much_is_missing_and_stays_where_it_was() {
    let scene = Scene::new("stop").await;
    scene.deliver_one().await;
    scene.db.overtake_oplog(2000).await;
    for _ in 0..2 {
        let exit = scene.setup.run().await;
        assert_eq!(exit.code, Some(6), "{}", exit.output);
        let said = exit
            .output
            .lines()
            .find(|line| line.contains("ON_HISTORY_LOST=earliest"));
        assert!(
            said.is_some_and(|line| line.contains("missing, from 20")),
            "{}",
            exit.output
        );
    }
    assert_eq!(scene.kafka.records(&[&scene.topic]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_earliest_a_gap_is_told_and_what_the_oplog_still_holds_is_delivered() {
    let scene = Scene::new("earliest").await;
    let before = scene.deliver_one().await;
    scene.db.overtake_oplog(2000).await;
    let tailwater = scene.setup.start().await;
    let all = scene
        .kafka
        .wait_until(&[&scene.topic], "the last of the writes", |records| {
            records
                .iter()
                .any(|record| record.value["fullDocument"]["_id"] == 2000)
        })
        .await;
    assert!(all.len() > 2, "only {} of what the oplog holds", all.len());
    let (gap, next) = scene.gap_and_next().await;
    assert_told_at_the_endpoints(&tailwater).await;
    assert_eq!(gap.value["operationType"], "gap");
    assert_eq!(gap.value["operationDescription"]["policy"], "earliest");
    assert_eq!(gap.value["operationDescription"]["lastSeq"], before.seq());
    assert!(before.seq() < gap.seq() && gap.seq() < next.seq());
    tailwater.stop().await;

    // The position behind the gap is stored: it is told once.
    let tailwater = scene.setup.start().await;
    scene
        .db
        .documents("things")
        .insert_one(doc! {"_id": 2001})
        .await
        .unwrap();
    scene
        .kafka
        .wait_until(&[&scene.topic], "the write after the restart", |records| {
            records
                .iter()
                .any(|record| record.value["fullDocument"]["_id"] == 2001)
        })
        .await;
    assert_eq!(scene.kafka.records(&[&scene.ddl]).await.len(), 1);
    tailwater.stop().await;
}

/// While the oplog is being truncated, its beginning is gone again by the time that a cursor looks for it:
/// the stream begins further ahead each time, and one record tells of one gap.
#[tokio::test(flavor = "multi_thread")]
async fn an_oplog_that_is_being_truncated_is_no_reason_for_more_than_one_gap() {
    let scene = Scene::new("earliest").await;
    scene.deliver_one().await;
    scene.db.overtake_oplog(2000).await;
    let wire = Wire::before(scene.mongo.addr()).await;
    for code in [HISTORY_LOST, CAPPED_POSITION_LOST, HISTORY_LOST] {
        wire.refuse_next("getMore", 1, wire::error(code, &[]));
    }
    let uri = wire.uri_of(scene.db.name());
    let mut tailwater = scene.setup.clone().env("MONGODB_URI", uri).start().await;
    let line = tailwater.wait_for_event("oplog_truncated").await;
    assert!(line.contains("WARN"), "{line}");
    scene.kafka.wait_for_records(&[&scene.ddl], 1).await;
    assert_eq!(wire.left("getMore"), 0);
    assert_told_at_the_endpoints(&tailwater).await;
    scene.delivers(2001).await;
    tailwater.stop().await;
    assert_eq!(scene.kafka.records(&[&scene.ddl]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_at_the_beginning_of_an_oplog_that_is_being_truncated_comes_about() {
    let scene = Scene::new("stop").await;
    scene.db.overtake_oplog(2000).await;
    let wire = Wire::before(scene.mongo.addr()).await;
    wire.refuse_next("getMore", 2, wire::error(HISTORY_LOST, &[]));
    let uri = wire.uri_of(scene.db.name());
    let setup = scene.setup.clone().env("MONGODB_URI", uri);
    let tailwater = setup.env("START_AT", "earliest").start().await;
    assert_eq!(wire.left("getMore"), 0);
    scene.delivers(2001).await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_latest_it_goes_on_from_now_and_tells_of_the_gap() {
    let scene = Scene::new("latest").await;
    let before = scene.deliver_one().await;
    scene.db.overtake_oplog(2000).await;
    let tailwater = scene.setup.start().await;
    scene.kafka.wait_for_records(&[&scene.ddl], 1).await;
    assert_told_at_the_endpoints(&tailwater).await;
    scene
        .db
        .documents("things")
        .insert_one(doc! {"_id": 2001})
        .await
        .unwrap();
    let (gap, next) = scene.gap_and_next().await;
    assert_eq!(next.value["fullDocument"]["_id"], 2001);
    assert!(before.seq() < gap.seq() && gap.seq() < next.seq());
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_stream_that_the_oplog_overtakes_goes_on_behind_the_gap() {
    let scene = Scene::new("latest").await;
    let proxy = scene.mongo.proxy().await;
    let uri = scene.mongo.uri_through(&proxy, scene.db.name());
    let setup = scene.setup.clone().env("MONGODB_URI", uri);
    let mut tailwater = setup.start().await;
    scene
        .db
        .documents("things")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    scene.kafka.wait_for_records(&[&scene.topic], 1).await;
    proxy.cut();
    scene.db.overtake_oplog(3000).await;
    proxy.heal();
    tailwater.wait_for_event("history_lost").await;
    scene.kafka.wait_for_records(&[&scene.ddl], 1).await;
    scene
        .db
        .documents("things")
        .insert_one(doc! {"_id": 3001})
        .await
        .unwrap();
    scene
        .kafka
        .wait_until(&[&scene.topic], "the write behind the gap", |records| {
            records
                .iter()
                .any(|record| record.value["fullDocument"]["_id"] == 3001)
        })
        .await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_topic_for_it_the_gap_is_told_in_the_log() {
    let mut scene = Scene::new("latest").await;
    scene.setup = scene.setup.without("KAFKA_TOPIC_DDL");
    scene.deliver_one().await;
    scene.db.overtake_oplog(2000).await;
    let mut tailwater = scene.setup.spawn();
    let line = tailwater.wait_for_event("history_lost").await;
    assert!(line.contains("missing, from 20"), "{line}");
    tailwater.wait_ready().await;
    scene
        .db
        .documents("things")
        .insert_one(doc! {"_id": 2001})
        .await
        .unwrap();
    scene.kafka.wait_for_records(&[&scene.topic], 2).await;
    tailwater.stop().await;
    let exit = scene.setup.start().await.stop().await;
    assert!(!exit.output.contains("history lost"), "{}", exit.output);
}
