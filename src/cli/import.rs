//! `tailwater import`: goes on where a connector of others stopped.

use super::token::{self, Consent};
use super::{Chosen, Output, complain, files, print, print_report};
use crate::config::{Config, ConfigErrors, Kafka, Loaded, Problem};
use crate::error::{Code, Error};
use crate::migrate::offset::Place;
use crate::migrate::offsets::{self, Stored};
use crate::migrate::{Connector, Incumbent, plan};
use crate::process;
use crate::stream::moving;
use clap::ValueEnum;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Whose connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Whose {
    Debezium,
    MongoKafka,
}

impl From<Whose> for Incumbent {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Debezium => Self::Debezium,
            Whose::MongoKafka => Self::MongoKafka,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(
    after_help = "Stop the connector first, but leave it in place: it is the way back. The .env is written once; a second \
                  call uses it as you have edited it. While it has a line `# decide: …`, no checkpoint is made.\n\n\
                  Variables of the environment (KAFKA_BROKERS, KAFKA_SASL_PASSWORD, …) take precedence over the .env. \
                  docs/migrating.md has all steps."
)]
pub struct ImportArgs {
    /// Whose connector it is
    #[arg(value_enum)]
    whose: Whose,
    /// The connector's configuration: the answer of Connect's GET /connectors/NAME, its properties as JSON, or a
    /// .properties file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The worker's .properties file: what it says of converters and brokers holds where the connector says nothing
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// The connector's name in Connect, where the configuration does not have it
    #[arg(long, value_name = "NAME")]
    connect_name: Option<String>,
    #[command(flatten)]
    from: Position,
    /// Where to write the configuration
    #[arg(long, value_name = "FILE", default_value = ".env")]
    out: PathBuf,
    /// Write it anew, over what is there
    #[arg(long)]
    overwrite: bool,
    /// Check the configuration, MongoDB and Kafka with it first, as `tailwater check` does
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Where the position is.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[group(required = true, multiple = false)]
struct Position {
    /// The topic in which Connect keeps offsets (its offset.storage.topic)
    #[arg(long, value_name = "TOPIC")]
    offsets_topic: Option<String>,
    /// The file of offsets of a standalone worker, or of Debezium Server
    #[arg(long, value_name = "FILE")]
    offsets_file: Option<PathBuf>,
    /// The resume token itself: its _data, or the whole as JSON
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Write the configuration and make no checkpoint
    #[arg(long)]
    configuration_only: bool,
}

impl ImportArgs {
    /// Reads the connector's configuration, says what becomes of it, writes the `.env` and reads that.
    ///
    /// # Errors
    /// What is wrong with the files, or with the configuration that they make.
    pub(super) fn configuration(&self) -> Result<Loaded, ConfigErrors> {
        let worker = self.worker().map_err(refused)?;
        let connector = self.connector(worker.as_ref()).map_err(refused)?;
        self.write(&connector, worker.as_ref()).map_err(refused)?;
        let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        Config::from_sources(environment, Some(&self.out))
    }

    fn worker(&self) -> Result<Option<Connector>, (String, String)> {
        self.worker.as_deref().map(read).transpose()
    }

    fn connector(&self, worker: Option<&Connector>) -> Result<Connector, (String, String)> {
        let mut connector = read(&self.config)?;
        if let Some(name) = &self.connect_name {
            connector.name = Some(name.clone());
        }
        if let Some(worker) = worker {
            connector.fill_from_worker(worker);
        }
        Ok(connector)
    }

    /// The first line of a file that this has written.
    fn mark(&self) -> String {
        format!(
            "# made by tailwater import {}",
            Incumbent::from(self.whose).name()
        )
    }

    fn write(
        &self,
        connector: &Connector,
        worker: Option<&Connector>,
    ) -> Result<(), (String, String)> {
        let name = self.out.display().to_string();
        // What becomes of the properties is said of a file that is made of them, not of one that was edited since.
        if !self.overwrite && self.out.exists() {
            let text = files::text(&self.out).map_err(|why| (name.clone(), why))?;
            if !text.starts_with(&self.mark()) {
                let sentence = format!(
                    "is there, and not of `tailwater import {}`; give another file as --out, or write over it with --overwrite",
                    Incumbent::from(self.whose).name()
                );
                return Err((name, sentence));
            }
            complain(&format!(
                "{name} is there, and is used as it is; --overwrite writes it anew"
            ));
            return Ok(());
        }
        let mut plan = Incumbent::from(self.whose).plan(connector);
        print(&plan.to_text());
        let has_brokers = plan
            .variables
            .iter()
            .any(|(variable, _)| *variable == "KAFKA_BROKERS");
        let brokers = std::env::var("KAFKA_BROKERS")
            .ok()
            .or_else(|| Some(worker?.get("bootstrap.servers")?.to_owned()));
        if let (false, Some(brokers)) = (has_brokers, brokers) {
            plan.variables.push(("KAFKA_BROKERS", brokers));
        }
        secret_file(&self.out, &plan.to_env(&self.mark()))
            .map_err(|why| (name.clone(), format!("cannot be written: {why}")))?;
        print(&format!("written: {name}\n"));
        Ok(())
    }

