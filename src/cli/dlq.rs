//! `tailwater dlq`: what is in the dead-letter topic, and producing it again.

use super::{Output, print};
use crate::config::Config;
use crate::error::{Code, Error};
use crate::sink::letters::{self, Letter};
use crate::sink::replay::{Outcome, Replay};
use clap::{Args, Subcommand};
use serde_json::json;
use std::fmt::Write as _;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DlqArgs {
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
    /// The records have the header tw-replayed. The letters stay: replaying them twice produces them
    /// twice, with the same tw-id.
    Replay {
        #[command(flatten)]
        which: Which,
        /// How to print what became of them
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

/// Which letters are meant; all where nothing is said.
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
    fn means(&self, letter: &Letter) -> bool {
        (self.seq.is_empty() || self.seq.contains(&letter.seq.0))
            && self
                .namespace
                .as_ref()
                .is_none_or(|only| *only == letter.namespace)
    }

    fn topic(&self, config: &Config) -> Result<String, Error> {
        let refused = |what: &str| Err(Error::new(Code::Config, what));
        match (&self.topic, &config.kafka.topics.dead_letter) {
            (Some(topic), _) => Ok(topic.clone()),
            (None, Some(topic)) if !topic.contains('{') => Ok(topic.clone()),
            (None, Some(_)) => {
                refused("KAFKA_DLQ_TOPIC has placeholders: name one topic with --topic")
            }
            (None, None) => {
                refused("KAFKA_DLQ_TOPIC is not set: set it, or name the topic with --topic")
            }
        }
    }
}

/// Carries the command out; the exit code.
///
/// # Errors
/// When the topic cannot be read.
pub async fn answer(args: DlqArgs, config: Config) -> Result<u8, Error> {
    let work = move || match args.command {
        DlqCommand::List { which, output } => list(&config, &which, output),
        DlqCommand::Replay { which, output } => replay(&config, &which, output),
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Internal, "the command was abandoned").because(error))?
}

fn list(config: &Config, which: &Which, output: Output) -> Result<u8, Error> {
    let mut lines = Lines::new(output);
    letters::read(&config.kafka, &which.topic(config)?, |letter| {
        if which.means(&letter) {
            lines.add(&letter, None);
        }
        Ok(())
    })?;
    Ok(lines.print())
}

fn replay(config: &Config, which: &Which, output: Output) -> Result<u8, Error> {
    let mut lines = Lines::new(output);
    let mut replay = Replay::new(config)?;
    let mut refused = 0;
    letters::read(&config.kafka, &which.topic(config)?, |letter| {
        if which.means(&letter) {
            let outcome = replay.replay(&letter)?;
            refused += usize::from(matches!(outcome, Outcome::Refused { .. }));
            lines.add(&letter, Some(&outcome));
        }
        Ok(())
    })?;
    match (lines.print(), refused) {
        (0, 1..) => Ok(Code::RecordRefused.exit_code()),
        (printed, _) => Ok(printed),
    }
}

/// What is printed, one line or one object for each letter.
struct Lines {
    output: Output,
    text: String,
    objects: Vec<serde_json::Value>,
}

impl Lines {
    fn new(output: Output) -> Self {
        Self {
            output,
            text: String::new(),
            objects: Vec::new(),
        }
    }

    fn add(&mut self, letter: &Letter, outcome: Option<&Outcome>) {
        let written = letter
            .written_millis
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .map(|time| time.to_string());
        if self.output == Output::Json {
            let mut object = json!({
                "seq": letter.seq.0,
                "id": letter.id,
                "namespace": letter.namespace,
                "operation": letter.operation,
                "reason": letter.reason,
                "time": written,
                "bytes": letter.body.len(),
                "parts": letter.parts,
                "partition": letter.partition,
                "offset": letter.offset,
            });
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
            letter.seq,
            written.as_deref().unwrap_or("-"),
            letter.operation,
            letter.namespace,
            letter.reason,
            letter.body.len()
        );
        let _ = match outcome {
            None => writeln!(self.text),
            Some(Outcome::Replayed { topic }) => writeln!(self.text, "  -> {topic}"),
            Some(Outcome::Nowhere) => writeln!(self.text, "  makes no record now"),
            Some(Outcome::Refused { why }) => writeln!(self.text, "  refused: {why}"),
        };
    }

    fn print(self) -> u8 {
        match self.output {
            Output::Json => print(&format!("{:#}\n", serde_json::Value::from(self.objects))),
            Output::Text if self.text.is_empty() => print("no dead letters\n"),
            Output::Text => print(&self.text),
        }
    }
}
