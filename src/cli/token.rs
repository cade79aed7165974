//! `tailwater token`: looks at the checkpoint of this configuration's stream, and moves it.

use super::{Output, complain, print};
use crate::app;
use crate::config::{Config, StartAt};
use crate::error::{Code, Error};
use crate::position::{ClusterTime, ResumeToken};
use crate::resume::{self, Checkpoint, Store};
use crate::source::cursor::{Cursor, Start};
use crate::source::errors::{self, Moment};
use crate::source::{identity, start};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// A running instance moves its checkpoint at least this often, even at rest: MongoDB's periodic no-op
/// and the slowest store's interval are 10 s each.
const SIGN_OF_LIFE: Duration = Duration::from_secs(22);
/// Older than this, nobody can be writing it.
const SURELY_STOPPED: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum TokenCommand {
    /// Print where the stream stands, and who wrote it
    Show {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Go on from this resume token
    Set {
        /// The token's `_data`: hex digits
        token: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Go on from a time, as 2024-01-31T12:00:00Z; the oplog must reach back so far
    FromTimestamp {
        /// The time of the first change to come, in whole seconds
        time: Timestamp,
        #[command(flatten)]
        consent: Consent,
    },
    /// Forget the position: the next start is a first start, by START_AT
    Reset {
        #[command(flatten)]
        consent: Consent,
    },
    /// Print the checkpoint as JSON, with the token: it holds the key of a document
    Export,
    /// Go on from an exported checkpoint of this source and database
    Import {
        /// The file, or - for the standard input
        file: PathBuf,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Consent {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Take the stream from an instance that runs: it stops, fenced
    #[arg(long)]
    force: bool,
}

/// A checkpoint as it is exported.
#[derive(Debug, Serialize, Deserialize)]
struct Exported {
    stream: String,
    namespace: String,
    source: String,
    seq: u64,
    token: bson::Document,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

/// Carries the command out; the exit code.
///
/// # Errors
/// What the store or the source says, or a refusal.
pub async fn run(command: &TokenCommand, config: &Config) -> Result<u8, Error> {
    match command {
        TokenCommand::Show { output } => show(config, *output).await,
        TokenCommand::Export => export(config).await,
        TokenCommand::Reset { consent } => {
            change(config, *consent, "forgets its position", None).await
        }
        TokenCommand::Set { token, consent } => {
            let is_hex = token.len() >= 8 && token.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_hex {
                let detail =
                    "a token is its `_data`, hex digits; `tailwater token export` shows one";
                return Err(Error::new(Code::Config, detail));
            }
            let token = ResumeToken::from_data(token);
            change(config, *consent, "goes on from that token", Some(token)).await
        }
        TokenCommand::FromTimestamp { time, consent } => {
            let token = token_at(config, *time).await?;
            change(
                config,
                *consent,
                &format!("goes on from {time}"),
                Some(token),
            )
            .await
        }
        TokenCommand::Import { file, consent } => {
            let token = import(config, file).await?;
            change(
                config,
                *consent,
                "goes on from the imported token",
                Some(token),
            )
            .await
        }
    }
}

async fn show(config: &Config, output: Output) -> Result<u8, Error> {
    let Some(found) = resume::read(config, None, &config.stream_id).await? else {
        return Ok(print(&match output {
            Output::Text => format!("{}: no checkpoint\n", config.stream_id),
            Output::Json => "null\n".to_owned(),
        }));
    };
    let position = found.position.time_millis.and_then(time_of);
    let written = time_of(found.updated_at_millis);
    Ok(print(&match output {
        Output::Json => {
            let value = serde_json::json!({
                "stream": found.stream,
                "namespace": found.namespace,
                "source": found.source,
                "filter": found.filter.summary,
                "seq": found.position.seq.0,
                "time": position,
                "instance": found.instance,
                "epoch": found.epoch,
                "writtenAt": written,
            });
            format!("{value:#}\n")
        }
        Output::Text => format!(
            "stream    {}\ndatabase  {}\nsource    {}\nfilter    {}\nposition  {} (tw-seq {})\n\
             written   {} by {} (epoch {})\n",
            found.stream,
            found.namespace,
            found.source,
            found.filter.summary,
            position.as_deref().unwrap_or("of unknown time"),
            found.position.seq,
            written.as_deref().unwrap_or("at an unknown time"),
            found.instance,
            found.epoch,
        ),
    }))
}

async fn export(config: &Config) -> Result<u8, Error> {
    let found = resume::read(config, None, &config.stream_id).await?;
    let found = found.ok_or_else(|| {
        let detail = format!("the stream {} has no checkpoint", config.stream_id);
        Error::new(Code::CheckpointFailed, detail)
    })?;
    let token = bson::Document::try_from(found.position.token.as_raw());
    let exported = Exported {
        token: token.map_err(|error| damaged("the stored token").because(error))?,
        seq: found.position.seq.0,
        time: found.position.time_millis.and_then(time_of),
        stream: found.stream,
        namespace: found.namespace,
        source: found.source,
    };
    let text = serde_json::to_string_pretty(&exported)
        .map_err(|error| damaged("the checkpoint").because(error))?;
    Ok(print(&(text + "\n")))
}

async fn import(config: &Config, file: &PathBuf) -> Result<ResumeToken, Error> {
    let text = match file.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(file),
    };
    let name = file.display();
    let text = text.map_err(|error| damaged(&format!("{name}: {error}")))?;
    let exported: Exported = serde_json::from_str(&text)
        .map_err(|error| damaged(&format!("{name} is no exported checkpoint")).because(error))?;
    let namespace = config.mongo.scope.name();
    let source = identity::identify(&app::connect(config).await?)
        .await?
        .to_string();
    if exported.namespace != namespace || !identity::same_source(&exported.source, &source) {
        let detail = format!(
            "{name} is of {} on {}, and this is {namespace} on {source}",
            exported.namespace, exported.source
        );
        return Err(Error::new(Code::TokenInvalid, detail));
    }
    let raw = bson::RawDocumentBuf::try_from(&exported.token);
    raw.ok()
        .and_then(|raw| ResumeToken::from_bytes(raw.as_bytes()))
        .ok_or_else(|| damaged(&format!("the token in {name}")))
}

fn damaged(what: &str) -> Error {
    Error::new(Code::TokenInvalid, format!("{what}: cannot be read"))
}

/// The token of a stream opened at `time`.
async fn token_at(config: &Config, time: Timestamp) -> Result<ResumeToken, Error> {
    let seconds = u32::try_from(time.as_second())
        .map_err(|_| Error::new(Code::Config, "a time between 1970 and 2106"))?;
    let client = app::connect(config).await?;
    let start = start::without_checkpoint(&client, &StartAt::Time(seconds)).await?;
    let start = match start {
        Start::At(_) => start,
        _ => Start::At(ClusterTime::new(seconds, 1)),
    };
    let opened = Cursor::open(&client, &app::watch(config), &start, 1, false).await;
    let (_, first) = opened
        .map_err(|error| errors::error("opening the change stream", &error, Moment::Resuming))?;
    first.post_batch_token().ok_or_else(|| {
        let detail = "the server gives no post-batch resume token; MongoDB 4.2 or later is needed";
        Error::new(Code::SourceRefused, detail)
    })
}

/// Claims the stream and moves its position, or takes it away.
async fn change(
    config: &Config,
    consent: Consent,
    what: &str,
    token: Option<ResumeToken>,
) -> Result<u8, Error> {
    let before = resume::read(config, None, &config.stream_id).await?;
    if !consent.force {
        refuse_while_active(config, before.as_ref()).await?;
    }
    let stream = &config.stream_id;
    let stands = before.as_ref().and_then(|found| found.position.time_millis);
    let stands = stands.and_then(time_of).unwrap_or_else(|| "nowhere".into());
    if !consent.yes && !confirm(&format!("{stream} stands at {stands}; it {what}.")) {
        complain("nothing was changed");
        return Ok(1);
    }
    let client = app::connect(config).await?;
    let source = identity::identify(&client).await?.to_string();
    let context = app::store_context(config, &client, source);
    let (mut store, _) = Store::open(config, context).await?;
    match token {
        Some(token) => {
            store.set(token).await?;
        }
        None => store.reset().await?,
    }
    store.close().await?;
    Ok(print(&format!("{stream} {what} at its next start\n")))
}

/// Whoever runs the stream would be fenced in the middle of it.
async fn refuse_while_active(config: &Config, before: Option<&Checkpoint>) -> Result<(), Error> {
    let Some(before) = before else {
        return Ok(());
    };
    let age = Timestamp::now().as_millisecond() - before.updated_at_millis;
    if age > SURELY_STOPPED.as_millis() as i64 {
        return Ok(());
    }
    complain("the checkpoint is recent: looking whether an instance still moves it");
    let end = tokio::time::Instant::now() + SIGN_OF_LIFE;
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = resume::read(config, None, &config.stream_id).await?;
        if now.is_some_and(|now| now.updated_at_millis != before.updated_at_millis) {
            let detail = format!(
                "the instance {} is running this stream: stop it first (`tailwater stop`), or take the \
                 stream from it with --force",
                before.instance
            );
            return Err(Error::new(Code::Config, detail));
        }
    }
    Ok(())
}

/// Asks on the terminal; where there is none the answer is no.
fn confirm(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        complain(&format!("{question} Say so with --yes."));
        return false;
    }
    // Where nobody can read the question, nobody answers it.
    let _ = write!(io::stderr(), "{question} Go ahead? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn time_of(millis: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(millis).ok()?;
    Some(format!("{time:.3}"))
}
