//! `tailwater dlq`: what is in the dead-letter topic, and producing it again.

use super::{Output, StreamArg, complain, print};
use crate::config::worker::DEAD_LETTERS;
use crate::config::{Config, StreamSpec};
use crate::error::{Code, Error};
use crate::process::connect;
use crate::sink::dead_letter_reader::{self, Found, StoredDeadLetter, Unreadable};
use crate::sink::dead_letters::{self, Meant, Told, ToldJob};
use crate::sink::replay::{Again, Outcome, Replay};
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
    /// Only these, by their tw-id; may be given several times
    #[arg(long)]
    id: Vec<String>,
    /// Only these jobs, by their names; with --topic jobs.dlq
    #[arg(long, value_delimiter = ',')]
    job: Vec<String>,
    /// Only this namespace: database.collection
    #[arg(long)]
    namespace: Option<String>,
    /// The dead-letter topic, where `KAFKA_DLQ_TOPIC` has placeholders; jobs.dlq for jobs that workers gave up, which
    /// needs neither MongoDB nor a stream
    #[arg(long)]
    topic: Option<String>,
}

impl DlqArgs {
    fn which(&self) -> &Which {
        let (DlqCommand::List { which, .. } | DlqCommand::Replay { which, .. }) = &self.command;
        which
    }

    /// Whether the jobs that workers gave up are meant.
    pub fn is_of_jobs(&self) -> bool {
        self.which().topic.as_deref() == Some(DEAD_LETTERS)
    }
}

/// What is read, and which of it is meant.
struct Reading<'a> {
    config: &'a Config,
    /// None for jobs that workers gave up.
    stream: Option<&'a StreamSpec>,
    topic: String,
    meant: Meant,
}

impl<'a> Reading<'a> {
    fn of(
        config: &'a Config,
        stream: Option<&'a StreamSpec>,
        which: &Which,
    ) -> Result<Self, Error> {
        let named = which.topic.as_deref();
        Ok(Self {
            config,
            stream,
            topic: match stream {
                Some(stream) => dead_letters::topic(stream, named, "--topic")?,
                None => named.unwrap_or(DEAD_LETTERS).to_owned(),
            },
            meant: Meant {
                seqs: which.seq.clone(),
                ids: which.id.clone(),
                jobs: which.job.clone(),
                namespace: which.namespace.clone(),
                is_shared: config.streams.len() > 1,
            },
        })
    }

