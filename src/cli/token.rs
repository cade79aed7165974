//! `tailwater token`: looks at the checkpoint of this configuration's stream, and moves it.

pub(super) mod active;

use super::ask::NO;
use super::{Output, complain, print};
use crate::change::position::ResumeToken;
use crate::checkpoint;
use crate::cli::{Chosen, StreamArg};
use crate::error::{Code, Error};
use crate::process;
use crate::stream::moving::{self, Exported, damaged, time_of};
use jiff::Timestamp;
use mongodb::Client;
use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum TokenCommand {
    /// Show the position of the stream, and which instance wrote it
    Show {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Resume after this resume token
    Set {
        /// The token's `_data`: hex digits
        token: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Resume at a time, as 2024-01-31T12:00:00Z; the oplog must reach back to it
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
    /// Resume at an exported checkpoint of this source and database
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
    pub(super) yes: bool,
    /// Take the stream from an instance that runs: it stops, fenced. With RESUME_STORE=file it must be
    /// stopped first
    #[arg(long)]
    pub(super) force: bool,
}

/// Which checkpoint, and what to do with it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TokenArgs {
    #[command(flatten)]
    pub which: StreamArg,
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// Carries the command out; the exit code.
///
/// # Errors
/// What the store or the source says, or a refusal.
pub async fn run(command: &TokenCommand, chosen: Chosen<'_>) -> Result<u8, Error> {
    match command {
        TokenCommand::Show { output } => show(chosen, *output).await,
        TokenCommand::Export => export(chosen).await,
        TokenCommand::Reset { consent } => {
            change(chosen, *consent, "forgets its position", None).await
        }
        TokenCommand::Set { token, consent } => {
            let client = connect(chosen).await?;
            let token = moving::typed(&client, chosen.stream, token).await?;
            change(chosen, *consent, "resumes after that token", Some(token)).await
        }
        TokenCommand::FromTimestamp { time, consent } => {
            let client = connect(chosen).await?;
            let token = moving::at(&client, chosen.stream, *time).await?;
            let what = format!("resumes at {time}");
            change(chosen, *consent, &what, Some(token)).await
        }
        TokenCommand::Import { file, consent } => {
            let exported = exported(file)?;
            let (client, name) = (connect(chosen).await?, file.display().to_string());
            let token = moving::imported(&client, chosen.stream, &name, &exported).await?;
            let what = "resumes after the imported token";
            change(chosen, *consent, what, Some(token)).await
        }
    }
}

async fn show(chosen: Chosen<'_>, output: Output) -> Result<u8, Error> {
    let Some(found) = checkpoint::read(chosen.location(), None).await? else {
        return Ok(print(&match output {
            Output::Text => format!("{}: no checkpoint\n", chosen.stream.id),
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

async fn export(chosen: Chosen<'_>) -> Result<u8, Error> {
    let found = checkpoint::read(chosen.location(), None).await?;
    let found = found.ok_or_else(|| {
        let detail = format!("the stream {} has no checkpoint", chosen.stream.id);
        Error::new(Code::CheckpointFailed, detail)
    })?;
    let exported = Exported::of(found)?;
    let text = serde_json::to_string_pretty(&exported)
        .map_err(|why| damaged("the checkpoint").because(why))?;
    Ok(print(&(text + "\n")))
}

/// Claims the stream and moves its position, or takes it away.
pub(super) async fn change(
    chosen: Chosen<'_>,
    consent: Consent,
    what: &str,
    token: Option<ResumeToken>,
) -> Result<u8, Error> {
    // What holds a file is never fenced.
    checkpoint::refuse_in_use(chosen.location()).await?;
    let before = checkpoint::read(chosen.location(), None).await?;
    if !consent.force {
        active::refuse(chosen, before.as_ref()).await?;
    }
    let stream = &chosen.stream.id;
    let stands = before.as_ref().and_then(|found| found.position.time_millis);
    let stands = stands.and_then(time_of).unwrap_or_else(|| "nowhere".into());
    if !consent.yes && !confirm(&format!("{stream} stands at {stands}; it {what}.")) {
        complain("nothing was changed");
        return Ok(NO);
    }
    let client = connect(chosen).await?;
    let instance = process::instance();
    moving::set(chosen.location(), chosen.stream, &client, instance, token).await?;
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

pub(super) async fn connect(chosen: Chosen<'_>) -> Result<Client, Error> {
    process::connect(&chosen.config.mongo, &chosen.stream.id, 1).await
}

/// Far more than an exported checkpoint has, in bytes: a device has no end.
const EXPORT_LIMIT: u64 = 1 << 20;

/// Reads an exported checkpoint.
fn exported(file: &Path) -> Result<Exported, Error> {
    let text = match file.as_os_str() == "-" {
        true => io::read_to_string(io::stdin().take(EXPORT_LIMIT)),
        false => File::open(file).and_then(|file| io::read_to_string(file.take(EXPORT_LIMIT))),
    };
    let name = file.display();
    let text = text.map_err(|why| damaged(&format!("{name}: {why}")))?;
    serde_json::from_str(&text)
        .map_err(|why| damaged(&format!("{name} is no exported checkpoint")).because(why))
}