    /// The decisions that are still open in the file.
    fn open_decisions(&self) -> Vec<String> {
        let text = files::text(&self.out).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(plan::DECIDE));
        lines.map(str::to_owned).collect()
    }
}

/// Reads properties; the file and what is wrong with it otherwise.
fn read(path: &Path) -> Result<Connector, (String, String)> {
    let named = |why: String| (path.display().to_string(), why);
    let text = files::text(path).map_err(named)?;
    Connector::read(&text).map_err(named)
}

/// Writes a file that only its owner may read: it may hold a password.
pub(super) fn secret_file(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

/// The properties of decisions.
fn named(decisions: &[String]) -> String {
    let property = |line: &String| {
        line.split_once(": ")
            .map_or(line.clone(), |(name, _)| name.trim().to_owned())
    };
    let names: Vec<_> = decisions.iter().map(property).collect();
    names.join(", ")
}

fn refused((variable, sentence): (String, String)) -> ConfigErrors {
    ConfigErrors {
        problems: vec![Problem {
            variable,
            given: None,
            sentence,
        }],
        warnings: Vec::new(),
    }
}

/// Makes the checkpoint; the exit code.
///
/// # Errors
/// Where the offset cannot be read or gone on from.
pub async fn run(args: &ImportArgs, config: &Config) -> Result<u8, Error> {
    let open = args.open_decisions();
    let name = args.out.display();
    if args.check {
        let report = process::check(config, None).await?;
        let exit = print_report(&report, Output::Text);
        if exit != 0 {
            return Ok(exit);
        }
    }
    if args.from.configuration_only {
        if !open.is_empty() {
            complain(&format!("open decisions in {name}: {}", named(&open)));
        }
        return Ok(0);
    }
    if !open.is_empty() {
        let detail = format!(
            "no checkpoint was made: {name} has open decisions ({}); set what you want, and take out each line `{}…`",
            named(&open),
            plan::DECIDE
        );
        return Err(Error::new(Code::Config, detail));
    }
    let place = place(args, &config.kafka).await?;
    let chosen = Chosen {
        config,
        stream: config.stream(None)?,
    };
    let client = token::connect(chosen).await?;
    let token = match place {
        Place::After(token) => moving::resumable(&client, chosen.stream, token).await?,
        Place::At(time) => moving::at_cluster_time(&client, chosen.stream, time).await?,
    };
    let time = token
        .cluster_time()
        .map(|time| moving::time_of(time.millis()).unwrap_or_default());
    let what = match time {
        Some(time) => format!("resumes where the connector stopped ({time})"),
        None => "resumes where the connector stopped".to_owned(),
    };
    token::change(chosen, args.consent, &what, Some(token)).await
}

/// Where the connector stopped.
async fn place(args: &ImportArgs, kafka: &Kafka) -> Result<Place, Error> {
    let wrong = |detail: String| Error::new(Code::TokenInvalid, detail);
    let incumbent = Incumbent::from(args.whose);
    if let Some(token) = &args.from.token {
        return Place::typed(token).ok_or_else(|| {
            wrong(
                "--token is no resume token: give its _data (hex digits), or the whole as JSON"
                    .into(),
            )
        });
    }
    let config = |(name, why): (String, String)| Error::new(Code::Config, format!("{name} {why}"));
    let worker = args.worker().map_err(config)?;
    let connector = args.connector(worker.as_ref()).map_err(config)?;
    let Some(name) = connector.name.clone() else {
        return Err(Error::new(
            Code::Config,
            "the configuration does not name the connector; give --connect-name",
        ));
    };
    let (found, place) = match (&args.from.offsets_topic, &args.from.offsets_file) {
        (Some(topic), _) => {
            let (kafka, topic, name) = (kafka.clone(), topic.clone(), name.clone());
            let place = format!("the topic {topic}");
            let read = move || offsets::of_topic(&kafka, &topic, &name);
            (
                crate::tasks::blocking("the offsets of Connect", read).await??,
                place,
            )
        }
        (None, Some(file)) => (offsets::of_file(file, &name)?, file.display().to_string()),
        (None, None) => return Err(wrong("no place of the offset was given".into())),
    };
    let wanted = incumbent.partition(&connector).map_err(wrong)?;
    let stored = chosen(found, &wanted, &name, &place)?;
    Place::of_offset(incumbent, &stored.offset).map_err(|why| {
        wrong(format!(
            "nobody can go on from the offset of {name} in {place}: {why}"
        ))
    })
}

/// The offset of the configured source among those of the connector's name.
fn chosen(
    found: Vec<Stored>,
    wanted: &serde_json::Value,
    name: &str,
    place: &str,
) -> Result<Stored, Error> {
    let count = found.len();
    let others: Vec<_> = found.iter().map(|it| it.partition.to_string()).collect();
    if let Some(stored) = found.into_iter().find(|it| it.partition == *wanted) {
        return Ok(stored);
    }
    let detail = match count {
        0 => format!(
            "{place} has no offset of a connector {name}; see --connect-name, and whether the connector has written anything"
        ),
        _ => format!(
            "{place} has no offset of {name} for {wanted}, only for {}; the configuration is of another source than the offset, or one offset is there for each shard: then give --token",
            others.join(", ")
        ),
    };
    Err(Error::new(Code::TokenInvalid, detail))
}
