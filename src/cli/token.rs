//! `tailwater token`: looks at the checkpoint of this configuration's stream, and moves it.

mod active;
mod place;

use super::ask::NO;
use super::{Output, complain, print};
use crate::change::position::ResumeToken;
use crate::checkpoint::{self, Store};
use crate::config::Config;
use crate::error::{Code, Error};
use crate::mongo::identity;
use crate::process;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

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
    /// Take the stream from an instance that runs: it stops, fenced. With RESUME_STORE=file it has to be
    /// stopped first
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
            let token = place::typed(config, token).await?;
            change(config, *consent, "goes on from that token", Some(token)).await
        }
        TokenCommand::FromTimestamp { time, consent } => {
            let token = place::at(config, *time).await?;
            let what = format!("goes on from {time}");
            change(config, *consent, &what, Some(token)).await
        }
        TokenCommand::Import { file, consent } => {
            let token = place::imported(config, file).await?;
            let what = "goes on from the imported token";
            change(config, *consent, what, Some(token)).await
        }
    }
}

async fn show(config: &Config, output: Output) -> Result<u8, Error> {
    let Some(found) = checkpoint::read(config, None, &config.stream_id).await? else {
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
    let found = checkpoint::read(config, None, &config.stream_id).await?;
    let found = found.ok_or_else(|| {
        let detail = format!("the stream {} has no checkpoint", config.stream_id);
        Error::new(Code::CheckpointFailed, detail)
    })?;
    let token = bson::Document::try_from(found.position.token.as_raw());
    let exported = Exported {
        token: token.map_err(|error| place::damaged("the stored token").because(error))?,
        seq: found.position.seq.0,
        time: found.position.time_millis.and_then(time_of),
        stream: found.stream,
        namespace: found.namespace,
        source: found.source,
    };
    let text = serde_json::to_string_pretty(&exported)
        .map_err(|error| place::damaged("the checkpoint").because(error))?;
    Ok(print(&(text + "\n")))
}

/// Claims the stream and moves its position, or takes it away.
async fn change(
    config: &Config,
    consent: Consent,
    what: &str,
    token: Option<ResumeToken>,
) -> Result<u8, Error> {
    // What holds a file is never fenced.
    checkpoint::refuse_in_use(config).await?;
    let before = checkpoint::read(config, None, &config.stream_id).await?;
    if !consent.force {
        active::refuse(config, before.as_ref()).await?;
    }
    let stream = &config.stream_id;
    let stands = before.as_ref().and_then(|found| found.position.time_millis);
    let stands = stands.and_then(time_of).unwrap_or_else(|| "nowhere".into());
    if !consent.yes && !confirm(&format!("{stream} stands at {stands}; it {what}.")) {
        complain("nothing was changed");
        return Ok(NO);
    }
    let client = process::connect(config).await?;
    let source = identity::identify(&client).await?.to_string();
    let context = process::store_context(config, &client, source);
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
