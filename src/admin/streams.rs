//! Calls that give a stream to another instance. [`guard`](super::guard) says who may make them.

use super::Context;
use super::control::done;
use super::guard::refused;
use crate::coordination::{Coordination, View};
use crate::error::{Code, Error};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
pub(super) struct Move {
    stream: String,
    to: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Release {
    stream: String,
}

/// The stream goes to this instance, after its last commit where it is now, and stays there.
pub(super) async fn move_to(
    State(context): State<Arc<Context>>,
    Query(asked): Query<Move>,
) -> Response {
    let (coordination, stream) = match meant(&context, &asked.stream) {
        Ok(meant) => meant,
        Err(why) => return refused(StatusCode::CONFLICT, &why),
    };
    let to = match instance(&coordination.view().borrow(), &asked.to) {
        Ok(to) => to,
        Err(why) => return refused(StatusCode::NOT_FOUND, &why),
    };
    let moved = coordination.move_to(&stream, &to).await;
    answer(moved, &stream, Some(&to))
}

/// The stream goes to another instance, whichever has the fewest.
pub(super) async fn release(
    State(context): State<Arc<Context>>,
    Query(asked): Query<Release>,
) -> Response {
    let (coordination, stream) = match meant(&context, &asked.stream) {
        Ok(meant) => meant,
        Err(why) => return refused(StatusCode::CONFLICT, &why),
    };
    let released = coordination.release(&stream).await;
    answer(released, &stream, None)
}

/// The stream's id, by its name or its id; also of one that only other instances are configured for.
fn meant(context: &Context, name: &str) -> Result<(Coordination, String), String> {
    if !context.is_shared {
        return Err("COORDINATION=none: this instance shares its streams with no other".into());
    }
    let coordination = context.controls.coordination.borrow().clone();
    let Some(coordination) = coordination.filter(|_| !context.controls.stop.is_cancelled()) else {
        return Err("this instance is starting or stopping; ask another, or again".into());
    };
    let stream = match context.streams.get(name) {
        Some(handle) => handle.spec.id.clone(),
        None => name.to_owned(),
    };
    Ok((coordination, stream))
}

/// The instance of this name, or the only one whose name begins so, such as its host.
fn instance(view: &View, name: &str) -> Result<String, String> {
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
            Err(format!(
                "{name} is not the name of one instance; there are {}",
                all.join(", ")
            ))
        }
    }
}

fn answer(asked: Result<(), Error>, stream: &str, to: Option<&str>) -> Response {
    match asked {
        Ok(()) => {
            tracing::info!(stream, to, "a move was asked for by an operator");
            done(json!({ "stream": stream, "to": to })).into_response()
        }
        Err(error) if error.code == Code::Config => refused(StatusCode::CONFLICT, &error.detail),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.detail),
    }
}
