//! Where a stream may be moved to: only to where MongoDB can resume, since the next start could not say so
//! before the good position is overwritten.

use super::Exported;
use crate::change::position::{ClusterTime, ResumeToken};
use crate::cli::Chosen;
use crate::cli::opening;
use crate::config::StartAt;
use crate::error::{Code, Error};
use crate::mongo::describe::describe;
use crate::mongo::errors::{self, Phase, SourceFault, Stage};
use crate::mongo::identity;
use crate::process;
use crate::source::cursor::Start;
use crate::source::locate::{Located, locate};
use crate::source::start;
use jiff::Timestamp;
use mongodb::Client;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The token that was typed.
pub(super) async fn typed(chosen: Chosen<'_>, data: &str) -> Result<ResumeToken, Error> {
    let is_hex = data.len() >= 8 && data.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex {
        let detail = "a token is its `_data`, hex digits; `tailwater token export` shows one";
        return Err(Error::new(Code::Config, detail));
    }
    let client = process::connect(&chosen.config.mongo, &chosen.stream.id, 1).await?;
    resumable(&client, chosen, ResumeToken::from_data(data)).await
}

/// The token of a stream opened at `time`.
pub(super) async fn at(chosen: Chosen<'_>, time: Timestamp) -> Result<ResumeToken, Error> {
    let seconds = u32::try_from(time.as_second())
        .map_err(|_| Error::new(Code::Config, "a time between 1970 and 2106"))?;
    let client = process::connect(&chosen.config.mongo, &chosen.stream.id, 1).await?;
    let start = start::without_checkpoint(&client, &StartAt::Time(seconds), 1).await?;
    let start = match start {
        Start::At(_) => start,
        _ => Start::At(ClusterTime::new(seconds, 1)),
    };
    let opened = opening::open(&client, chosen.stream, &start, 1).await;
    let (_, first) = opened
        .map_err(|error| errors::error("opening the change stream", &error, Phase::Resuming))?;
    first.post_batch_token().ok_or_else(|| {
        let detail =
            "the server gives no post-batch resume token, so that no token of a time can be had";
        Error::new(Code::SourceRefused, detail)
    })
}

/// Far more than an exported checkpoint has, in bytes: a device has no end.
const EXPORT_LIMIT: u64 = 1 << 20;

/// The token of an exported checkpoint of this source and database.
pub(super) async fn imported(chosen: Chosen<'_>, file: &Path) -> Result<ResumeToken, Error> {
    let text = match file.as_os_str() == "-" {
        true => io::read_to_string(io::stdin().take(EXPORT_LIMIT)),
        false => File::open(file).and_then(|file| io::read_to_string(file.take(EXPORT_LIMIT))),
    };
    let name = file.display();
    let text = text.map_err(|why| damaged(&format!("{name}: {why}")))?;
    let exported: Exported = serde_json::from_str(&text)
        .map_err(|why| damaged(&format!("{name} is no exported checkpoint")).because(why))?;
    let namespace = chosen.stream.source.scope.name();
    let client = process::connect(&chosen.config.mongo, &chosen.stream.id, 1).await?;
    let source = identity::identify(&client).await?.to_string();
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
    resumable(&client, chosen, token).await
}

pub(super) fn damaged(what: &str) -> Error {
    Error::new(Code::TokenInvalid, format!("{what}: cannot be read"))
}

/// The token, after the server has gone on from it. It looks for it at the first reply that may hold
/// events, not when the stream is opened.
async fn resumable(
    client: &Client,
    chosen: Chosen<'_>,
    token: ResumeToken,
) -> Result<ResumeToken, Error> {
    let refusal = match can_resume(client, chosen, &Start::After(token.clone())).await {
        Ok(()) => return Ok(token),
        Err(refusal) => refusal,
    };
    let fault = match refusal.fault {
        // The stages in force may hide its event: then the stream finds its place by its time.
        SourceFault::TokenNotFound => match locate(client, token.cluster_time()).await {
            Located::At(time) => match can_resume(client, chosen, &Start::At(time)).await {
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
async fn can_resume(client: &Client, chosen: Chosen<'_>, start: &Start) -> Result<(), Refusal> {
    let attempt = async {
        let (mut cursor, _) = opening::open(client, chosen.stream, start, 1).await?;
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
