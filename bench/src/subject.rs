//! What is measured: how each is named, configured and started.

use crate::connector::{Begin, Connector};
use crate::error::Fallible;
use crate::kafka::Broker;
use crate::load;
use crate::process::Measured;
use crate::produce;
use crate::record::{RAW, RAW_PRODUCE};
use crate::settings::Settings;
use bson::doc;
use mongodb::Client;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The file of Tailwater's log.
pub const TAILWATER_LOG: &str = "tailwater.log";

#[derive(Debug, Clone)]
pub enum Subject {
    Raw,
    RawProduce,
    Tailwater(Variant),
    Peer(Connector),
}

/// Tailwater with settings of its own.
#[derive(Debug, Clone)]
pub struct Variant {
    pub name: String,
    /// Variables beside those that every variant gets.
    pub variables: Vec<(String, String)>,
    /// With metrics, asked for so often.
    pub scrape: Option<Duration>,
    /// Another build than the one of the settings.
    pub binary: Option<PathBuf>,
}

impl Default for Variant {
    fn default() -> Self {
        Self::with("Tailwater", &[])
    }
}

impl Variant {
    pub fn with(name: &str, variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            name: name.to_owned(),
            variables: variables.iter().map(owned).collect(),
            scrape: None,
            binary: None,
        }
    }

    /// The builds that take turns with the first.
    pub fn beside(settings: &Settings) -> impl Iterator<Item = Subject> {
        settings.beside.iter().map(|(name, path)| {
            Subject::Tailwater(Self {
                binary: Some(path.into()),
                ..Self::with(&format!("Tailwater, {name}"), &[])
            })
        })
    }
}

impl Subject {
    pub fn name(&self) -> String {
        match self {
            Self::Raw => RAW.to_owned(),
            Self::RawProduce => RAW_PRODUCE.to_owned(),
            Self::Tailwater(variant) => variant.name.clone(),
            Self::Peer(peer) => peer.name().to_owned(),
        }
    }

    /// A name for topics and files.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::RawProduce => "raw-produce",
            Self::Tailwater(_) => "tailwater",
            Self::Peer(peer) => peer.slug(),
        }
    }

    /// What differs from the defaults, for the report.
    pub fn settings(&self, settings: &Settings) -> String {
        match self {
            Self::Raw => {
                "$changeStream with fullDocument: updateLookup and no other stage; batch size 1,000; \
                 one reply read ahead (documents over 1 KB: as many as make a reply of 1 MiB)"
                    .to_owned()
            }
            Self::RawProduce => {
                let properties = produce::PROPERTIES.map(|(name, value)| format!("{name}={value}"));
                let compression = &settings.compression;
                format!(
                    "as raw drain; {}; compression.type={compression}",
                    properties.join("; ")
                )
            }
            Self::Tailwater(variant) => {
                let all = tailwater_variables(settings, "one for all", "of the run", variant);
                let own = all.iter().skip(ADDRESSES);
                let own = own.map(|(name, value)| format!("{name}={}", shortened(value)));
                let mut text = own.collect::<Vec<_>>().join("; ");
                if let Some(period) = variant.scrape {
                    text = text.replace("HTTP_ADDR=off", "HTTP_ADDR on a free port");
                    let _ = write!(text, "; /metrics asked for every {} s", period.as_secs());
                }
                text
            }
            Self::Peer(peer) => peer.settings(settings, Begin::Changes),
        }
    }
}

/// A long list of names need not be read to its end.
fn shortened(value: &str) -> String {
    match value.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_owned(),
    }
}

/// How many variables of [`tailwater_variables`] only say where things are.
const ADDRESSES: usize = 3;

/// What Tailwater is told, with what `--set` says last.
pub fn tailwater_variables(
    settings: &Settings,
    topic: &str,
    start_at: &str,
    variant: &Variant,
) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let own = [
        ("MONGODB_URI", settings.mongodb_uri.as_str()),
        ("KAFKA_BROKERS", &settings.kafka_brokers),
        ("STREAM_ID", topic),
        ("KAFKA_DB_CHANGES_TOPIC", topic),
        ("START_AT", start_at),
        ("HTTP_ADDR", "off"),
        ("KAFKA_PROP_COMPRESSION_TYPE", &settings.compression),
    ];
    let own = Variant::with("", &own).variables;
    let all = own
        .iter()
        .chain(&variant.variables)
        .chain(&settings.variables);
    for (name, value) in all {
        match variables.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1.clone_from(value),
            None => variables.push((name.clone(), value.clone())),
        }
    }
    variables
}

/// Starts Tailwater with its defaults, one topic and a stream of its own.
///
/// # Errors
/// When the binary is missing.
pub fn tailwater(
    settings: &Settings,
    database: &str,
    topic: &str,
    start_at: &str,
    variant: &Variant,
) -> Fallible<Measured> {
    let binary = variant.binary.as_ref().unwrap_or(&settings.tailwater);
    let mut command = Command::new(std::fs::canonicalize(binary)?);
    command
        .env("MONGODB_DATABASE", database)
        .envs(tailwater_variables(settings, topic, start_at, variant))
        .current_dir(&settings.folder);
    let log = settings.folder.join(TAILWATER_LOG);
    Measured::start(&variant.name, &mut command, &log)
}

/// The raw drain, ready to be started: in a process of its own, as the others.
///
/// # Errors
/// When this program's own file is gone.
pub fn raw(
    settings: &Settings,
    database: &str,
    token: &str,
    events: u64,
    batch: u32,
) -> Fallible<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["raw", "--mongodb-uri", &settings.mongodb_uri])
        .args(["--database", database, "--after", token])
        .args(["--events", &events.to_string()])
        .args(["--batch", &batch.to_string()]);
    Ok(command)
}

/// The raw drain that produces what it reads, with these properties beside its own.
///
/// # Errors
/// As [`raw`].
pub fn raw_produce(
    settings: &Settings,
    database: &str,
    token: &str,
    events: u64,
    batch: u32,
    topic: &str,
    properties: &[&str],
) -> Fallible<Measured> {
    let compression = format!("compression.type={}", settings.compression);
    let mut command = raw(settings, database, token, events, batch)?;
    command
        .args(["--kafka-brokers", &settings.kafka_brokers])
        .args(["--topic", topic, "--property", &compression]);
    for property in properties {
        command.args(["--property", property]);
    }
    let log = settings.folder.join("raw-produce.log");
    Measured::start(RAW_PRODUCE, &mut command, &log)
}

/// Waits until the subject carries records of what is inserted.
///
/// # Errors
/// When it ends, or none comes within 90 s.
pub async fn carries(
    running: &mut Measured,
    client: &Client,
    broker: &Broker,
    topic: &str,
) -> Fallible {
    let before = broker.end(topic)?;
    let end = Instant::now() + Duration::from_secs(90);
    while broker.end(topic)? == before {
        if Instant::now() > end {
            return Err("nothing is carried: see the subject's log".into());
        }
        running.usage()?;
        load::collection(client)
            .insert_one(doc! { "marker": true })
            .await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What was inserted before the first came.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}

/// A number that no other topic of these servers has.
pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}.{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
