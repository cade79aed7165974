//! The typed configuration: environment variables, read once, validated all together.

mod check;
pub mod connect_schema;
mod coordination;
mod dotenv;
mod endpoint;
mod env;
mod envelope;
mod fields;
mod file;
mod format;
mod kafka;
mod librdkafka;
mod listeners;
mod live;
mod mongo;
mod namespaces;
mod needs;
mod of_stream;
mod pairs;
mod patterns;
mod pipeline;
mod placeholder;
mod problem;
mod properties;
mod report;
mod schedules;
mod secret;
mod serialization;
mod shown;
mod snapshot;
mod stages;
mod stream;
pub mod table;
#[cfg(test)]
mod tests;
mod typo;
mod uri;
mod validate;
mod variable;
pub mod worker;

pub use coordination::{ConsumerGroup, Coordination, LeaseTimes, Leases};
pub use endpoint::Endpoint;
pub use env::Origin;
pub use envelope::Envelope;
pub use fields::{FieldPath, Fields, MaskKind};
pub use format::{
    CloudEvents, Converter, Debezium, Format, KeyFormat, MongoKafka, MongoKafkaJson, Output,
    OutputForm,
};
pub use kafka::{
    Delivery, Kafka, RecordTimestamp, Sasl, SecurityProtocol, Sink, TopicCreation, Topics,
};
pub use listeners::{Bootstrap, Listeners};
pub use live::{Jwks, Live, Tokens};
pub use mongo::{FullDocument, Mongo, PreImages, Scope, Source, StartAt};
pub use namespaces::NamespaceMap;
pub use patterns::covers;
pub use pipeline::{
    DEPLOYMENT_DATABASE, JsonMode, OnHistoryLost, OnMissingTopic, OnRecordError, Pipeline, Resume,
    ResumeBackend,
};
pub use problem::{ConfigErrors, Problem, Warning};
pub use report::{Setting, example_env, reference, text};
pub use schedules::Schedules;
pub use secret::Secret;
pub use serialization::{
    Credentials, IdIn, Registry, SchemaKind, Schemas, Serialization, SubjectName,
};
pub use snapshot::{RowOperation, Snapshot, SnapshotMode, SnapshotRate};
pub use stream::StreamSpec;
pub use typo::nearest_of;
pub use variable::{Fallback, Form, Group, Unit, Variable};
pub use worker::{HandlersFile, Worker};

use crate::error::{Code, Error};
pub use crate::flow::batch::Batching;
pub use crate::log::{Log, LogFormat};
use env::Environment;
use needs::Needs;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
pub use uri::{decoded as decoded_uri, split as split_uri};

/// Everything a run needs, checked: how the process is run, and what its streams are.
#[derive(Debug, Clone)]
pub struct Config {
    pub mongo: Mongo,
    pub kafka: Kafka,
    pub streams: Vec<StreamSpec>,
    /// `COORDINATION`: whether other instances share the streams, and how they agree.
    pub coordination: Coordination,
    /// `SCHEDULES_COLLECTION` or `SCHEDULES_FILE`: jobs that are due at a time.
    pub schedules: Option<Schedules>,
    /// `MAX_IN_FLIGHT_BYTES`: replies waiting plus records not yet acknowledged, of all streams, in bytes.
    pub max_in_flight_bytes: usize,
    /// `ENABLE_CHANGE_STREAMS`: when false the process idles and says so.
    pub enabled: bool,
    pub http: Http,
    /// `LIVE_ADDR`: the server for live changes, where one is wanted.
    pub live: Option<Live>,
    /// What `tailwater worker` does.
    pub worker: Worker,
    pub log: Log,
    /// `ADMIN_TOKEN`: required by calls that change something.
    pub admin_token: Option<Secret>,
    /// `ADMIN_SHOW_DOCUMENTS`: whether calls show documents.
    pub shows_documents: bool,
    /// `STATUS_INTERVAL_SECONDS`.
    pub status_interval: Duration,
    /// `JSON_MODE`, for what is of no stream.
    pub json_mode: JsonMode,
    /// `SHUTDOWN_TIMEOUT_MS`: how long a graceful stop may take.
    pub shutdown_timeout: Duration,
}

