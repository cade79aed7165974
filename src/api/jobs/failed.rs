//! `/api/jobs/failed`: dead letters of this worker's group, and having them done again.

use super::board;
use crate::api::problem::Problem;
use crate::api::query::{InQuery, allow, hundred};
use crate::api::{Answer, Context, background, body, time};
use crate::config::worker::DEAD_LETTERS;
use crate::error::Error;
use crate::sink::dead_letter_reader::{self, StoredDeadLetter, StoredJob};
use crate::sink::replay::{Again, Outcome};
use crate::status::worker::Board;
use axum::body::Bytes;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

/// How many are told of, and retried by one call, at most.
const MOST: usize = 1000;
/// How long one call may read and retry: less than an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which failed jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Asked {
    /// Only jobs of this name.
    job: Option<String>,
    /// How many to give: at most 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: usize,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            job: None,
            limit: 100,
        }
    }
}

/// Jobs that failed for good, the last one at the front.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedJobs {
    topic: &'static str,
    /// How many there are, also those that are not among `failed`.
    count: usize,
    failed: Vec<FailedJob>,
}

/// A job that failed for good.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedJob {
    /// Its tw-id.
    id: String,
    #[schema(example = "welcomeMail")]
    job: Option<String>,
    /// The topic that it was in.
    #[schema(example = "jobs.welcomeMail")]
    topic: String,
    /// A stable name of why: docs/workers.md.
    #[schema(example = "status")]
    reason: String,
    detail: Option<String>,
    attempts: Option<u32>,
    /// The last answer's status, or the exit code of the program.
    status: Option<i32>,
    /// When it failed for good.
    time: Option<String>,
    partition: i32,
    offset: i64,
    /// When it was retried by a call to this process, after it had failed.
    retried: Option<String>,
}

/// Which of them are retried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RetryRequest)]
pub struct Wanted {
    /// These, by their tw-id.
    #[serde(default)]
    ids: Vec<String>,
    /// All of this name that were not retried by this process since they failed.
    #[schema(example = "welcomeMail")]
    job: Option<String>,
    /// All that were not retried by this process since they failed.
    #[serde(default)]
    all: bool,
    /// How many at most: 100 where that is not said, and 1000 at most.
    #[serde(default = "hundred")]
    #[schema(default = 100, minimum = 1, maximum = 1000)]
    limit: usize,
}

/// What became of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retried {
    /// Written to the topics that they were in, for a worker to take.
    retried: usize,
    /// Those that Kafka did not take.
    refused: Vec<RefusedJob>,
    /// How many are left that are meant, too: call again.
    left: usize,
}

/// A job that could not be retried.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedJob {
    id: String,
    why: String,
}

/// Whether a job was retried by a call since it failed.
fn retried(board: &Board, dead_letter: &StoredDeadLetter) -> Option<i64> {
    let at = board.attempts().retried(&dead_letter.id)?;
    dead_letter
        .written_millis
        .is_none_or(|written| written <= at)
        .then_some(at)
}

fn told(board: &Board, dead_letter: &StoredDeadLetter, job: &StoredJob) -> FailedJob {
    FailedJob {
        id: dead_letter.id.clone(),
        job: job.name().map(str::to_owned),
        topic: job.topic.clone(),
        reason: dead_letter.reason.clone(),
        detail: job.detail.clone(),
        attempts: job.attempts,
        status: job.status,
        time: dead_letter.written_millis.and_then(time::of_millis),
        partition: dead_letter.partition,
        offset: dead_letter.offset,
        retried: retried(board, dead_letter).and_then(time::of_millis),
    }
}

/// Whether it is one of the group's, and of this name.
fn is_of(group: &str, name: Option<&str>, job: &StoredJob) -> bool {
    let is_of_group = job.group.as_deref().is_none_or(|of| of == group);
    is_of_group && name.is_none_or(|name| job.name() == Some(name))
}

/// List the jobs that failed
///
/// Those of this worker's group that failed for good, from the topic jobs.dlq. With a long topic it takes some seconds.
#[utoipa::path(
    get, path = "/api/jobs/failed", tag = "jobs", operation_id = "listFailedJobs",
    params(Asked),
    responses(
        (status = 200, body = FailedJobs),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "This process is no worker"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The topic does not exist, or may not be read"),
    ),
)]
pub(in crate::api) async fn list(
    State(context): State<Arc<Context>>,
    InQuery(asked): InQuery<Asked>,
) -> Answer {
    allow(asked.limit, MOST)?;
    let board = Arc::clone(board(&context)?);
    let (kafka, group) = (Arc::clone(&context.kafka), board.view().group);
    let read = move || {
        // The end of each partition is its newest part, and partitions come in any order.
        let (mut count, mut last) = (0, VecDeque::new());
        dead_letter_reader::read_jobs(&kafka, DEAD_LETTERS, |dead_letter, job| {
            if is_of(&group, asked.job.as_deref(), job) {
                count += 1;
                let at = dead_letter.written_millis.unwrap_or_default();
                let place = last.partition_point(|(other, _)| *other <= at);
                last.insert(place, (at, told(&board, dead_letter, job)));
                if last.len() > asked.limit {
                    last.pop_front();
                }
            }
            ControlFlow::Continue(())
        })?;
        let failed = last.into_iter().rev().map(|(_, failed)| failed);
        Ok::<_, Error>(FailedJobs {
            topic: DEAD_LETTERS,
            count,
            failed: failed.collect(),
        })
    };
    let failed = background(&context, "failed jobs", read).await??;
    Ok(body::answer(&failed))
}

