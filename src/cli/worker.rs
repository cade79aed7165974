//! `tailwater worker`: carrying out jobs, and what is asked of the worker that runs here.

mod list;

use super::ask::{Instance, Refusal};
use super::{Output, files, print, refuse};
use crate::config::{Config, Endpoint};
use crate::error::Error;
use crate::worker::handler::{self, fields};
use clap::Subcommand;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct WorkerArgs {
    #[command(subcommand)]
    command: WorkerCommand,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum WorkerCommand {
    /// Work until stopped: more of them with the same WORKER_GROUP share the jobs
    Start,
    /// Show the workers of WORKER_GROUP, the partitions that each has, and how many jobs wait
    List {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Show what the worker here does and waits for: exit code 0 unless it is no member of its group
    Status {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Let the worker here begin no more jobs
    Pause,
    /// Let it begin jobs again
    Resume,
    /// Stop the worker here after what runs has ended; wait for it, and exit with its code
    Stop,
    /// Check files of handlers, without a server: exit code 2 where something is wrong
    Lint {
        /// YAML or JSON files; - for the standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of files of handlers
    Schema,
}

impl WorkerArgs {
    /// Carries out what needs no Kafka; the exit code where this was such a command.
    pub(super) fn answer(&self) -> Option<u8> {
        Some(match &self.command {
            WorkerCommand::Start | WorkerCommand::List { .. } => return None,
            WorkerCommand::Status { output } => status(*output),
            WorkerCommand::Pause => ask(|worker| {
                worker.post("/admin/pause", "")?;
                Ok("paused: no job begins, and what runs goes on".to_owned())
            }),
            WorkerCommand::Resume => ask(|worker| {
                worker.post("/admin/resume", "")?;
                Ok("resumed".to_owned())
            }),
            WorkerCommand::Stop => ask(Instance::stop),
            WorkerCommand::Lint { files } => lint(files),
            WorkerCommand::Schema => print(&format!("{:#}\n", fields::schema())),
        })
    }
}

impl WorkerArgs {
    /// Asks Kafka for what needs no worker of this process; the exit code where this was such a command.
    ///
    /// # Errors
    /// When Kafka does not answer, or refuses to.
    pub async fn asked(&self, config: &Config) -> Result<Option<u8>, Error> {
        match self.command {
            WorkerCommand::List { output } => list::run(config.clone(), output).await.map(Some),
            _ => Ok(None),
        }
    }
}

/// Asks the worker here.
fn ask(question: impl FnOnce(&Instance) -> Result<String, Refusal>) -> u8 {
    super::ask(|instance| question(&instance.of_worker()))
}

fn status(output: Output) -> u8 {
    let mut exit = 0;
    let printed = ask(|worker| {
        let health = worker.get("/health")?;
        if !health["worker"].is_string() {
            return Err("this is no worker; HTTP_ADDR says which process is asked"
                .to_owned()
                .into());
        }
        exit = u8::from(health["status"] == "unhealthy");
        Ok(match output {
            Output::Json => format!("{health:#}"),
            Output::Text => told(&health),
        })
    });
    printed.max(exit)
}

/// The health of a worker in lines.
fn told(health: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut out = format!(
        "worker of {}: {}, {}, {} partitions of {} topics",
        word(&health["worker"]),
        word(&health["status"]),
        word(&health["state"]),
        health["partitions"],
        health["topics"].as_array().map_or(0, Vec::len),
    );
    // Writing to a string does not fail.
    for (job, counts) in health["jobs"].as_object().into_iter().flatten() {
        let _ = write!(
            out,
            "\n  {job}: {} waiting, {} active, {} to be tried again; {} completed, {} failed, {} retried",
            counts["waiting"],
            counts["active"],
            counts["parked"],
            counts["completed"],
            counts["failed"],
            counts["retried"],
        );
    }
    for (job, handler) in health["handlers"].as_object().into_iter().flatten() {
        if let Some(held) = handler["held"].as_str() {
            let _ = write!(out, "\n  {job} is held: {held}");
        }
    }
    for wait in health["waits"].as_object().into_iter().flatten() {
        let _ = write!(out, "\n  waiting: {}", word(&wait.1["what"]));
    }
    out
}

fn lint(files: &[PathBuf]) -> u8 {
    // What a worker with this environment would refuse is wrong here, too.
    let allows_private = match Endpoint::allows_private() {
        Ok(allows_private) => allows_private,
        Err(errors) => return refuse(&errors),
    };
    files::lint(files, |path| {
        let text = files::text(path).map_err(|sentence| vec![sentence])?;
        let handlers = handler::read(path, &text, Some(allows_private))
            .map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let shown = handlers.values();
        Ok(shown
            .map(|handler| format!("{}: {}", handler.job, handler.call))
            .collect())
    })
}
