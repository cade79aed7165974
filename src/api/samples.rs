//! `/api/samples`: what the last minutes were like.

use super::problem::Problem;
use super::query::InQuery;
use super::{Answer, Context, body, steering};
use crate::status::samples::{EVERY, KEPT, Sample};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Which samples.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Only those of this stream: its name or id.
    stream: Option<String>,
    /// Only those after this time, in ms since the Unix epoch: the last one that is known.
    after: Option<i64>,
}

/// Samples of the last 15 minutes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    /// Between two samples.
    #[schema(example = 5)]
    interval_seconds: u64,
    /// How many are kept of each stream.
    #[schema(example = 180)]
    kept: usize,
    streams: Vec<OfStream>,
}

/// The samples of a stream, one list for each value: the same place in each is the same time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StreamSamples)]
pub struct OfStream {
    #[schema(example = "shop")]
    stream: String,
    /// In ms since the Unix epoch, the oldest first.
    times: Vec<i64>,
    events_per_second: Vec<f64>,
    lag_ms: Vec<u64>,
    in_flight_records: Vec<u64>,
    in_flight_bytes: Vec<u64>,
    /// How long Kafka took to acknowledge; null where nothing was acknowledged.
    acknowledgement_p50_ms: Vec<Option<f64>>,
    acknowledgement_p99_ms: Vec<Option<f64>>,
}

impl OfStream {
    fn of(stream: &str, samples: &[Sample]) -> Self {
        fn each<T>(samples: &[Sample], value: impl Fn(&Sample) -> T) -> Vec<T> {
            samples.iter().map(value).collect()
        }
        Self {
            stream: stream.to_owned(),
            times: each(samples, |sample| sample.at_millis),
            events_per_second: each(samples, |sample| sample.events_per_second),
            lag_ms: each(samples, |sample| sample.lag_millis),
            in_flight_records: each(samples, |sample| sample.in_flight_records),
            in_flight_bytes: each(samples, |sample| sample.in_flight_bytes),
            acknowledgement_p50_ms: each(samples, |sample| sample.ack_p50_millis),
            acknowledgement_p99_ms: each(samples, |sample| sample.ack_p99_millis),
        }
    }
}

/// Get the samples of the last 15 minutes
///
/// For charts: rate, lag, bytes in flight and acknowledgements of each stream that this instance is configured for, every
/// 5 s. They are kept in memory, and begin with the process.
#[utoipa::path(
    get, path = "/api/samples", tag = "streams", operation_id = "getSamples",
    params(Asked),
    responses(
        (status = 200, body = Samples),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
    security(()),
)]
pub(super) async fn get(
    State(context): State<Arc<Context>>,
    InQuery(asked): InQuery<Asked>,
) -> Answer {
    let handles = match &asked.stream {
        Some(name) => vec![steering::stream(&context, name)?],
        None => context.streams.all(),
    };
    let after = asked.after.unwrap_or_default();
    let of = |handle: &Arc<crate::stream::streams::Handle>| {
        let samples = context.samples.of(handle.board.metrics.stream(), after);
        OfStream::of(handle.spec.title(), &samples)
    };
    Ok(body::answer(&Samples {
        interval_seconds: EVERY.as_secs(),
        kept: KEPT,
        streams: handles.iter().map(of).collect(),
    }))
}
