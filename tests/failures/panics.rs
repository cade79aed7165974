//! A panic in the middle of the stream: what came before it is delivered and committed.

use crate::support::{self, Record, Tailwater};
use bson::doc;
use tailwater::admin::Controls;
use tailwater::config::{Config, Delivery};
use tailwater::error::Code;
use tailwater::{log, process};
use tokio_util::sync::CancellationToken;
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Metadata, Subscriber, span};

/// The process's log, which panics when the pump says that it skipped a record: a bug of this kind needs
/// no help of the product.
struct Trap;

impl Subscriber for Trap {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tailwater::sink::dead_letter"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("on purpose");
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Runs in this process, on this thread alone, so that the trap is met.
async fn panics_in_the_pump(delivery: Delivery) {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let limit = [("max.message.bytes", "2000")];
    kafka.create_topic(&topic, 1, &limit).await;
    let name = match delivery {
        Delivery::AtLeastOnce => "at_least_once",
        Delivery::ExactlyOnce => "exactly_once",
    };
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_CLIENT_ID", "trap")
        .env("STREAM_ID", db.topic("stream"))
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("DELIVERY", name)
        .env("ON_RECORD_ERROR", "skip")
        // Only the last commit counts.
        .env("COMMIT_INTERVAL_MS", 60_000);
    setup.start().await.stop().await;
    let things = db.documents("things");
    for id in 0..20 {
        let text = if id == 15 { 5_000 } else { 5 };
        let document = doc! {"_id": id, "text": "x".repeat(text)};
        things.insert_one(document).await.unwrap();
    }

    let mut vars = setup.vars();
    vars.insert("LOG_LEVEL".into(), "error".into());
    let config = Config::from_vars(vars).unwrap().config;
    // Other tests of this process log nothing, and it shall stay so.
    let _ = tracing::subscriber::set_global_default(NoSubscriber::default());
    let controls = Controls::new(CancellationToken::new(), log::init(&config.log));
    let ended = {
        let _trap = tracing::subscriber::set_default(Trap);
        Box::pin(process::run(config, controls)).await
    };
    let error = ended.unwrap_err();
    assert_eq!(error.code, Code::Internal, "{error}");
    assert!(error.detail.contains("the pump"), "{error}");
    let delivered = kafka.committed_records(&[&topic]).await.len();
    assert_eq!(delivered, 15, "what came before the panic");

    let tailwater = setup.start().await;
    let records = kafka
        .wait_until(&[&topic], "the last change", |records| {
            let last = |record: &Record| record.value["fullDocument"]["_id"] == 19;
            records.iter().any(last)
        })
        .await;
    assert_eq!(
        records.len(),
        19,
        "nothing twice, and the skipped one not at all"
    );
    tailwater.stop().await;
}

#[tokio::test]
async fn at_least_once_a_panic_in_the_pump_repeats_nothing_that_came_before_it() {
    panics_in_the_pump(Delivery::AtLeastOnce).await;
}

#[tokio::test]
async fn exactly_once_a_panic_in_the_pump_repeats_nothing_that_came_before_it() {
    panics_in_the_pump(Delivery::ExactlyOnce).await;
}
