//! Joining the other instances: first every stream is looked at, so that an instance that cannot run them is given
//! none.

use crate::config::{self, Config};
use crate::coordination::{Coordination, GroupSettings, LeaseSettings, Settings};
use crate::error::Error;
use crate::preflight::Finding;
use crate::status::waiting::Awaited;
use crate::stream::shared::Shared;
use crate::stream::streams::Streams;
use crate::stream::waiting::retrying;
use futures_util::FutureExt;
use mongodb::Client;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long streams that cannot be said to run or not hold up those that can.
const LOOKING: Duration = Duration::from_secs(10);

/// Begins to coordinate, once a stream can run here; none where no stream can.
///
/// # Errors
/// What the coordination is refused for.
pub(super) async fn join(
    config: &Config,
    streams: &Streams,
    shared: &Shared,
) -> Result<Option<Coordination>, Error> {
    let all = all(config);
    if !config.coordination.is_shared() {
        let alone = Coordination::start(Settings::None, shared.instance.clone(), all).await?;
        return Ok(Some(alone));
    }
    streams.look_at_all(shared);
    if !is_one_able(streams).await {
        return Ok(None);
    }
    let boards = streams.boards();
    let waits = boards
        .iter()
        .map(|board| board.waits.begin(Awaited::Coordination));
    let waits: Vec<_> = waits.collect();
    let start = || {
        Coordination::start(
            settings(config, &shared.client),
            shared.instance.clone(),
            all.clone(),
        )
    };
    let coordination = retrying(config.mongo.retry, &waits, || start().boxed()).await?;
    Ok(Some(coordination))
}

/// Waits until each stream has been looked at, or one can run and the others take long; false where none can.
async fn is_one_able(streams: &Streams) -> bool {
    let looking = tokio::time::sleep(LOOKING);
    let mut looking = std::pin::pin!(looking);
    let mut is_over = false;
    loop {
        if streams.none_can_run() {
            return false;
        }
        let has_begun = !streams.able().is_empty();
        if has_begun && (is_over || streams.is_each_looked_at()) {
            return true;
        }
        tokio::select! {
            () = streams.changed() => {}
            () = &mut looking, if !is_over => is_over = true,
        }
    }
}

/// Whether this user may do what coordinating needs.
pub(super) async fn check(config: &Config, client: &Client) -> Vec<Finding> {
    Coordination::check(&settings(config, client), &all(config)).await
}

fn all(config: &Config) -> BTreeSet<String> {
    let streams = config.streams.iter().map(|stream| stream.id.clone());
    let schedules = config
        .schedules
        .iter()
        .map(|schedules| schedules.unit.clone());
    streams
        .chain(schedules.filter(|_| !config.kafka.dry_run))
        .collect()
}

/// How the instances come to agree.
fn settings(config: &Config, client: &Client) -> Settings {
    match &config.coordination {
        config::Coordination::None => Settings::None,
        config::Coordination::MongoDb(leases) => Settings::MongoDb(LeaseSettings {
            client: client.clone(),
            database: leases.database.clone(),
            times: leases.times,
        }),
        config::Coordination::Kafka(group) => Settings::Kafka(GroupSettings {
            kafka: config.kafka.clone(),
            topic: group.topic.clone(),
            session: group.session,
        }),
    }
}
