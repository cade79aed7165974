//! `tailwater dlq`: what is in the dead-letter topic, and producing it again.

use super::{Chosen, Output, StreamArg, print};
use crate::config::{Config, StreamSpec};
use crate::error::{Code, Error};
use crate::process::connect;
use crate::sink::dead_letter_reader::{self, Found, StoredDeadLetter, Unreadable};
use crate::sink::dead_letters::{self, Meant, Told};
use crate::sink::replay::{Outcome, Replay};
use crate::source::listeners::collection;
use clap::{Args, Subcommand};
use serde_json::json;
use std::fmt::Write as _;
use std::ops::ControlFlow;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DlqArgs {
    #[command(flatten)]
    pub which: StreamArg,
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum DlqCommand {
    /// Show the dead letters
    List {
        #[command(flatten)]
        which: Which,
        /// How to print them
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Produce the dead letters to their topics, as the configuration now routes and encodes them
    ///
    /// The records have the header tw-replayed. The dead letters stay: replaying them twice produces them
    /// twice, with the same tw-id. What cannot be read, or still not be delivered, is named and left, and
    /// the exit code is then 8.
    Replay {
        #[command(flatten)]
        which: Which,
        /// How to print what became of them
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

/// Which dead letters; all if none of these is given.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
struct Which {
    /// Only these events, by their tw-seq
    #[arg(long, value_delimiter = ',')]
    seq: Vec<u64>,
    /// Only this namespace: database.collection
    #[arg(long)]
    namespace: Option<String>,
    /// The dead-letter topic, where `KAFKA_DLQ_TOPIC` has placeholders
    #[arg(long)]
    topic: Option<String>,
}

impl Which {
    fn meant(&self, chosen: Chosen<'_>) -> Meant {
        Meant {
            seqs: self.seq.clone(),
            namespace: self.namespace.clone(),
            is_shared: chosen.config.streams.len() > 1,
        }
    }

    fn topic(&self, chosen: Chosen<'_>) -> Result<String, Error> {
        dead_letters::topic(chosen.stream, self.topic.as_deref(), "--topic")
    }
}

/// Carries the command out; the exit code.
///
/// # Errors
/// When the topic cannot be read.
pub async fn answer(args: DlqArgs, config: Config, stream: StreamSpec) -> Result<u8, Error> {
    let listeners = match (&args.command, &stream.source.listeners) {
        (DlqCommand::Replay { .. }, Some(listeners)) => {
            let client = connect(&config.mongo, &stream.id, 1).await?;
            collection::all(&client, &listeners.at).await?
        }
        _ => Vec::new(),
    };
    let work = move || {
        let chosen = Chosen {
            config: &config,
            stream: &stream,
        };
        match args.command {
            DlqCommand::List { which, output } => list(chosen, &which, output),
            DlqCommand::Replay { which, output } => replay(chosen, &which, output, &listeners),
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Internal, "the command was abandoned").because(error))?
}

fn list(chosen: Chosen<'_>, which: &Which, output: Output) -> Result<u8, Error> {
    let topic = which.topic(chosen)?;
    let meant = which.meant(chosen);
    let mut lines = Lines::new(output, &topic);
    dead_letter_reader::read(&chosen.config.kafka, &topic, |found| {
        match found {
            Found::Whole(dead_letter) if meant.has(chosen.stream, &dead_letter) => {
                match dead_letter.event() {
                    Ok(_) => lines.add(&dead_letter, None),
                    Err(unreadable) => lines.add_unreadable(&unreadable),
                }
            }
            Found::Unreadable(record) if meant.has_unreadable(chosen.stream, &record) => {
                lines.add_unreadable(&record);
            }
            Found::Whole(_) | Found::Unreadable(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(lines.print())
}

fn replay(
    chosen: Chosen<'_>,
    which: &Which,
    output: Output,
    listeners: &[bson::Document],
) -> Result<u8, Error> {
    let topic = which.topic(chosen)?;
    let meant = which.meant(chosen);
    let mut lines = Lines::new(output, &topic);
    let mut replay = Replay::new(&chosen.config.kafka, chosen.stream, &topic, listeners)?;
    let mut left = 0;
    dead_letter_reader::read(&chosen.config.kafka, &topic, |found| {
        let outcome = match &found {
            Found::Whole(dead_letter) if meant.has(chosen.stream, dead_letter) => {
                replay.replay(dead_letter)
            }
            Found::Unreadable(record) if meant.has_unreadable(chosen.stream, record) => {
                Err(record.clone())
            }
            Found::Whole(_) | Found::Unreadable(_) => return Ok(ControlFlow::Continue(())),
        };
        left += usize::from(!outcome.as_ref().is_ok_and(dead_letters::is_done));
        match (&found, outcome) {
            (Found::Whole(dead_letter), Ok(outcome)) => lines.add(dead_letter, Some(&outcome)),
            (_, Err(unreadable)) => lines.add_unreadable(&unreadable),
            (Found::Unreadable(_), Ok(_)) => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    match (lines.print(), left) {
        (0, 1..) => Ok(Code::RecordRefused.exit_code()),
        (printed, _) => Ok(printed),
    }
}

/// What is printed, one line or one object for each dead letter.
struct Lines<'a> {
    output: Output,
    topic: &'a str,
    text: String,
    objects: Vec<serde_json::Value>,
}

impl<'a> Lines<'a> {
    fn new(output: Output, topic: &'a str) -> Self {
        Self {
            output,
            topic,
            text: String::new(),
            objects: Vec::new(),
        }
    }

    fn add(&mut self, dead_letter: &StoredDeadLetter, outcome: Option<&Outcome>) {
        let told = Told::of(dead_letter);
        if self.output == Output::Json {
            let mut object = json!(told);
            match outcome {
                None => {}
                Some(Outcome::Replayed { topic }) => object["replayedTo"] = json!(topic),
                Some(Outcome::Nowhere) => object["replayedTo"] = json!(null),
                Some(Outcome::Refused { why }) => object["refused"] = json!(why),
            }
            self.objects.push(object);
            return;
        }
        // Writing to a string does not fail.
        let _ = write!(
            self.text,
            "{}  {}  {} {}  {}  {} bytes",
            dead_letter.seq,
            told.time.as_deref().unwrap_or("-"),
            dead_letter.operation,
            dead_letter.namespace,
            dead_letter.reason,
            dead_letter.body.len()
        );
        if let Some(listener) = &dead_letter.listener {
            let _ = write!(self.text, "  for listener {listener}");
        }
        let _ = match outcome {
            None => writeln!(self.text),
            Some(Outcome::Replayed { topic }) => writeln!(self.text, "  -> {topic}"),
            Some(Outcome::Nowhere) => writeln!(self.text, "  makes no record now"),
            Some(Outcome::Refused { why }) => writeln!(self.text, "  refused: {why}"),
        };
    }

    fn add_unreadable(&mut self, record: &Unreadable) {
        let Unreadable {
            partition, offset, ..
        } = record;
        if self.output == Output::Json {
            self.objects.push(json!({
                "seq": record.seq.map(|seq| seq.0),
                "namespace": record.namespace,
                "topic": self.topic,
                "partition": partition,
                "offset": offset,
                "unreadable": record.why,
            }));
            return;
        }
        let seq = record.seq.map_or_else(|| "-".into(), |seq| seq.to_string());
        let _ = writeln!(
            self.text,
            "{seq}  partition {partition}, offset {offset} of {}  cannot be read: {}",
            self.topic, record.why
        );
    }

    fn print(self) -> u8 {
        match self.output {
            Output::Json => print(&format!("{:#}\n", serde_json::Value::from(self.objects))),
            Output::Text if self.text.is_empty() => print("no dead letters\n"),
            Output::Text => print(&self.text),
        }
    }
}
