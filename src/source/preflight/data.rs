//! Whether what is to be watched is there, and keeps the images that were asked for.

use super::eventless;
use super::reach::Server;
use crate::checkpoint::filter::list;
use crate::config::{FullDocument, PreImages, Scope, Source};
use crate::error::Code;
use crate::mongo::describe::describe;
use crate::preflight::Finding;
use crate::source::filter::Filter;
use futures_util::TryStreamExt;
use mongodb::Client;
use mongodb::results::{CollectionSpecification, CollectionType};

/// How many databases of a deployment are looked into.
const MAX_DATABASES: usize = 100;

pub(super) async fn run(
    client: &Client,
    source: &Source,
    filter: &Filter,
    server: &Server,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names = match &source.scope {
        Scope::Database(name) => vec![name.clone()],
        Scope::Deployment { .. } => match client.list_database_names().await {
            Ok(names) => names
                .into_iter()
                .filter(|name| filter.watches_database(name))
                .take(MAX_DATABASES)
                .collect(),
            Err(error) => {
                let sentence = format!("may not list databases ({})", describe(&error));
                return vec![Finding::ok("mongodb.databases", sentence)];
            }
        },
    };
    let mut collections = Vec::new();
    for name in &names {
        match collections_of(client, name).await {
            Ok(found) => collections.extend(found.into_iter().map(|found| (name.as_str(), found))),
            Err(error) => {
                let said = describe(&error);
                let sentence = format!(
                    "may not list the collections of {name} ({said}): whether what is watched exists, is a \
                     view, or keeps images is not known"
                );
                findings.push(Finding::ok("mongodb.collections", sentence));
                return findings;
            }
        }
    }
    findings.push(databases(source, collections.is_empty(), &names));
    let watched: Vec<_> = collections
        .iter()
        .filter(|(db, c)| {
            c.collection_type == CollectionType::Collection && filter.watches(db, &c.name)
        })
        .collect();
    findings.extend(missing(source, filter, &collections));
    findings.extend(eventless::findings(server, source, filter, &collections));
    findings.extend(images(source, &watched));
    findings
}

async fn collections_of(
    client: &Client,
    database: &str,
) -> mongodb::error::Result<Vec<CollectionSpecification>> {
    client
        .database(database)
        .list_collections()
        .await?
        .try_collect()
        .await
}

fn databases(source: &Source, is_empty: bool, names: &[String]) -> Finding {
    match &source.scope {
        Scope::Database(name) if is_empty => Finding::warn(
            "mongodb.database",
            format!("database {name} does not exist yet; its first change will be seen"),
        )
        .remedy("check the name in MONGODB_URI or MONGODB_DATABASE"),
        Scope::Database(name) => Finding::ok("mongodb.database", format!("database {name} exists")),
        Scope::Deployment { .. } if names.is_empty() => Finding::warn(
            "mongodb.database",
            "no database matches WATCH_DATABASES yet; the first change of one will be seen",
        ),
        Scope::Deployment { .. } => Finding::ok(
            "mongodb.database",
            format!("databases watched: {}", list(names)),
        ),
    }
}

/// Watched names without a collection: no error, they may come later, but often a typing error.
fn missing(
    source: &Source,
    filter: &Filter,
    found: &[(&str, CollectionSpecification)],
) -> Option<Finding> {
    let is_there = |name: &String| match &source.scope {
        Scope::Database(_) => found.iter().any(|(_, c)| c.name == *name),
        Scope::Deployment { .. } => name.split_once('.').is_some_and(|(db, coll)| {
            found
                .iter()
                .any(|(in_db, c)| *in_db == db && c.name == coll)
        }),
    };
    if filter.watches_nothing() {
        let sentence = "every collection of WATCH_COLLECTIONS is excluded: nothing is watched";
        return Some(Finding::warn("mongodb.collections", sentence));
    }
    let absent: Vec<String> = source
        .watch
        .iter()
        .filter(|name| !name.contains('*') && !is_there(name))
        .cloned()
        .collect();
    (!absent.is_empty()).then(|| {
        let sentence = format!(
            "watched collections that do not exist yet: {}",
            list(&absent)
        );
        Finding::ok("mongodb.collections", sentence)
    })
}

/// Collections that do not keep the images which the stream was told to send.
fn images(source: &Source, watched: &[&(&str, CollectionSpecification)]) -> Option<Finding> {
    const NAME: &str = "mongodb.pre_images";
    let asked = [
        (
            source.pre_images == PreImages::Required,
            true,
            "FULL_DOCUMENT_BEFORE_CHANGE=required",
        ),
        (
            source.full_document == FullDocument::Required,
            true,
            "FULL_DOCUMENT=required",
        ),
        (
            source.pre_images == PreImages::WhenAvailable,
            false,
            "FULL_DOCUMENT_BEFORE_CHANGE=whenAvailable",
        ),
        (
            source.full_document == FullDocument::WhenAvailable,
            false,
            "FULL_DOCUMENT=whenAvailable",
        ),
    ];
    let (_, is_required, variable) = *asked.iter().find(|(is_asked, ..)| *is_asked)?;
    let without: Vec<_> = watched.iter().filter(|(_, c)| !keeps_images(c)).collect();
    let Some((database, first)) = without.first() else {
        let sentence = "the watched collections keep pre- and post-images";
        return Some(Finding::ok(NAME, sentence));
    };
    let names: Vec<String> = without.iter().map(|(_, c)| c.name.clone()).collect();
    let sentence = format!("{variable}, but no images are kept of: {}", list(&names));
    let finding = if is_required {
        Finding::error(NAME, Code::SourceRefused, sentence)
    } else {
        Finding::warn(NAME, sentence)
    };
    Some(finding.remedy(format!(
        "turn them on for each, as in:\n\
         db.getSiblingDB({database:?}).runCommand({{collMod: {:?}, \
         changeStreamPreAndPostImages: {{enabled: true}}}})",
        first.name
    )))
}

fn keeps_images(collection: &CollectionSpecification) -> bool {
    collection
        .options
        .change_stream_pre_and_post_images
        .as_ref()
        .is_some_and(|images| images.enabled)
}
