//! What steers streams, for the calls here and for those under `/admin`.

use super::Context;
use super::problem::Problem;
use crate::coordination::{Coordination, View};
use crate::error::{Code, Error};
use crate::log::event_id;
use crate::stream::streams::Handle;
use std::sync::Arc;

/// The stream of this name or id.
pub fn stream(context: &Context, name: &str) -> Result<Arc<Handle>, Problem> {
    context.streams.get(name).ok_or_else(|| {
        let all = context.streams.all();
        let names: Vec<_> = all.iter().map(|handle| handle.spec.title()).collect();
        let names = names.join(", ");
        Problem::not_found(format!(
            "no stream of that name runs here; there is {names}"
        ))
    })
}

/// Lets these streams stand still or resume; one that another instance has is left, and named where it is the only one.
pub fn set_paused(
    context: &Context,
    handles: &[Arc<Handle>],
    is_paused: bool,
) -> Result<(), Problem> {
    if !context.is_enabled {
        return Err(Problem::conflict(
            "ENABLE_CHANGE_STREAMS=false: no stream runs here",
        ));
    }
    if context.stop.is_cancelled() {
        return Err(Problem::conflict("it is stopping"));
    }
    if let [only] = handles {
        here(only)?;
    }
    // Those of other instances are for those to pause.
    for handle in handles.iter().filter(|handle| elsewhere(handle).is_none()) {
        if handle.set_paused(is_paused) {
            let stream = handle.spec.name();
            tracing::info!(stream, paused = is_paused, "asked for by an operator");
        }
    }
    Ok(())
}

/// Refuses what only the instance can do that has the stream.
pub fn here(handle: &Handle) -> Result<(), Problem> {
    match elsewhere(handle) {
        None => Ok(()),
        Some(owner) => Err(Problem::conflict(format!(
            "this stream runs on another instance: {owner}; ask that one"
        ))),
    }
}

/// Who has a stream that this instance does not run.
pub fn elsewhere(handle: &Handle) -> Option<String> {
    if !handle.board.state().is_elsewhere() {
        return None;
    }
    let ownership = handle.board.ownership();
    let owner = ownership.and_then(|ownership| ownership.owner);
    Some(owner.unwrap_or_else(|| "nobody has it now".to_owned()))
}

/// Gives a stream, by its name or id, to an instance; to the one with the fewest where none is named. The stream's id
/// and the instance's name.
pub async fn give(
    context: &Context,
    name: &str,
    to: Option<&str>,
) -> Result<(String, Option<String>), Problem> {
    let (coordination, stream) = meant(context, name)?;
    let to = match to {
        Some(to) => Some(instance(&coordination.view().borrow(), to)?),
        None => None,
    };
    let asked = match &to {
        Some(to) => coordination.move_to(&stream, to).await,
        None => coordination.release(&stream).await,
    };
    match asked {
        Ok(()) => {
            tracing::info!(stream, to, "a move was asked for by an operator");
            Ok((stream, to))
        }
        Err(error) => Err(refusal(error)),
    }
}

fn refusal(error: Error) -> Problem {
    match error.code {
        Code::Config => Problem::conflict(error.detail),
        _ => Problem::unavailable(error.detail),
    }
}

/// The stream's id, by its name or its id; also of one that only other instances are configured for.
fn meant(context: &Context, name: &str) -> Result<(Coordination, String), Problem> {
    if !context.is_shared {
        return Err(Problem::conflict(
            "COORDINATION=none: this instance shares its streams with no other",
        ));
    }
    let coordination = context.coordination.borrow().clone();
    let Some(coordination) = coordination.filter(|_| !context.stop.is_cancelled()) else {
        return Err(Problem::conflict(
            "this instance is starting or stopping; ask another, or again",
        ));
    };
    let stream = match context.streams.get(name) {
        Some(handle) => handle.spec.id.clone(),
        None => name.to_owned(),
    };
    Ok((coordination, stream))
}

/// The instance of this name, or the only one whose name begins so, such as its host.
fn instance(view: &View, name: &str) -> Result<String, Problem> {
    let all: Vec<_> = view.instances.keys().collect();
    if all.iter().any(|known| *known == name) {
        return Ok(name.to_owned());
    }
    let begins: Vec<_> = all
        .iter()
        .filter(|known| known.starts_with(name) && !name.is_empty())
        .collect();
    match begins.as_slice() {
        [only] => Ok((**only).clone()),
        _ => {
            let all: Vec<_> = all.iter().map(|known| known.as_str()).collect();
            Err(Problem::not_found(format!(
                "{name} is not the name of one instance; there are {}",
                all.join(", ")
            )))
        }
    }
}

/// Changes how much is logged; the level.
pub fn set_level(context: &Context, sent: &[u8]) -> Result<String, Problem> {
    let asked = serde_json::from_slice::<serde_json::Value>(sent).ok();
    let level = asked.as_ref().and_then(|asked| asked["level"].as_str());
    let Some(level) = level.and_then(|level| level.parse::<tracing::Level>().ok()) else {
        return Err(Problem::malformed(
            "send {\"level\": \"…\"} with one of error, warn, info, debug, trace",
        ));
    };
    context.log.set_level(level);
    tracing::info!(event_id = event_id::LOG_LEVEL_CHANGED, %level, "log level changed by an operator");
    Ok(level.as_str().to_ascii_lowercase())
}
