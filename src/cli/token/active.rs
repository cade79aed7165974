//! Whether an instance has the stream: whoever carries it would be fenced in the middle of it, and one that
//! is paused would resume elsewhere.

use crate::checkpoint::{self, Checkpoint};
use crate::cli::ask::Instance;
use crate::cli::{Chosen, complain};
use crate::config::{Endpoint, ResumeBackend};
use crate::error::{Code, Error};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A running instance moves its checkpoint at least this often, even at rest: MongoDB's periodic no-op
/// and the slowest store's interval are 10 s each.
const SIGN_OF_LIFE: Duration = Duration::from_secs(22);
/// Older than this, nobody can be writing it.
const SURELY_STOPPED: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Refuses where an instance is seen to have the stream: the one here by what it says, one elsewhere by the
/// checkpoint that moves.
pub(in crate::cli) async fn refuse(
    chosen: Chosen<'_>,
    before: Option<&Checkpoint>,
) -> Result<(), Error> {
    if let Some(state) = here(chosen).await {
        return Err(refused(&format!(
            "an instance here has this stream ({state})"
        )));
    }
    let Some(before) = before else {
        return Ok(());
    };
    if matches!(chosen.stream.resume.backend, ResumeBackend::File { .. }) {
        // Its lock has answered.
        return Ok(());
    }
    let age = Timestamp::now().as_millisecond() - before.updated_at_millis;
    if age > SURELY_STOPPED.as_millis() as i64 {
        return Ok(());
    }
    complain("the checkpoint is recent: looking whether an instance still moves it");
    let end = Instant::now() + SIGN_OF_LIFE;
    while Instant::now() < end {
        sleep(LOOK_AGAIN).await;
        let now = checkpoint::read(chosen.location(), None).await?;
        if now.is_some_and(|now| now.updated_at_millis != before.updated_at_millis) {
            let who = format!("the instance {} is running this stream", before.instance);
            return Err(refused(&who));
        }
    }
    Ok(())
}

fn refused(who: &str) -> Error {
    let detail =
        format!("{who}: stop it first (`tailwater stop`), or take the stream from it with --force");
    Error::new(Code::Config, detail)
}

/// The state of the instance at `HTTP_ADDR`, where it has this stream: also one that is paused, or reads
/// nothing new, and so moves no checkpoint.
async fn here(chosen: Chosen<'_>) -> Option<String> {
    let endpoint = Endpoint::of(chosen.config);
    let asking = move || Instance::at(&endpoint)?.get("/health/detailed");
    let asked = tokio::task::spawn_blocking(asking).await;
    // Nobody there, or nothing that can tell.
    let health = asked.ok()?.ok()?;
    let state = health["state"].as_str()?;
    let is_ours = health["stream"] == chosen.stream.id && health["dryRun"] != true;
    let has_it = !matches!(state, "disabled" | "stopped");
    (is_ours && has_it).then(|| state.to_owned())
}
