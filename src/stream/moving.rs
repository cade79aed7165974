//! Moving a stream's checkpoint, as an operator says: only to where MongoDB can resume, since the next start could not
//! say so before the good position is overwritten.

use super::opening;
use crate::change::position::{ClusterTime, ResumeToken};
use crate::checkpoint::{Checkpoint, Location, Store, StoreContext};
use crate::config::{StartAt, StreamSpec};
use crate::error::{Code, Error};
use crate::mongo::describe::describe;
use crate::mongo::errors::{self, Phase, SourceFault, Stage};
use crate::mongo::identity;
use crate::source::Filter;
use crate::source::cursor::Start;
use crate::source::locate::{Located, locate};
use crate::source::start;
use bson::Document;
use jiff::Timestamp;
use mongodb::Client;
use serde::{Deserialize, Serialize};

/// A checkpoint as it is exported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exported {
    pub stream: String,
    pub namespace: String,
    pub source: String,
    pub seq: u64,
    pub token: Document,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl Exported {
    /// # Errors
    /// [`Code::TokenInvalid`] where the stored token cannot be read.
    pub fn of(found: Checkpoint) -> Result<Self, Error> {
        let token = Document::try_from(found.position.token.as_raw());
        Ok(Self {
            token: token.map_err(|why| damaged("the stored token").because(why))?,
            seq: found.position.seq.0,
            time: found.position.time_millis.and_then(time_of),
            stream: found.stream,
            namespace: found.namespace,
            source: found.source,
        })
    }
}

/// A time as it is told.
pub fn time_of(millis: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(millis).ok()?;
    Some(format!("{time:.3}"))
}

/// Claims the stream and moves its position to the token, or takes it away. Whoever had it is fenced.
///
/// # Errors
/// What the store or the source says.
pub async fn set(
    location: Location<'_>,
    stream: &StreamSpec,
    client: &Client,
    instance: String,
    token: Option<ResumeToken>,
) -> Result<(), Error> {
    let source = identity::identify(client).await?.to_string();
    let filter = Filter::of(stream).identity();
    let context = StoreContext::of(stream, filter, instance, source, client);
    let (mut store, _) = Store::open(location, context).await?;
    match token {
        Some(token) => {
            store.set(token).await?;
        }
        None => store.reset().await?,
    }
    store.close().await?;
    Ok(())
}

/// The token that was typed.
///
/// # Errors
/// Where it is none, or MongoDB cannot resume from it.
pub async fn typed(client: &Client, stream: &StreamSpec, data: &str) -> Result<ResumeToken, Error> {
    let is_hex = data.len() >= 8 && data.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex {
        let detail = "a token is its `_data`, hex digits; `tailwater token export` shows one";
        return Err(Error::new(Code::Config, detail));
    }
    resumable(client, stream, ResumeToken::from_data(data)).await
}

/// The token of a stream opened at `time`.
///
/// # Errors
/// Where MongoDB cannot open it there.
pub async fn at(
    client: &Client,
    stream: &StreamSpec,
    time: Timestamp,
) -> Result<ResumeToken, Error> {
    let seconds = u32::try_from(time.as_second())
        .map_err(|_| Error::new(Code::Config, "a time between 1970 and 2106"))?;
    let start = start::without_checkpoint(client, &StartAt::Time(seconds), 1).await?;
    let start = match start {
        Start::At(_) => start,
        _ => Start::At(ClusterTime::new(seconds, 1)),
    };
    opened_at(client, stream, &start).await
}

/// The token of a stream opened at a cluster time: of its own event, too.
///
/// # Errors
/// Where MongoDB cannot open it there.
pub async fn at_cluster_time(
    client: &Client,
    stream: &StreamSpec,
    time: ClusterTime,
) -> Result<ResumeToken, Error> {
    opened_at(client, stream, &Start::At(time)).await
}

