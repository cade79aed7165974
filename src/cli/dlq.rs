//! `tailwater dlq`: what is in the dead-letter topic, and producing it again.

use super::{Output, print};
use crate::change::position::Seq;
use crate::config::Config;
use crate::error::{Code, Error};
use crate::sink::letters::{self, Found, Letter, Unreadable};
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
        self.names(Some(letter.seq), Some(&letter.namespace))
    }

    /// As far as is known of it: what does not say which event it is, is meant only with all.
    fn means_unreadable(&self, record: &Unreadable) -> bool {
        self.names(record.seq, record.namespace.as_deref())
    }

    fn names(&self, seq: Option<Seq>, namespace: Option<&str>) -> bool {
        (self.seq.is_empty() || seq.is_some_and(|seq| self.seq.contains(&seq.0)))
            && self
                .namespace
                .as_deref()
                .is_none_or(|only| Some(only) == namespace)
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
    let topic = which.topic(config)?;
    let mut lines = Lines::new(output, &topic);
    letters::read(&config.kafka, &topic, |found| {
        match found {
            Found::Letter(letter) if which.means(&letter) => match letter.event() {
                Ok(_) => lines.add(&letter, None),
                Err(unreadable) => lines.add_unreadable(&unreadable),
            },
            Found::Unreadable(record) if which.means_unreadable(&record) => {
                lines.add_unreadable(&record);
            }
            Found::Letter(_) | Found::Unreadable(_) => {}
        }
        Ok(())
    })?;
    Ok(lines.print())
}

fn replay(config: &Config, which: &Which, output: Output) -> Result<u8, Error> {
    let topic = which.topic(config)?;
    let mut lines = Lines::new(output, &topic);
    let mut replay = Replay::new(config, &topic)?;
    let mut left = 0;
    letters::read(&config.kafka, &topic, |found| {
        let outcome = match &found {
            Found::Letter(letter) if which.means(letter) => replay.replay(letter),
            Found::Unreadable(record) if which.means_unreadable(record) => Err(record.clone()),
            Found::Letter(_) | Found::Unreadable(_) => return Ok(()),
        };
        left += usize::from(!matches!(
            outcome,
            Ok(Outcome::Replayed { .. } | Outcome::Nowhere)
        ));
        match (&found, outcome) {
            (Found::Letter(letter), Ok(outcome)) => lines.add(letter, Some(&outcome)),
            (_, Err(unreadable)) => lines.add_unreadable(&unreadable),
            (Found::Unreadable(_), Ok(_)) => {}
        }
        Ok(())
    })?;
    match (lines.print(), left) {
        (0, 1..) => Ok(Code::RecordRefused.exit_code()),
        (printed, _) => Ok(printed),
    }
}

/// What is printed, one line or one object for each letter.
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

    fn add(&mut self, letter: &Letter, outcome: Option<&Outcome>) {
        let written = letter
            .written_millis
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
            .map(|time| format!("{time:.3}"));
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