/// Retry jobs that failed
///
/// Writes them to the topics that they were in, as they were, with the header tw-replayed: a worker takes them from there.
/// The dead letters stay: what another process has retried is retried again, with the same tw-id.
#[utoipa::path(
    post, path = "/api/jobs/failed/retry", tag = "jobs", operation_id = "retryFailedJobs",
    request_body = Wanted,
    responses(
        (status = 200, body = Retried),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "It is not said which"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "This process is no worker, or none of these jobs has failed"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Jobs are being retried already"),
    ),
)]
pub(in crate::api) async fn retry(State(context): State<Arc<Context>>, sent: Bytes) -> Answer {
    let wanted: Wanted = body::read(&sent)?;
    allow(wanted.limit, MOST)?;
    let is_named = !wanted.ids.is_empty();
    if !is_named && wanted.job.is_none() && !wanted.all {
        return Err(Problem::malformed(
            "say which jobs: ids with a list of their tw-ids, the name of a job, or all: true",
        ));
    }
    let board = Arc::clone(board(&context)?);
    let Some(only) = context.reading.replaying() else {
        return Err(Problem::conflict(
            "jobs are being retried already; ask again when that has ended",
        ));
    };
    let kafka = Arc::clone(&context.kafka);
    let work = move || {
        let _only = only;
        Retrying::new(board, &wanted).run(&kafka)
    };
    let (done, found) = background(&context, "failed jobs", work).await??;
    if is_named && !found {
        return Err(Problem::not_found(
            "none of these jobs is among those that failed; GET /api/jobs/failed lists them",
        ));
    }
    tracing::info!(
        retried = done.retried,
        refused = done.refused.len(),
        left = done.left,
        "jobs that failed were retried by a call"
    );
    Ok(body::answer(&done))
}

/// One call's work.
struct Retrying<'a> {
    board: Arc<Board>,
    group: String,
    wanted: &'a Wanted,
    ids: HashSet<&'a str>,
    /// What this call has met already: a job that has failed twice is retried once.
    met: HashSet<String>,
}

impl<'a> Retrying<'a> {
    fn new(board: Arc<Board>, wanted: &'a Wanted) -> Self {
        Self {
            group: board.view().group,
            board,
            ids: wanted.ids.iter().map(String::as_str).collect(),
            wanted,
            met: HashSet::new(),
        }
    }

    fn is_meant(&mut self, dead_letter: &StoredDeadLetter, job: &StoredJob) -> bool {
        let name = self.wanted.job.as_deref();
        if !is_of(&self.group, name, job) || self.met.contains(&dead_letter.id) {
            return false;
        }
        let is_meant = match self.ids.is_empty() {
            true => retried(&self.board, dead_letter).is_none(),
            // Who names it wants it, however often.
            false => self.ids.contains(dead_letter.id.as_str()),
        };
        is_meant && self.met.insert(dead_letter.id.clone())
    }

    /// What became of them, and whether any was found. Blocks.
    fn run(mut self, kafka: &crate::config::Kafka) -> Result<(Retried, bool), Error> {
        let again = Again::new(kafka)?;
        let end = Instant::now() + PATIENCE;
        let mut done = Retried {
            retried: 0,
            refused: Vec::new(),
            left: 0,
        };
        dead_letter_reader::read_jobs(kafka, DEAD_LETTERS, |dead_letter, job| {
            if !self.is_meant(dead_letter, job) {
                return ControlFlow::Continue(());
            }
            let tried = done.retried + done.refused.len();
            if tried >= self.wanted.limit || Instant::now() > end {
                done.left += 1;
                return ControlFlow::Continue(());
            }
            // Before it is written: a worker may fail at it at once.
            let at = jiff::Timestamp::now().as_millisecond();
            match again.job(job, &dead_letter.body) {
                Outcome::Refused { why } => done.refused.push(RefusedJob {
                    id: dead_letter.id.clone(),
                    why,
                }),
                Outcome::Replayed { .. } | Outcome::Nowhere => {
                    self.board.attempts().note_retried(&dead_letter.id, at);
                    done.retried += 1;
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok((done, !self.met.is_empty()))
    }
}