async fn opened_at(
    client: &Client,
    stream: &StreamSpec,
    start: &Start,
) -> Result<ResumeToken, Error> {
    let opened = opening::open(client, stream, start, 1).await;
    let (_, first) = opened
        .map_err(|error| errors::error("opening the change stream", &error, Phase::Resuming))?;
    first.post_batch_token().ok_or_else(|| {
        let detail =
            "the server gives no post-batch resume token, so that no token of a time can be had";
        Error::new(Code::SourceRefused, detail)
    })
}

/// The token of an exported checkpoint of this source and database; `name` is what the export is called.
///
/// # Errors
/// Where it is of another one, or MongoDB cannot resume from it.
pub async fn imported(
    client: &Client,
    stream: &StreamSpec,
    name: &str,
    exported: &Exported,
) -> Result<ResumeToken, Error> {
    let namespace = stream.source.scope.name();
    let source = identity::identify(client).await?.to_string();
    if exported.namespace != namespace || !identity::same_source(&exported.source, &source) {
        let detail = format!(
            "{name} is of {} on {}, and this is {namespace} on {source}",
            exported.namespace, exported.source
        );
        return Err(Error::new(Code::TokenInvalid, detail));
    }
    let raw = bson::RawDocumentBuf::try_from(&exported.token);
    let token = raw
        .ok()
        .and_then(|raw| ResumeToken::from_bytes(raw.as_bytes()))
        .ok_or_else(|| damaged(&format!("the token in {name}")))?;
    resumable(client, stream, token).await
}

/// Something that cannot be read.
pub fn damaged(what: &str) -> Error {
    Error::new(Code::TokenInvalid, format!("{what}: cannot be read"))
}

/// The token, after the server has gone on from it. It looks for it at the first reply that may hold
/// events, not when the stream is opened.
///
/// # Errors
/// Why MongoDB does not.
pub async fn resumable(
    client: &Client,
    stream: &StreamSpec,
    token: ResumeToken,
) -> Result<ResumeToken, Error> {
    let refusal = match can_resume(client, stream, &Start::After(token.clone())).await {
        Ok(()) => return Ok(token),
        Err(refusal) => refusal,
    };
    let fault = match refusal.fault {
        // The stages in force may hide its event: then the stream finds its place by its time.
        SourceFault::TokenNotFound => match locate(client, token.cluster_time()).await {
            Located::At(time) => match can_resume(client, stream, &Start::At(time)).await {
                Ok(()) => return Ok(token),
                Err(refusal) => return Err(refused(refusal.fault, &refusal.error)),
            },
            Located::Lost => SourceFault::HistoryLost,
            Located::Unknown => SourceFault::TokenNotFound,
        },
        fault => fault,
    };
    Err(refused(fault, &refusal.error))
}

/// Why a stream does not begin where it should.
struct Refusal {
    fault: SourceFault,
    error: mongodb::error::Error,
}

/// Opens the stream at `start` and asks for its first event.
async fn can_resume(client: &Client, stream: &StreamSpec, start: &Start) -> Result<(), Refusal> {
    let attempt = async {
        let (mut cursor, _) = opening::open(client, stream, start, 1).await?;
        cursor.next().await
    };
    let Err(error) = attempt.await else {
        return Ok(());
    };
    match errors::classify(&error, start.phase()) {
        // The place was found, and the event behind it is what the stream's own policies are for.
        fault if fault.is_of_one_event() => Ok(()),
        fault => Err(Refusal { fault, error }),
    }
}

fn refused(fault: SourceFault, error: &mongodb::error::Error) -> Error {
    let what = match fault {
        SourceFault::TokenInvalid => {
            "MongoDB knows no such token: it is damaged or of another stream"
        }
        SourceFault::HistoryLost => "the oplog does not hold this token, or no longer",
        SourceFault::TokenNotFound => {
            "MongoDB does not find this token, and it tells no time to look for it"
        }
        _ => {
            let attempt = "resuming after this token";
            return errors::of_fault(attempt, fault, Stage::Starting, error);
        }
    };
    let detail = format!("{what}; nothing was changed: {}", describe(error));
    Error::new(fault.code(), detail)
}
