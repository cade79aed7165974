//! `tailwater listeners`: the listeners' collection, as code.

mod extended;
mod files;
mod plan;
mod shown;
mod trial;

use super::{Output, StreamArg, print};
use crate::change::namespace::Namespace;
use crate::config::{Config, Listeners, StreamSpec};
use crate::error::{Code, Error};
use crate::listener::fields;
use crate::process;
use clap::Subcommand;
use mongodb::Client;
use std::path::PathBuf;
use trial::TrialArgs;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ListenersArgs {
    #[command(flatten)]
    pub which: StreamArg,
    #[command(subcommand)]
    command: ListenersCommand,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum ListenersCommand {
    /// List the listeners of the collection, with their state
    List {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Show one listener, with its status
    Show {
        /// Its _id
        id: String,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Check files of listeners, without a server: exit code 2 where something is wrong
    Lint {
        /// YAML or JSON files; - for the standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The topics that listeners may name, as in LISTENERS_TOPICS
        #[arg(long, value_delimiter = ',')]
        topics: Vec<String>,
    },
    /// Say what apply would do: exit code 0 where that is nothing, else 1
    Plan(FileArgs),
    /// Bring the collection to what the file says
    ///
    /// Each listener is changed by itself, and only while it is still as it was read. One that somebody else has
    /// changed meanwhile is left and named, and the exit code is then 1: run it again.
    Apply(FileArgs),
    /// Print the collection as a file for apply
    Export {
        /// JSON instead of YAML
        #[arg(long)]
        json: bool,
    },
    /// Say whether listeners want an event, why not, and in which topic it would be: exit code 1 where none does
    Test(TrialArgs),
    /// Print the JSON Schema of files of listeners
    Schema,
}

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
struct FileArgs {
    /// The file, YAML or JSON; - for the standard input
    #[arg(short, long)]
    file: PathBuf,
    /// Delete the listeners that are not in the file
    #[arg(long)]
    prune: bool,
}

impl ListenersArgs {
    /// Carries out what needs no server; the exit code where this was such a command.
    pub(super) fn answer(&self) -> Option<u8> {
        match &self.command {
            ListenersCommand::Lint { files, topics } => Some(files::lint(files, topics)),
            ListenersCommand::Schema => Some(print(&format!("{:#}\n", fields::schema()))),
            ListenersCommand::Test(args) => trial::answer(args),
            _ => None,
        }
    }
}

/// The collection that a command is about.
struct Place {
    client: Client,
    listeners: Listeners,
}

impl Place {
    fn at(&self) -> &Namespace {
        &self.listeners.at
    }
}

/// Carries out a command that needs the server; the exit code.
///
/// # Errors
/// When there is no such collection, or the server refuses.
pub async fn run(args: &ListenersArgs, config: &Config) -> Result<u8, Error> {
    let streams = config.chosen(args.which.stream.as_deref())?;
    let of = |stream: &StreamSpec| stream.source.listeners.clone();
    let Some(listeners) = streams.iter().find_map(|stream| of(stream)) else {
        let detail = "LISTENERS_COLLECTION is not set; name the collection of the listeners, such as airank.listeners";
        return Err(Error::new(Code::Config, detail));
    };
    let name = streams
        .first()
        .map_or("listeners", |stream| stream.id.as_str());
    let client = process::connect(&config.mongo, name, 1).await?;
    let place = Place { client, listeners };
    match &args.command {
        ListenersCommand::List { output } => shown::list(&place, *output).await,
        ListenersCommand::Show { id, output } => shown::show(&place, id, *output).await,
        ListenersCommand::Export { json } => shown::export(&place, *json).await,
        ListenersCommand::Plan(file) => plan::plan(&place, &file.file, file.prune).await,
        ListenersCommand::Apply(file) => plan::apply(&place, &file.file, file.prune).await,
        ListenersCommand::Test(args) => trial::of_collection(&place, args).await,
        ListenersCommand::Lint { .. } | ListenersCommand::Schema => Ok(0),
    }
}