    /// Hands on what is meant, and counts all.
    fn read(
        &self,
        lines: &mut Lines<'_>,
        mut each: impl FnMut(Found, &mut Lines<'_>),
    ) -> Result<(), Error> {
        dead_letter_reader::read(&self.config.kafka, &self.topic, |found| {
            lines.all += 1;
            let is_meant = match &found {
                Found::Whole(dead_letter) => self.meant.has(self.stream, dead_letter),
                Found::Unreadable(record) => self.meant.has_unreadable(self.stream, record),
            };
            if is_meant {
                lines.meant += 1;
                each(found, lines);
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// Carries the command out; the exit code. Jobs that workers gave up are of no stream.
///
/// # Errors
/// When the topic cannot be read.
pub async fn answer(
    args: DlqArgs,
    config: Config,
    stream: Option<StreamSpec>,
) -> Result<u8, Error> {
    let collection = stream.as_ref().and_then(|it| it.source.listeners.as_ref());
    let listeners = match (&args.command, &stream, collection) {
        (DlqCommand::Replay { .. }, Some(stream), Some(listeners)) => {
            let client = connect(&config.mongo, &stream.id, 1).await?;
            collection::all(&client, &listeners.at).await?
        }
        _ => Vec::new(),
    };
    let work = move || {
        let from = Reading::of(&config, stream.as_ref(), args.which())?;
        match args.command {
            DlqCommand::List { output, .. } => list(&from, output),
            DlqCommand::Replay { output, .. } => replay(&from, output, &listeners),
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Internal, "the command was abandoned").because(error))?
}

fn list(from: &Reading<'_>, output: Output) -> Result<u8, Error> {
    let mut lines = Lines::new(output, &from.topic);
    from.read(&mut lines, |found, lines| match found {
        Found::Whole(dead_letter) => match dead_letter.event() {
            Ok(_) => lines.add(&dead_letter, None),
            Err(unreadable) => lines.add_unreadable(&unreadable),
        },
        Found::Unreadable(record) => lines.add_unreadable(&record),
    })?;
    Ok(lines.print())
}

/// How dead letters are produced again.
enum Way {
    Stream(Box<Replay>),
    Jobs(Again),
}

impl Way {
    fn of(from: &Reading<'_>, listeners: &[bson::Document]) -> Result<Self, Error> {
        let kafka = &from.config.kafka;
        Ok(match from.stream {
            Some(stream) => Self::Stream(Box::new(Replay::new(
                kafka,
                stream,
                &from.topic,
                listeners,
            )?)),
            None => Self::Jobs(Again::new(kafka)?),
        })
    }

    fn replay(&mut self, dead_letter: &StoredDeadLetter) -> Result<Outcome, Unreadable> {
        match (self, &dead_letter.job) {
            (Self::Stream(replay), _) => replay.replay(dead_letter),
            (Self::Jobs(again), Some(job)) => Ok(again.job(job, &dead_letter.body)),
            (Self::Jobs(_), None) => {
                Err(dead_letter
                    .unreadable("it is no job's: leave --topic out for those of a stream"))
            }
        }
    }
}

fn replay(from: &Reading<'_>, output: Output, listeners: &[bson::Document]) -> Result<u8, Error> {
    let mut lines = Lines::new(output, &from.topic);
    let mut way = Way::of(from, listeners)?;
    let mut left = 0;
    from.read(&mut lines, |found, lines| {
        let outcome = match &found {
            Found::Whole(dead_letter) => way.replay(dead_letter),
            Found::Unreadable(record) => Err(record.clone()),
        };
        left += usize::from(!outcome.as_ref().is_ok_and(dead_letters::is_done));
        match (&found, outcome) {
            (Found::Whole(dead_letter), Ok(outcome)) => lines.add(dead_letter, Some(&outcome)),
            (_, Err(unreadable)) => lines.add_unreadable(&unreadable),
            (Found::Unreadable(_), Ok(_)) => {}
        }
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
    /// How many are in the topic, and how many of them are meant.
    all: usize,
    meant: usize,
    text: String,
    objects: Vec<serde_json::Value>,
}

impl<'a> Lines<'a> {
    fn new(output: Output, topic: &'a str) -> Self {
        Self {
            output,
            topic,
            all: 0,
            meant: 0,
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
        let _ = match &told.job {
            Some(job) => write!(self.text, "{}", of_job(&told, job)),
            None => write!(
                self.text,
                "{}  {}  {} {}  {}  {} bytes",
                dead_letter.seq,
                told.time.as_deref().unwrap_or("-"),
                dead_letter.operation,
                dead_letter.namespace,
                dead_letter.reason,
                dead_letter.body.len()
            ),
        };
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
            Output::Json => {
                if self.meant == 0 && self.all > 0 {
                    complain(&self.none());
                }
                print(&format!("{:#}\n", serde_json::Value::from(self.objects)))
            }
            Output::Text if self.meant == 0 => print(&format!("{}\n", self.none())),
            Output::Text => print(&self.text),
        }
    }

    fn none(&self) -> String {
        match self.all {
            0 => format!("no dead letters in {}", self.topic),
            all => format!("none of the {all} dead letters in {} is meant", self.topic),
        }
    }
}

/// A job that a worker gave up, on one line: it has an id of its own, and need be about no event.
fn of_job(told: &Told, job: &ToldJob) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let attempts = job
        .attempts
        .map_or_else(|| "-".to_owned(), |it| it.to_string());
    format!(
        "{}  {}  {} of {}  {}  {attempts} attempts  {} bytes  {}",
        told.id,
        or_none(&told.time),
        or_none(&job.name),
        job.topic,
        told.reason,
        told.bytes,
        or_none(&job.detail),
    )
}