/// A configuration that is right, with what an operator may want to know of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Each variable's effective value and where it came from, without secrets.
    pub settings: Vec<Setting>,
    /// To be logged once logging is up.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads the process's environment and, where it exists, `.env` in the working directory.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_env() -> Result<Loaded, ConfigErrors> {
        Self::build(&Environment::of_process(), Needs::Everything)
    }

    /// As [`from_env`](Self::from_env) for a command that only reads MongoDB: what is missing or wrong for
    /// Kafka, topics and checkpoints does not matter to it, and has its default or nothing in it.
    ///
    /// # Errors
    /// Everything that is wrong with what it needs, at once.
    pub fn for_source_from_env() -> Result<Loaded, ConfigErrors> {
        Self::build(&Environment::of_process(), Needs::Source)
    }

    /// As [`from_env`](Self::from_env) for `tailwater live`, which reads Kafka alone: what is missing or wrong for
    /// MongoDB and checkpoints does not matter to it.
    ///
    /// # Errors
    /// Everything that is wrong with what it needs, at once.
    pub fn for_live_from_env() -> Result<Loaded, ConfigErrors> {
        Self::build(&Environment::of_process(), Needs::Live)
    }

    /// As [`from_env`](Self::from_env) for a command that only reads topics of Kafka: what is missing or wrong for
    /// MongoDB, records and checkpoints does not matter to it.
    ///
    /// # Errors
    /// Everything that is wrong with what it needs, at once.
    pub fn for_kafka_from_env() -> Result<Loaded, ConfigErrors> {
        Self::build(&Environment::of_process(), Needs::Kafka)
    }

    /// As [`from_env`](Self::from_env) for `tailwater worker`: what is missing or wrong for MongoDB, records and
    /// checkpoints does not matter to it.
    ///
    /// # Errors
    /// Everything that is wrong with what it needs, at once.
    pub fn for_worker_from_env() -> Result<Loaded, ConfigErrors> {
        Self::build(&Environment::of_process(), Needs::Worker)
    }

    /// Reads these variables and no others.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Loaded, ConfigErrors>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        Self::from_sources(
            vars.into_iter()
                .map(|(name, value)| (name.into(), value.into())),
            None,
        )
    }

    /// Reads these variables, and those of a `.env` file that they do not set.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_sources(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        dotenv: Option<&Path>,
    ) -> Result<Loaded, ConfigErrors> {
        Self::build(&Environment::read(vars, dotenv), Needs::Everything)
    }

    fn build(environment: &Environment, needs: Needs) -> Result<Loaded, ConfigErrors> {
        let (config, warnings) = validate::build(environment, needs)?;
        let settings = report::settings(environment, &config);
        Ok(Loaded {
            config,
            settings,
            warnings,
        })
    }

    /// The stream that an operator means by `name`; without one the only stream.
    ///
    /// # Errors
    /// [`Code::Config`] where there is no such stream, or no name says which of several is meant.
    pub fn stream(&self, name: Option<&str>) -> Result<&StreamSpec, Error> {
        let found = match (name, self.streams.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), streams) => streams.iter().find(|stream| stream.is_called(name)),
        };
        found.ok_or_else(|| {
            let names: Vec<_> = self.streams.iter().map(StreamSpec::name).collect();
            let names = names.join(", ");
            let detail = match name {
                Some(name) => format!("there is no stream {name}; STREAMS has {names}"),
                None => format!(
                    "several streams are configured; say which one: --stream with one of {names}"
                ),
            };
            Error::new(Code::Config, detail)
        })
    }

    /// The stream that an operator means by `name`; without one all.
    ///
    /// # Errors
    /// [`Code::Config`] where there is no such stream.
    pub fn chosen(&self, name: Option<&str>) -> Result<Vec<&StreamSpec>, Error> {
        match name {
            Some(_) => self.stream(name).map(|stream| vec![stream]),
            None => Ok(self.streams.iter().collect()),
        }
    }

    /// The same for `run --dry-run`: nothing is written to Kafka, and no checkpoint is taken or stored.
    /// What is produced nowhere is in no transaction either, and what takes no checkpoint needs no lease.
    #[must_use]
    pub fn for_dry_run(mut self) -> Self {
        self.kafka.dry_run = true;
        self.coordination = Coordination::None;
        for stream in &mut self.streams {
            stream.sink.delivery = Delivery::AtLeastOnce;
            if let Some(schemas) = stream.sink.serialization.schemas_mut() {
                schemas.dry_run = true;
            }
        }
        self
    }
}

/// How an instance with this environment logs; the rest of the configuration may be wrong.
pub fn log_from_env() -> Log {
    validate::log(&mut check::Check::new(&Environment::of_process()))
}

/// Where the HTTP server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Http {
    /// `HTTP_ADDR=off`.
    Off,
    /// An address that was asked for: failing to bind is an error.
    Asked(std::net::SocketAddr),
    /// The default address: when its port is in use, the server is not started, with a warning.
    Default(std::net::SocketAddr),
}
