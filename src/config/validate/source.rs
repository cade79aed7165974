//! The source's part: what is watched, how it is read, where it begins.

use crate::change::position::ResumeToken;
use crate::config::check::Check;
use crate::config::patterns::{covers, database_problem, is_literal};
use crate::config::shown::quote;
use crate::config::uri::{self, Uri};
use crate::config::{
    FullDocument, Mongo, PreImages, Resume, ResumeBackend, Scope, Secret, Source, StartAt,
};
use crate::config::{stages, table};
use crate::retry::Retry;

/// How the deployment is reached.
pub(super) fn mongo(check: &mut Check<'_>, uri: Option<Uri>) -> Mongo {
    // A command that can do without it must see that it is not there.
    let uri = uri.filter(|_| check.given(&table::MONGODB_URI).is_some());
    Mongo {
        uri: Secret::new(uri.map(|uri| uri.text).unwrap_or_default()),
        retry: Retry {
            first: check.millis(&table::RECONNECT_DELAY_MS),
            most: check
                .number(&table::RECONNECT_MAX_RETRIES)
                .unwrap_or_default(),
        },
    }
}

/// What is read of `scope`.
pub(super) fn build(check: &mut Check<'_>, scope: Scope) -> Source {
    let (full_document, pre_images) = images(check);
    Source {
        scope,
        watch: check.list(&table::WATCH_COLLECTIONS),
        exclude: check.list(&table::EXCLUDE_COLLECTIONS),
        lease_database: None,
        schedules: None,
        of_workers: Vec::new(),
        listeners: None,
        operations: operations(check),
        full_document,
        pre_images,
        user_pipeline: user_pipeline(check),
        show_expanded_events: check.flag(&table::SHOW_EXPANDED_EVENTS),
        start_at: start_at(check),
        batch_bytes: check.bytes(&table::SOURCE_BATCH_BYTES),
    }
}

/// Which documents come with an event.
pub(super) fn images(check: &mut Check<'_>) -> (FullDocument, PreImages) {
    let full_document = [
        ("default", FullDocument::Default),
        ("updateLookup", FullDocument::UpdateLookup),
        ("whenAvailable", FullDocument::WhenAvailable),
        ("required", FullDocument::Required),
    ];
    let pre_images = [
        ("off", PreImages::Off),
        ("whenAvailable", PreImages::WhenAvailable),
        ("required", PreImages::Required),
    ];
    let full_document = check.choose(&table::FULL_DOCUMENT, &full_document);
    let pre_images = check.choose(&table::FULL_DOCUMENT_BEFORE_CHANGE, &pre_images);
    (
        full_document.unwrap_or(FullDocument::UpdateLookup),
        pre_images.unwrap_or(PreImages::Off),
    )
}

/// `MONGODB_URI`, with a warning for each option that would do nothing; none where it is wrong.
pub(super) fn uri(check: &mut Check<'_>) -> Option<Uri> {
    let variable = &table::MONGODB_URI;
    match uri::read(check.required(variable)) {
        Ok(uri) => {
            for sentence in &uri.left_out {
                check.warn(variable, sentence.as_str());
            }
            Some(uri)
        }
        Err(sentences) => {
            for sentence in sentences {
                check.wrong(variable, sentence);
            }
            None
        }
    }
}

/// One database (`MONGODB_DATABASE`, else the URI's path) or those of `WATCH_DATABASES`.
pub(super) fn scope(check: &mut Check<'_>, uri: Option<&Uri>) -> Scope {
    let Some(uri) = uri else {
        // Whether it names a database cannot be known, so nothing more is said of that.
        return Scope::Database(check.given(&table::MONGODB_DATABASE).unwrap_or("?").into());
    };
    let in_path = uri.database.clone();
    let databases = check.list(&table::WATCH_DATABASES);
    let named = check.given(&table::MONGODB_DATABASE);
    if !databases.is_empty() {
        let also = match (named, &in_path) {
            (Some(_), _) => Some("MONGODB_DATABASE is set too; unset one of the two"),
            (None, Some(_)) => Some(
                "MONGODB_URI names a database in its path too; take it out, and where it is for \
                 authentication write /?authSource=<database>",
            ),
            (None, None) => None,
        };
        if let Some(also) = also {
            check.wrong(&table::WATCH_DATABASES, also);
        }
        for name in databases.iter().filter(|name| is_literal(name)) {
            if let Some(problem) = database_problem(name) {
                check.wrong(
                    &table::WATCH_DATABASES,
                    format!("{}: {problem}", quote(name)),
                );
            }
        }
        return Scope::Deployment { databases };
    }
    if let Some(name) = named {
        if let Some(problem) = database_problem(name) {
            check.wrong(
                &table::MONGODB_DATABASE,
                format!("{problem}; {}", table::MONGODB_DATABASE.right()),
            );
        }
        return Scope::Database(name.to_owned());
    }
    let Some(name) = in_path else {
        if check.given(&table::MONGODB_URI).is_some() {
            check.wrong(
                &table::MONGODB_URI,
                "names no database; add it to the path as in mongodb://localhost:27017/dashboard, \
                 or set MONGODB_DATABASE, or WATCH_DATABASES for several",
            );
        }
        return Scope::Database("?".into());
    };
    if let Some(problem) = database_problem(&name) {
        check.wrong(
            &table::MONGODB_URI,
            format!(
                "its database is {name}: {problem}; set MONGODB_DATABASE to the one to watch, \
                 where {name} is for authentication"
            ),
        );
    }
    Scope::Database(name)
}

