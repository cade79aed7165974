//! `/api/jobs`: what this worker does, what was tried, and the jobs that failed for good.

pub(super) mod failed;

use super::problem::Problem;
use super::{Answer, Context, body, time};
use crate::status::worker::attempts::{Attempt, Running, Tried, Which};
use crate::status::worker::{Board, Counts, HandlerState, View};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// How many that run, and how many that failed, are told of at once.
const SHOWN: usize = 100;

/// What a worker does.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobList {
    /// Its consumer group.
    #[schema(example = "tailwater-workers")]
    group: String,
    /// Its name in the group.
    #[schema(example = "host-1/12-0f")]
    instance: String,
    /// working or paused.
    #[schema(value_type = String, example = "working")]
    state: &'static str,
    /// Whether it is a member of its group.
    is_member: bool,
    /// Partitions that it has.
    partitions: usize,
    /// Jobs that wait in these, also those that it has not read yet, by topic.
    lag: BTreeMap<String, u64>,
    jobs: Vec<JobRow>,
    /// How many attempts run.
    running_count: usize,
    /// At most 100 of them, those that began first at the front.
    running: Vec<RunningJob>,
    /// At most 100 that failed and are not done yet, the last one to fail first at the front.
    retrying: Vec<TriedJob>,
}

/// The jobs of one name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRow {
    #[schema(example = "welcomeMail")]
    job: String,
    /// What its handler calls; none where it has no handler.
    #[schema(example = "POST https://mail.example.com/hooks/welcome")]
    calls: Option<String>,
    /// Why nothing of it begins, or only one at a time.
    held: Option<String>,
    /// Read, and not begun.
    waiting: usize,
    active: usize,
    /// Failed, and to be tried again.
    parked: usize,
    completed: u64,
    /// For good.
    failed: u64,
    /// Attempts that were made again.
    retried: u64,
    /// From the change to the end, the mean of all that are completed.
    mean_ms: Option<f64>,
}

/// An attempt that runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunningJob {
    #[serde(flatten)]
    which: WhichJob,
    /// Which attempt it is, from 1 on.
    attempt: u32,
    /// When it began.
    since: Option<String>,
}

/// A job's record.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhichJob {
    /// Its tw-id.
    id: String,
    #[schema(example = "welcomeMail")]
    job: String,
    /// Topic, partition and offset.
    #[schema(example = "jobs.welcomeMail/0/17")]
    place: String,
}

/// A job that has failed once, and what was tried.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedJob {
    #[serde(flatten)]
    which: WhichJob,
    /// waiting, running, completed or failed.
    #[schema(value_type = String, example = "waiting")]
    state: &'static str,
    /// When it is tried again.
    due: Option<String>,
    /// By this worker since it was started: the last 20.
    attempts: Vec<JobAttempt>,
}

/// An attempt that has ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobAttempt {
    /// Which attempt it was, from 1 on.
    number: u32,
    /// When it began.
    at: Option<String>,
    took_ms: f64,
    /// A stable name of why it failed: docs/workers.md. None where it did its work.
    #[schema(value_type = Option<String>, example = "status")]
    reason: Option<&'static str>,
    /// Of the answer, or of the program.
    status: Option<i32>,
    /// Why it failed, in a sentence.
    detail: Option<String>,
}

impl From<Which> for WhichJob {
    fn from(Which { id, job, place }: Which) -> Self {
        Self { id, job, place }
    }
}

impl From<Running> for RunningJob {
    fn from(running: Running) -> Self {
        Self {
            which: running.which.into(),
            attempt: running.number,
            since: time::of_millis(running.since),
        }
    }
}

impl From<Tried> for TriedJob {
    fn from(tried: Tried) -> Self {
        Self {
            which: tried.which.into(),
            state: tried.state.name(),
            due: tried.due.and_then(time::of_millis),
            attempts: tried.attempts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Attempt> for JobAttempt {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            at: time::of_millis(attempt.at),
            took_ms: attempt.took.as_micros() as f64 / 1e3,
            reason: attempt.reason,
            status: attempt.status,
            detail: attempt.detail,
        }
    }
}

impl JobRow {
    fn of(job: &str, counts: Counts, handler: Option<&HandlerState>) -> Self {
        let done = counts.completed as f64;
        Self {
            job: job.to_owned(),
            calls: handler.map(|handler| handler.calls.clone()),
            held: handler.and_then(|handler| handler.held.clone()),
            waiting: counts.waiting,
            active: counts.active,
            parked: counts.parked,
            completed: counts.completed,
            failed: counts.failed,
            retried: counts.retried,
            mean_ms: (counts.completed > 0).then(|| (counts.seconds * 1e3 / done).round()),
        }
    }
}

/// Those that have a handler, and those that had jobs.
fn rows(view: &View) -> Vec<JobRow> {
    let mut all: BTreeMap<&str, Counts> = BTreeMap::new();
    for job in view.handlers.keys() {
        all.entry(job).or_default();
    }
    for (job, counts) in &view.jobs {
        all.insert(job, counts.clone());
    }
    all.into_iter()
        .map(|(job, counts)| JobRow::of(job, counts, view.handlers.get(job)))
        .collect()
}

/// The board of the worker here.
fn board(context: &Context) -> Result<&Arc<Board>, Problem> {
    context.worker.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_worker",
            "this process is no worker; ask one that `tailwater worker start` has started, at its HTTP_ADDR",
        )
    })
}

/// Show the jobs of this worker
///
/// Counts by job, what runs, and what failed and is tried again. Each worker tells of itself; `tailwater worker list` asks
/// all of a group.
#[utoipa::path(
    get, path = "/api/jobs", tag = "jobs", operation_id = "listJobs",
    responses(
        (status = 200, body = JobList),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "This process is no worker"),
    ),
)]
pub(super) async fn list(State(context): State<Arc<Context>>) -> Answer {
    let board = board(&context)?;
    let view = board.view();
    let (running, running_count) = board.attempts().running(SHOWN);
    let retrying = board.attempts().waiting(SHOWN);
    Ok(body::answer(&JobList {
        jobs: rows(&view),
        group: view.group,
        instance: board.instance.clone(),
        state: board.state(),
        is_member: board.ready.get(),
        partitions: view.partitions,
        lag: view.lag,
        running_count,
        running: running.into_iter().map(Into::into).collect(),
        retrying: retrying.into_iter().map(Into::into).collect(),
    }))
}

/// Show a job that has failed
///
/// With its attempts, as far as this worker has made them since it was started: it remembers the last 1000 jobs that failed.
#[utoipa::path(
    get, path = "/api/jobs/{id}", tag = "jobs", operation_id = "getJob",
    params(("id" = String, Path, description = "Its tw-id")),
    responses(
        (status = 200, body = TriedJob),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "This worker remembers no such job, or this process is no worker"),
    ),
)]
pub(super) async fn show(State(context): State<Arc<Context>>, Path(id): Path<String>) -> Answer {
    let tried = board(&context)?.attempts().of(&id);
    match tried {
        Some(tried) => Ok(body::answer(&TriedJob::from(tried))),
        None => Err(Problem::not_found(format!(
            "this worker remembers no failed attempt of the job {id}: it was started since, or another worker made them"
        ))),
    }
}
