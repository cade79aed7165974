//! The command line. Everything that a run needs to know comes from the environment.

mod ask;
pub mod compare;
pub mod dlq;
pub mod export;
mod files;
mod http;
pub mod import;
pub mod listeners;
pub mod schedules;
pub mod snapshot;
mod status;
pub mod streams;
pub mod tail;
pub mod token;
pub mod verify;
pub mod worker;

use crate::checkpoint::Location;
use crate::config::{self, Config, ConfigErrors, Endpoint, Loaded, LogFormat, StreamSpec};
use crate::error::{Code, Error};
use crate::preflight::Report;
use ask::{Instance, Refusal};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Carries every change of a MongoDB database to Kafka, in order, without losing one
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = after_help())]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// The configuration, and the stream in it that a command is about.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    pub config: &'a Config,
    pub stream: &'a StreamSpec,
}

impl<'a> Chosen<'a> {
    /// The stream that was named, or the only one.
    ///
    /// # Errors
    /// [`Code::Config`] where that does not say which one.
    pub fn of(config: &'a Config, which: &StreamArg) -> Result<Self, Error> {
        let stream = config.stream(which.stream.as_deref())?;
        Ok(Self { config, stream })
    }

    /// Where the stream's checkpoints are.
    fn location(self) -> Location<'a> {
        Location::of(&self.config.kafka, &self.config.mongo, self.stream)
    }
}

/// Which stream of `STREAMS` is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct StreamArg {
    /// Which stream: its name in STREAMS, or its id
    #[arg(long, value_name = "NAME", global = true)]
    pub stream: Option<String>,
}

