//! Checkpoint stores on real servers: who leads, what is stored, and that it never moves back.

mod file;
mod kafka;
mod mongodb;
mod writer;

use crate::support::unique;
use bson::{Bson, doc};
use tailwater::change::extra::Extra;
use tailwater::change::position::{ClusterTime, Position, ResumeToken, Seq};
use tailwater::checkpoint::{
    self, Checkpoint, CommitError, Decision, Filter, Location, Store, StoreContext,
};
use tailwater::config::{Config, Resume, ResumeBackend};
use tailwater::error::{Code, Error};
use tailwater::flow::watermark::{Committable, Seal, Watermark};

const SOURCE: &str = "replset:rs0:65bc9fb6c485f419a7a877fe";

/// A configuration of which only the store matters; its servers do not answer.
fn config(backend: ResumeBackend) -> Config {
    let loaded = Config::from_vars([
        (
            "MONGODB_URI",
            "mongodb://127.0.0.1:1/shop?serverSelectionTimeoutMS=200",
        ),
        ("KAFKA_BROKERS", "127.0.0.1:1"),
    ]);
    let mut config = loaded.unwrap().config;
    config.streams[0].resume = Resume { backend };
    renamed(&config, unique("watcher:shop"))
}

/// The same for a stream with another id.
fn renamed(config: &Config, id: impl Into<String>) -> Config {
    let mut config = config.clone();
    config.streams[0].id = id.into();
    config
}

fn location(config: &Config) -> Location<'_> {
    Location::of(&config.kafka, &config.mongo, &config.streams[0])
}

fn context(instance: &str) -> StoreContext {
    StoreContext {
        instance: instance.into(),
        namespace: "shop".into(),
        source: SOURCE.into(),
        filter: Filter {
            fingerprint: "1f".into(),
            summary: r#"{"scope":"shop","watch":["users"]}"#.into(),
        },
        mongo: None,
    }
}

/// Another replica set.
fn elsewhere(instance: &str) -> StoreContext {
    StoreContext {
        source: "replset:rs0:77bc9fb6c485f419a7a877fe".into(),
        ..context(instance)
    }
}

async fn open(config: &Config, instance: &str) -> (Store, Option<Checkpoint>) {
    Store::open(location(config), context(instance))
        .await
        .unwrap_or_else(|error| panic!("{instance} cannot open the store: {error}"))
}

/// A real server's token, `step` seconds after some beginning.
fn token(step: u32) -> ResumeToken {
    ResumeToken::from_data(&format!("82{:08X}000000012B0229296E04", 0x65A1_B200 + step))
}

fn position(step: u32) -> Position {
    Position {
        token: token(step),
        seq: Seq(1_704_110_400_000_000 + u64::from(step)),
        time_millis: Some(1_704_110_400_123 + i64::from(step)),
        cluster_time: Some(ClusterTime::new(0x65A1_B200 + step, 1)),
        extra: Extra::default(),
    }
}

/// Of a stream of which nothing is in flight.
fn committable(position: Position) -> Committable {
    let mut watermark = Watermark::new();
    let entry = watermark.open(position.seq);
    let seal = Seal {
        records: 0,
        bytes: 0,
        position: Some(position),
    };
    watermark.seal(entry, seal).unwrap();
    watermark.take_committable().unwrap()
}

async fn commit(store: &mut Store, step: u32) -> Result<(), CommitError> {
    store.commit(&committable(position(step))).await
}

fn assert_fenced_by(result: Result<(), CommitError>, instance: &str) {
    match result {
        Err(CommitError::Fenced { by }) => assert_eq!(by.as_deref(), Some(instance)),
        other => panic!("not fenced: {other:?}"),
    }
}

/// Of instances that were started together, one can commit; the others know that they are fenced.
async fn assert_one_leader(
    opened: impl IntoIterator<Item = Result<(Store, Option<Checkpoint>), Error>>,
) {
    let mut leaders = 0;
    for opened in opened {
        match opened {
            Ok((mut store, _)) => match commit(&mut store, 1).await {
                Ok(()) => leaders += 1,
                Err(CommitError::Fenced { .. }) => {}
                Err(other) => panic!("{other}"),
            },
            Err(error) => assert_eq!(error.code, Code::Fenced, "{error}"),
        }
    }
    assert_eq!(leaders, 1);
}