fn operations(check: &mut Check<'_>) -> Vec<String> {
    let known = ["insert", "update", "replace", "delete"];
    let given = check.list(&table::WATCH_OPERATIONS);
    let mut operations = Vec::new();
    for name in given {
        match known.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
            Some(known) => operations.push((*known).to_owned()),
            None => check.wrong(
                &table::WATCH_OPERATIONS,
                format!(
                    "{} is no operation on a document; {}",
                    quote(&name),
                    table::WATCH_OPERATIONS.right()
                ),
            ),
        }
    }
    operations
}

fn user_pipeline(check: &mut Check<'_>) -> Vec<bson::Document> {
    let variable = &table::CHANGE_STREAM_PIPELINE;
    let Some(text) = check.given(variable) else {
        return Vec::new();
    };
    match stages::parse(text) {
        Ok(stages) => stages,
        Err(problems) => {
            for problem in problems {
                check.wrong(variable, problem);
            }
            Vec::new()
        }
    }
}

fn start_at(check: &mut Check<'_>) -> StartAt {
    let variable = &table::START_AT;
    let text = check.text(variable).unwrap_or("now");
    if text.eq_ignore_ascii_case("now") {
        return StartAt::Now;
    }
    if text.eq_ignore_ascii_case("earliest") {
        return StartAt::Earliest;
    }
    if let Some(data) = text.strip_prefix("token:") {
        if data.is_empty() || !data.bytes().all(|b| b.is_ascii_hexdigit()) {
            check.wrong(
                variable,
                "the token is not in hexadecimal digits; give its _data, as in token:8265A1B2…",
            );
        }
        return StartAt::Token(ResumeToken::from_data(data));
    }
    let Ok(time) = text.parse::<jiff::Timestamp>() else {
        check.wrong(
            variable,
            format!(
                "is neither a time nor one of these words; {}",
                variable.right()
            ),
        );
        return StartAt::Now;
    };
    match u32::try_from(time.as_second()) {
        Ok(seconds) => {
            if time > jiff::Timestamp::now() {
                check.warn(variable, "is in the future: nothing is carried until then");
            }
            StartAt::Time(seconds)
        }
        Err(_) => {
            check.wrong(
                variable,
                "is outside of what an oplog can hold; give a time from 1970 to 2106",
            );
            StartAt::Now
        }
    }
}

/// Says where the lists leave nothing to watch, or name what can never be watched.
pub(super) fn check_reach(check: &mut Check<'_>, source: &Source, resume: &Resume) {
    let deployment = match &source.scope {
        Scope::Deployment { databases } => Some(databases),
        Scope::Database(_) => None,
    };
    if let Some(databases) = deployment {
        check_qualified(check, source, databases);
    }
    let everything = if deployment.is_some() { "*.*" } else { "*" };
    if source
        .exclude
        .iter()
        .any(|exclude| covers(exclude, everything))
    {
        check.wrong(
            &table::EXCLUDE_COLLECTIONS,
            "excludes every collection; name those to leave out",
        );
        return;
    }
    let own = own_collections(source, resume);
    let excluded = |name: &String| {
        source
            .exclude
            .iter()
            .chain(&own)
            .any(|exclude| covers(exclude, name))
    };
    let (lost, left): (Vec<_>, Vec<_>) = source.watch.iter().partition(|name| excluded(name));
    if !lost.is_empty() && left.is_empty() {
        check.wrong(
            &table::WATCH_COLLECTIONS,
            "nothing is left of it: all are in EXCLUDE_COLLECTIONS, or are system.* or Tailwater's \
             own; name a collection that is not",
        );
    } else {
        for name in lost {
            check.warn(
                &table::WATCH_COLLECTIONS,
                format!("{} is excluded, so it is not watched", quote(name)),
            );
        }
    }
    if let Scope::Database(database) = &source.scope {
        let prefix = format!("{database}.");
        for name in source.watch.iter().filter(|name| name.starts_with(&prefix)) {
            check.warn(
                &table::WATCH_COLLECTIONS,
                format!(
                    "{} is taken for a collection whose name begins with {prefix}; with one \
                     database, names go without it",
                    quote(name)
                ),
            );
        }
    }
}

/// With several databases, a pattern names both.
fn check_qualified(check: &mut Check<'_>, source: &Source, databases: &[String]) {
    let lists = [
        (&table::WATCH_COLLECTIONS, &source.watch),
        (&table::EXCLUDE_COLLECTIONS, &source.exclude),
    ];
    for (variable, patterns) in lists {
        for pattern in patterns {
            let shown = quote(pattern);
            let Some((database, _)) = pattern.split_once('.') else {
                check.wrong(
                    variable,
                    format!(
                        "{shown} names no database; with WATCH_DATABASES give \
                         database.collection, such as *.{shown}"
                    ),
                );
                continue;
            };
            let meets = |known: &String| covers(known, database) || covers(database, known);
            if (is_literal(database) || databases.iter().all(|known| is_literal(known)))
                && !databases.iter().any(meets)
            {
                check.warn(variable, format!("{shown} is in none of WATCH_DATABASES"));
            }
        }
    }
}

/// What is always left out.
fn own_collections(source: &Source, resume: &Resume) -> Vec<String> {
    let qualify = |database: Option<&str>, collection: &str| match (&source.scope, database) {
        (Scope::Deployment { .. }, Some(database)) => Some(format!("{database}.{collection}")),
        (Scope::Deployment { .. }, None) => Some(format!("*.{collection}")),
        (Scope::Database(watched), Some(database)) if watched != database => None,
        (Scope::Database(_), _) => Some(collection.to_owned()),
    };
    let mut own = Vec::from_iter(qualify(None, "system.*"));
    if let ResumeBackend::MongoDb {
        database,
        collection,
        ..
    } = &resume.backend
    {
        own.extend(qualify(Some(database), collection));
    }
    own
}