/// What to do; `run` if no command is given.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Watch the database and produce to Kafka until stopped (the default)
    Run(RunArgs),
    /// Check configuration, MongoDB and Kafka, report what is missing, and exit
    Check(StreamArg),
    /// Print the configuration in force, without secrets, and where each value came from
    Config(ConfigArgs),
    /// Show the dead letters, or produce them again
    Dlq(dlq::DlqArgs),
    /// Ask the instance running here whether it is ready: exit code 0, otherwise 1
    Health,
    /// Show the status of the instance running here: exit code 0 unless it is unhealthy
    Status {
        #[command(flatten)]
        which: StreamArg,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Pause streams of the instance running here, after all that was read is committed
    Pause(StreamArg),
    /// Resume paused or failed streams
    Resume(StreamArg),
    /// Serve changes live to browsers and services, from Kafka and without any stream (LIVE_ADDR)
    Live,
    /// Carry out the jobs of listeners: hand each record of their topics to a service or a program
    Worker(worker::WorkerArgs),
    /// Copy what was there before the stream: start, stop, pause, resume and follow snapshots
    Snapshot(snapshot::SnapshotArgs),
    /// Show which instance has which stream, or give one to another (COORDINATION)
    Streams(streams::StreamsArgs),
    /// Stop the instance running here after it has drained; wait for it, and exit with its code
    Stop,
    /// Change the log level of the instance running here
    LogLevel {
        #[arg(value_parser = ["error", "warn", "info", "debug", "trace"])]
        level: String,
    },
    /// Keep listeners as code: list, show, lint, plan, apply, export and test them
    Listeners(listeners::ListenersArgs),
    /// Show the schedules and when they are due, or make a job of one now
    Schedules(schedules::SchedulesArgs),
    /// Show or move a stream's checkpoint
    Token(token::TokenArgs),
    /// Print changes as they happen, without Kafka and without a checkpoint
    Tail(tail::TailArgs),
    /// Show which topics this configuration writes, whether they exist and how they are configured
    Topics {
        #[command(flatten)]
        which: StreamArg,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Compare what Kafka holds with what MongoDB holds, document by document: exit code 1 if they differ
    Verify(verify::VerifyArgs),
    /// Compare what two watchers of one source have written: exit code 1 if they differ
    Compare(Box<compare::CompareArgs>),
    /// Go on where a connector of others stopped: its configuration and its offset
    Import(Box<import::ImportArgs>),
    /// Let a connector of others go on where the stream stopped: the way back
    Export(export::ExportArgs),
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct RunArgs {
    /// Do everything except produce and commit: create no topic, take over no checkpoint, fence nobody
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ConfigArgs {
    /// Print the table of all variables instead, in Markdown
    #[arg(long, conflicts_with_all = ["output", "example"])]
    pub reference: bool,
    /// Print an example .env file with all variables instead
    #[arg(long, conflicts_with = "output")]
    pub example: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

impl Cli {
    /// Reads the arguments; a wrong one, `--help` and `--version` end the process.
    pub fn parse() -> Self {
        let matches = Self::command_line().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    fn command_line() -> clap::Command {
        <Self as CommandFactory>::command()
    }

    /// The command that was asked for.
    pub fn command(self) -> Command {
        self.command
            .unwrap_or_else(|| Command::Run(RunArgs::default()))
    }
}

impl Command {
    /// Reads as much of the configuration as this command needs.
    ///
    /// # Errors
    /// Everything that is wrong with that, at once.
    pub fn configuration(&self) -> Result<Loaded, ConfigErrors> {
        match self {
            Command::Tail(_) | Command::Listeners(_) => Config::for_source_from_env(),
            Command::Live => Config::for_live_from_env(),
            Command::Compare(_) => Config::for_kafka_from_env(),
            Command::Worker(_) => Config::for_worker_from_env(),
            Command::Dlq(args) if args.is_of_jobs() => Config::for_worker_from_env(),
            Command::Import(args) => args.configuration(),
            _ => Config::from_env(),
        }
    }

    /// Carries out the commands that need neither server nor runtime; the exit code where this
    /// was one of them.
    pub fn answer(&self) -> Option<u8> {
        match self {
            Command::Run(_)
            | Command::Check(_)
            | Command::Dlq(_)
            | Command::Token(_)
            | Command::Tail(_)
            | Command::Live
            | Command::Verify(_)
            | Command::Compare(_)
            | Command::Import(_)
            | Command::Export(_)
            | Command::Topics { .. } => None,
            Command::Listeners(args) => args.answer(),
            Command::Worker(args) => args.answer(),
            Command::Config(args) if args.reference => Some(print(&config::reference())),
            Command::Config(args) if args.example => Some(print(&config::example_env())),
            Command::Config(args) => Some(match Config::from_env() {
                Ok(loaded) => print_config(&loaded, args.output),
                Err(errors) => refuse(&errors),
            }),
            Command::Health => Some(ask(Instance::ready)),
            Command::Status { which, output } => {
                Some(status::answer(which.stream.as_deref(), *output))
            }
            Command::Pause(which) => {
                let stream = which.stream.as_deref();
                Some(ask(|instance| instance.set_paused(true, stream)))
            }
            Command::Resume(which) => {
                let stream = which.stream.as_deref();
                Some(ask(|instance| instance.set_paused(false, stream)))
            }
            Command::Snapshot(args) => Some(snapshot::answer(args)),
            Command::Schedules(args) => Some(schedules::answer(args)),
            Command::Streams(args) => Some(streams::answer(args)),
            Command::Stop => Some(ask(Instance::stop)),
            Command::LogLevel { level } => Some(ask(|instance| -> Result<String, String> {
                let body = serde_json::json!({ "level": level }).to_string();
                instance.post("/admin/log-level", &body)?;
                Ok(format!("logs at {level} until it ends"))
            })),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                let mut command_line = Cli::command_line();
                clap_complete::generate(*shell, &mut command_line, NAME, &mut script);
                Some(print(&String::from_utf8_lossy(&script)))
            }
        }
    }
}

/// Asks the instance here and prints what it answers, or why that is no.
fn ask<R: Into<Refusal>>(question: impl FnOnce(&Instance) -> Result<String, R>) -> u8 {
    let endpoint = match Endpoint::from_env() {
        Ok(endpoint) => endpoint,
        Err(errors) => return refuse(&errors),
    };
    let answer: Result<String, Refusal> = match Instance::at(&endpoint) {
        Ok(instance) => question(&instance).map_err(Into::into),
        Err(reason) => Err(reason.into()),
    };
    match answer {
        Ok(answer) => print(&format!("{answer}\n")),
        Err(Refusal { sentence, exit }) => {
            complain(&sentence);
            exit
        }
    }
}

const NAME: &str = env!("CARGO_PKG_NAME");

/// Prints the configuration in force; warnings go to the error output.
pub fn print_config(loaded: &Loaded, output: Output) -> u8 {
    match output {
        Output::Text => {
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"));
            }
            print(&config::text(&loaded.settings))
        }
        Output::Json => print(&config_json(loaded)),
    }
}

fn config_json(loaded: &Loaded) -> String {
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let value = serde_json::json!({ "settings": loaded.settings, "warnings": warnings });
    format!("{value:#}\n")
}

/// Prints what the checks found; the exit code is that of the first error.
pub fn print_report(report: &Report, output: Output) -> u8 {
    let refused = report.refusal().or_else(|| report.waiting_for());
    let printed = print(&match output {
        Output::Text => report.to_string(),
        Output::Json => format!("{:#}\n", report.to_json()),
    });
    refused.map_or(printed, |error| error.code.exit_code())
}

/// Says what is wrong with the configuration, in the form of the log; gives the exit code.
pub fn refuse(errors: &ConfigErrors) -> u8 {
    let code = Code::Config;
    let log = config::log_from_env();
    match log.format {
        LogFormat::Text => complain(&errors.to_string()),
        LogFormat::Json => {
            crate::log::init(&log);
            for problem in &errors.problems {
                tracing::error!(
                    target: "tailwater::config",
                    code = code.name(),
                    variable = problem.variable,
                    "{problem}"
                );
            }
            for warning in &errors.warnings {
                tracing::warn!(target: "tailwater::config", variable = warning.variable, "{warning}");
            }
        }
    }
    code.exit_code()
}

fn complain(text: &str) {
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints an answer; a reader that has gone away (`| head`) is no failure.
fn print(text: &str) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Code::Internal.exit_code(),
        _ => 0,
    }
}

fn after_help() -> String {
    let mut out = String::from(
        "Configuration is read from environment variables, and from a file .env in the working \
         directory:\n  MONGODB_URI=mongodb://localhost:27017/dashboard KAFKA_BROKERS=localhost:9092 \
         tailwater\n`tailwater config --reference` and docs/configuration.md list all of them.\n\n\
         Exit codes:\n    0  stopped gracefully\n",
    );
    let mut codes = Code::ALL;
    codes.sort_by_key(|code| code.exit_code());
    for code in codes {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {:>3}  {code}: {}", code.exit_code(), meaning(code));
    }
    out.push_str(
        "  130  ended at once by a second signal\n\ndocs/errors.md says what to do about each.",
    );
    out
}

fn meaning(code: Code) -> &'static str {
    match code {
        Code::Internal => "a bug; of a command that asks (health, stop, …): no",
        Code::Config => "the configuration or the command line is wrong",
        Code::SourceRefused => "MongoDB refuses: credentials, privileges, no replica set, version",
        Code::SourceUnavailable => {
            "MongoDB cannot be reached (a run waits; see RECONNECT_MAX_RETRIES)"
        }
        Code::SourceMalformed => "MongoDB's replies are not what a change stream sends",
        Code::SinkRefused => "Kafka refuses: credentials, authorization, a missing topic",
        Code::SinkUnavailable => "Kafka cannot be reached (a run waits; see RECONNECT_MAX_RETRIES)",
        Code::TokenInvalid => "the resume token is malformed, or of another source or database",
        Code::HistoryLost => "the oplog no longer holds the position to resume at",
        Code::Fenced => "another instance has taken over this stream",
        Code::RecordRefused => "a record cannot be delivered, and ON_RECORD_ERROR=stop",
        Code::CheckpointFailed => "the checkpoint store cannot be read or written",
        Code::Exhausted => "the machine or a limit leaves no thread, memory or descriptor",
        Code::DrainTimedOut => {
            "stopping took longer than SHUTDOWN_TIMEOUT_MS; some changes will be repeated"
        }
    }
}

#[cfg(test)]
mod tests;