async fn absence_is_none_and_what_is_stored_comes_back(config: &Config) {
    assert_eq!(
        checkpoint::read(location(config), None).await.unwrap(),
        None
    );
    let (mut store, none) = open(config, "one").await;
    assert_eq!(none, None);
    store.begin(position(1)).await.unwrap();
    let checkpoint = store.checkpoint(position(1));
    store.close().await.unwrap();

    let read = checkpoint::read(location(config), None).await.unwrap();
    let checkpoint = Checkpoint {
        updated_at_millis: read.as_ref().unwrap().updated_at_millis,
        ..checkpoint
    };
    assert_eq!(read, Some(checkpoint.clone()));
    let (mut store, found) = open(config, "two").await;
    assert_eq!(found, Some(checkpoint));
    assert_eq!(store.claim().epoch, 2);
    let again = store.begin(position(9)).await;
    assert!(matches!(again, Err(CommitError::Failed(_))), "{again:?}");
}

async fn a_claim_keeps_the_position_and_tells_who_holds_the_stream(config: &Config) {
    let (mut store, _) = open(config, "one").await;
    commit(&mut store, 5).await.unwrap();
    store.close().await.unwrap();
    for (epoch, instance) in [(2, "two"), (3, "three")] {
        let (store, found) = open(config, instance).await;
        assert_eq!(found.unwrap().position, position(5));
        store.close().await.unwrap();
        let read = checkpoint::read(location(config), None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((read.epoch, read.instance.as_str()), (epoch, instance));
        assert_eq!(read.position, position(5));
    }
}

async fn the_instance_started_last_wins_and_the_other_says_by_whom(config: &Config) {
    let (mut one, _) = open(config, "one").await;
    commit(&mut one, 1).await.unwrap();
    let (mut two, found) = open(config, "two").await;
    assert_eq!(found.unwrap().position, position(1));

    assert_fenced_by(commit(&mut one, 2).await, "two");
    commit(&mut two, 3).await.unwrap();
    assert_fenced_by(commit(&mut one, 4).await, "two");
    let read = checkpoint::read(location(config), None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.position, position(3));
}

async fn a_checkpoint_never_moves_back(config: &Config) {
    let (mut store, _) = open(config, "one").await;
    commit(&mut store, 9).await.unwrap();
    let backwards = async |store: &mut Store, position: Position| match store
        .commit(&committable(position))
        .await
    {
        Err(CommitError::Failed(error)) => assert_eq!(error.code, Code::CheckpointFailed),
        other => panic!("moved back: {other:?}"),
    };
    backwards(&mut store, position(8)).await;
    // A token alone that goes back, as servers send some, is left out.
    let token_behind = |seq| Position {
        seq: position(seq).seq,
        ..position(8)
    };
    let behind = committable(token_behind(9));
    store.commit(&behind).await.unwrap();
    store.close().await.unwrap();

    // Nor over a restart.
    let (mut store, _) = open(config, "two").await;
    backwards(&mut store, position(8)).await;
    let behind = committable(token_behind(10));
    store.commit(&behind).await.unwrap();
    store.close().await.unwrap();
    let read = checkpoint::read(location(config), None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (read.position.token, read.position.seq),
        (token(9), position(10).seq)
    );
}

async fn a_new_incarnation_may_begin_earlier_with_a_higher_number(config: &Config) {
    let (mut store, _) = open(config, "one").await;
    commit(&mut store, 9).await.unwrap();
    store.close().await.unwrap();

    let (mut store, _) = open(config, "cli").await;
    let set = store.set(token(2)).await.unwrap();
    assert!(set.position.seq > position(9).seq);
    store.close().await.unwrap();
    let (mut store, found) = open(config, "two").await;
    let found = found.unwrap();
    assert_eq!(
        (&found.position.token, found.position.seq),
        (&token(2), set.position.seq)
    );

    store.reset().await.unwrap();
    store.close().await.unwrap();
    let (store, found) = open(config, "three").await;
    assert_eq!(found, None);
    assert_eq!(
        store.claim().epoch,
        4,
        "what was forgotten is the position, not who led"
    );
}

async fn a_misconfigured_instance_is_refused_without_fencing_the_healthy_one(config: &Config) {
    let (mut healthy, _) = open(config, "healthy").await;
    commit(&mut healthy, 1).await.unwrap();
    let refused = Store::open(location(config), elsewhere("lost"))
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refused.code, Code::TokenInvalid);
    commit(&mut healthy, 2).await.unwrap();
}

