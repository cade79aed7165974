//! `tailwater listeners test`: whether listeners want an event.

use super::extended::line;
use super::{Place, files};
use crate::change::event::Event;
use crate::cli::ask::NO;
use crate::cli::files::text;
use crate::cli::{complain, print};
use crate::error::{Code, Error};
use crate::listener::entry::{self, Entry};
use crate::listener::file;
use crate::listener::trial::{self, Happening, Verdict, judge};
use crate::listener::{Definition, told};
use crate::source::listeners::collection;
use bson::{Bson, Document};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["event", "document"])))]
pub(super) struct TrialArgs {
    /// A file with listeners, which needs no server; or the _id of one in the collection
    listener: String,
    /// A file with a change event in Extended JSON
    #[arg(long)]
    event: Option<PathBuf>,
    /// A file with a document in Extended JSON, to which the operation happens
    #[arg(long)]
    document: Option<PathBuf>,
    /// What happens to the document
    #[arg(long, requires = "document", default_value = "insert")]
    operation: String,
    /// The database of the document; that of the listener, or test
    #[arg(long, requires = "document")]
    database: Option<String>,
    /// The collection of the document; that of the listener
    #[arg(long, requires = "document")]
    collection: Option<String>,
    /// Of a delete: there is a pre-image
    #[arg(long, requires = "document")]
    pre_image: bool,
}

/// Tries the listeners of a file; none where no file is named.
pub(super) fn answer(args: &TrialArgs) -> Option<u8> {
    let path = Path::new(&args.listener);
    if args.listener != "-" && !path.exists() {
        return None;
    }
    Some(match files::required(path, &[]) {
        Ok(items) => {
            let all: Vec<_> = items
                .iter()
                .map(|item| (&item.document, &item.entry))
                .collect();
            tried(args, &all)
        }
        Err(error) => {
            complain(&error.detail);
            Code::Config.exit_code()
        }
    })
}

/// Tries the listener of the collection that is named.
pub(super) async fn of_collection(place: &Place, args: &TrialArgs) -> Result<u8, Error> {
    let documents = collection::all(&place.client, place.at()).await?;
    let Some(found) = documents
        .iter()
        .find(|document| entry::name(document) == args.listener)
    else {
        let what = &args.listener;
        complain(&format!(
            "{what} is neither a file nor the _id of a listener in {}",
            place.at()
        ));
        return Ok(NO);
    };
    let read = entry::read(found).map_err(|problems| {
        let detail = format!("the listener is invalid: {}", told(&problems));
        Error::new(Code::Config, detail)
    })?;
    let settings = documents
        .iter()
        .filter(|document| entry::is_of_database(document));
    let settings: Vec<_> = settings
        .filter_map(|document| Some((document, entry::read(document).ok()?)))
        .collect();
    let mut all: Vec<_> = settings
        .iter()
        .map(|(document, entry)| (*document, entry))
        .collect();
    all.push((found, &read));
    Ok(tried(args, &all))
}

/// Asks each listener, and prints what it answers; 1 where none wants the event.
fn tried(args: &TrialArgs, all: &[(&Document, &Entry)]) -> u8 {
    let mut out = String::new();
    let mut matches = 0;
    for (document, entry) in all {
        let Entry::Listener(listener) = entry else {
            continue;
        };
        let raw = match event(args, listener) {
            Ok(raw) => raw,
            Err(problem) => {
                complain(&problem);
                return Code::Config.exit_code();
            }
        };
        let event = match Event::parse(&raw) {
            Ok(event) => event,
            Err(error) => {
                complain(&format!("--event is no change event: {error}"));
                return Code::Config.exit_code();
            }
        };
        let title = entry::title(document);
        // Writing to a string does not fail.
        let _ = match judge(
            listener,
            trial::settings(all, event.database).as_ref(),
            &event,
        ) {
            Verdict::Matches { topic } => {
                matches += 1;
                writeln!(out, "{title}: matches, and makes a record in {topic}")
            }
            Verdict::Not { reasons } => {
                writeln!(out, "{title}: does not match: {}", reasons.join("; "))
            }
        };
    }
    match (print(&out), matches) {
        (0, 0) => NO,
        (printed, _) => printed,
    }
}

fn document(path: &Path) -> Result<Document, String> {
    let name = path.display();
    let text = text(path).map_err(|problem| format!("{name}: {problem}"))?;
    match file::value(path, &text) {
        Ok(Bson::Document(document)) => Ok(document),
        Ok(other) => Err(format!("{name}: is no object, but {}", line(&other))),
        Err(problem) => Err(format!("{name}: {problem}")),
    }
}

/// The event as bytes.
fn event(args: &TrialArgs, listener: &Definition) -> Result<Vec<u8>, String> {
    let event = match (&args.event, &args.document) {
        (Some(path), _) => document(path)?,
        (None, Some(path)) => {
            let happening = Happening {
                operation: &args.operation,
                database: args.database.as_deref(),
                collection: args.collection.as_deref(),
                has_pre_image: args.pre_image,
            };
            happening.event(listener, document(path)?)
        }
        (None, None) => Document::new(),
    };
    trial::raw(event)
}