async fn all_checkpoints_are_listed_and_claims_without_one_are_not(config: &Config) {
    let other = renamed(config, unique("watcher:shop"));
    let (mut one, _) = open(config, "one").await;
    commit(&mut one, 1).await.unwrap();
    commit(&mut one, 2).await.unwrap();
    let (_claimed, _) = open(&other, "two").await;
    let listed = checkpoint::list(location(config), None).await.unwrap();
    let ours: Vec<_> = listed
        .iter()
        .filter(|found| [&config.streams[0].id, &other.streams[0].id].contains(&&found.stream))
        .collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0].position, position(2));
}

/// `version` is that of what the store holds.
async fn what_is_beside_the_position_is_kept_and_makes_form_2(
    config: &Config,
    version: impl AsyncFn() -> i64,
) {
    let (mut store, _) = open(config, "one").await;
    commit(&mut store, 1).await.unwrap();
    assert_eq!(version().await, 1, "an older release reads it");

    let extra = Extra::from(doc! {
        "snapshot": { "collection": "users", "behind": { "_id": 7_i64 } },
        "of a later release": [1_i32, 2.5, Bson::Null, { "at": bson::DateTime::from_millis(5) }],
    });
    let with_parts = |step| Position {
        extra: extra.clone(),
        ..position(step)
    };
    // Only the part is new: it is stored at once.
    store.commit(&committable(with_parts(1))).await.unwrap();
    assert_eq!(version().await, 2);
    store.close().await.unwrap();

    let (mut store, found) = open(config, "two").await;
    assert_eq!(found.unwrap().position, with_parts(1));
    assert_eq!(version().await, 2, "a claim keeps it");
    store.commit(&committable(with_parts(2))).await.unwrap();
    store.set(token(3)).await.unwrap();
    store.close().await.unwrap();
    let (mut store, found) = open(config, "three").await;
    let found = found.unwrap();
    assert_eq!(
        (found.position.token, found.position.extra),
        (token(3), extra)
    );

    let without = Position {
        seq: found.position.seq.next(),
        ..position(4)
    };
    let without = committable(without);
    store.commit(&without).await.unwrap();
    assert_eq!(version().await, 1, "an older release reads it again");
    store.close().await.unwrap();
    let read = checkpoint::read(location(config), None).await.unwrap();
    assert_eq!(&read.unwrap().position, without.position());
}

/// `make_newer` puts a checkpoint of form 3 in the place of what the store holds.
async fn a_newer_form_is_refused_with_what_to_do(config: &Config, make_newer: impl AsyncFnOnce()) {
    let (mut store, _) = open(config, "one").await;
    commit(&mut store, 1).await.unwrap();
    store.close().await.unwrap();
    make_newer().await;
    for refused in [
        Store::open(location(config), context("two"))
            .await
            .map(|_| ()),
        checkpoint::read(location(config), None).await.map(|_| ()),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.code, Code::CheckpointFailed);
        assert!(error.detail.contains("form 3"), "{error}");
        assert!(error.detail.contains("token export"), "{error}");
    }
}

async fn unreachable(config: &Config) -> Error {
    Store::open(location(config), context("one"))
        .await
        .map(|_| ())
        .unwrap_err()
}

#[test]
fn the_tokens_of_these_tests_sort_in_the_order_of_their_steps() {
    assert_eq!(
        token(1).stream_order(&token(2)),
        Some(std::cmp::Ordering::Less)
    );
}

#[test]
fn a_checkpoint_of_the_same_filter_goes_on_as_it_is() {
    let checkpoint = Checkpoint {
        stream: "watcher:shop".into(),
        namespace: "shop".into(),
        source: SOURCE.into(),
        filter: context("one").filter,
        instance: "one".into(),
        epoch: 1,
        position: position(1),
        updated_at_millis: 0,
    };
    let decision = checkpoint::verify(&checkpoint, SOURCE, "shop", &context("two").filter);
    assert_eq!(decision.unwrap(), Decision::Continue);
}
