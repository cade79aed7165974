//! `STREAMS`: several streams in one process, each with a name and what it watches.

use super::operations;
use crate::config::check::Check;
use crate::config::patterns::{covers, database_problem, is_literal, may_meet};
use crate::config::shown::quote;
use crate::config::variable::Variable;
use crate::config::{Scope, Source, table};

/// A stream that is to be: the name that it is given, if any, and what it watches.
pub(super) struct Entry {
    pub(super) name: Option<String>,
    pub(super) scope: Scope,
}

/// The streams of `STREAMS`; none where that is not set.
pub(super) fn entries(check: &mut Check<'_>) -> Option<Vec<Entry>> {
    let variable = &table::STREAMS;
    check.given(variable)?;
    let nothing = || {
        // What else is wrong can be told all the same.
        vec![Entry {
            name: None,
            scope: Scope::Database("?".into()),
        }]
    };
    if check.refuse_uri(variable) {
        return Some(nothing());
    }
    refuse_single(check);
    let texts = check.given(variable).unwrap_or_default().split(',');
    let mut entries: Vec<Entry> = Vec::new();
    let mut is_empty = true;
    for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
        is_empty = false;
        entries.extend(entry(check, text));
    }
    if is_empty {
        check.wrong(variable, format!("names no stream; {}", variable.right()));
    }
    for (index, entry) in entries.iter().enumerate() {
        for other in &entries[..index] {
            refuse_overlap(check, other, entry);
        }
    }
    if entries.is_empty() {
        return Some(nothing());
    }
    Some(entries)
}

/// What says which database a single stream watches has no meaning beside `STREAMS`.
fn refuse_single(check: &mut Check<'_>) {
    for variable in [
        &table::MONGODB_DATABASE,
        &table::WATCH_DATABASES,
        &table::STREAM_ID,
    ] {
        if check.given(variable).is_some() {
            check.wrong(
                variable,
                "STREAMS is set too, and says which streams there are; unset one of the two",
            );
        }
    }
}

/// `name`, or `name=pattern|pattern`.
fn entry(check: &mut Check<'_>, text: &str) -> Option<Entry> {
    let variable = &table::STREAMS;
    let shown = quote(text);
    let mut wrong = |sentence: String| {
        check.wrong(variable, sentence);
        None
    };
    let (name, databases) = match text.split_once('=') {
        Some((name, patterns)) => {
            let patterns = patterns.split('|').map(str::trim);
            let patterns: Vec<_> = patterns.filter(|p| !p.is_empty()).collect();
            (name.trim(), patterns)
        }
        None if is_literal(text) => (text, vec![text]),
        None => {
            return wrong(format!(
                "{shown} is a pattern without a name; give it one, as in tenants={text}"
            ));
        }
    };
    if name.is_empty() || databases.is_empty() {
        return wrong(format!("{shown} is not whole; {}", variable.right()));
    }
    if name.contains(['*', '|']) {
        return wrong(format!(
            "{shown}: a stream's name holds no * and no |; {}",
            variable.right()
        ));
    }
    for database in databases.iter().filter(|database| is_literal(database)) {
        if let Some(problem) = database_problem(database) {
            return wrong(format!("{shown}: {problem}"));
        }
    }
    let name = operations::name(check, variable, name);
    let scope = match databases.as_slice() {
        [only] if is_literal(only) => Scope::Database((*only).to_owned()),
        several => Scope::Deployment {
            databases: several.iter().map(|&name| name.to_owned()).collect(),
        },
    };
    Some(Entry {
        name: Some(name),
        scope,
    })
}

/// Two streams over one database would produce each of its changes twice.
fn refuse_overlap(check: &mut Check<'_>, one: &Entry, other: &Entry) {
    let variable = &table::STREAMS;
    let (Some(first), Some(second)) = (&one.name, &other.name) else {
        return;
    };
    if first == second {
        check.wrong(
            variable,
            format!("the name {first} is given twice; give each stream a name of its own"),
        );
        return;
    }
    for ours in databases(&one.scope) {
        for theirs in databases(&other.scope) {
            if may_meet(ours, theirs) {
                let what = match is_literal(ours) && is_literal(theirs) {
                    true => format!("the database {ours}"),
                    false => format!("a database that both {ours} and {theirs} match"),
                };
                check.wrong(
                    variable,
                    format!(
                        "{first} and {second} would both watch {what}, and produce its changes twice; \
                         let one of them leave it out"
                    ),
                );
            }
        }
    }
}

/// The names or patterns of the databases that a scope holds.
fn databases(scope: &Scope) -> &[String] {
    match scope {
        Scope::Database(name) => std::slice::from_ref(name),
        Scope::Deployment { databases } => databases,
    }
}

/// What a stream of `STREAMS` reads: of the lists, which name `database.collection` then, what is in its
/// databases.
pub(super) fn narrowed(check: &mut Check<'_>, all: &Source, entry: &Entry) -> Source {
    let mut source = Source {
        scope: entry.scope.clone(),
        ..all.clone()
    };
    let Some(name) = &entry.name else {
        return source;
    };
    source.watch = within(&all.watch, &entry.scope);
    source.exclude = within(&all.exclude, &entry.scope);
    if source.watch.is_empty() && !all.watch.is_empty() {
        check.wrong(
            &table::WATCH_COLLECTIONS,
            format!(
                "names no collection of the stream {name}; add some, as in {}.* for all of them",
                databases(&entry.scope)[0]
            ),
        );
    }
    source
}

/// Refuses what names no database, and warns of what is in no stream.
pub(super) fn check_lists(check: &mut Check<'_>, all: &Source, entries: &[Entry]) {
    let lists: [(&Variable, &[String]); 2] = [
        (&table::WATCH_COLLECTIONS, &all.watch),
        (&table::EXCLUDE_COLLECTIONS, &all.exclude),
    ];
    for (variable, patterns) in lists {
        for pattern in patterns {
            let shown = quote(pattern);
            if !pattern.contains('.') {
                check.wrong(
                    variable,
                    format!(
                        "{shown} names no database; with STREAMS give database.collection, such as *.{shown}"
                    ),
                );
            } else if entries
                .iter()
                .all(|entry| within(std::slice::from_ref(pattern), &entry.scope).is_empty())
            {
                check.warn(
                    variable,
                    format!("{shown} is in none of the databases of STREAMS"),
                );
            }
        }
    }
}

/// The patterns of a list that speak of the databases of a scope, in the form that the scope needs.
fn within(patterns: &[String], scope: &Scope) -> Vec<String> {
    let split = patterns
        .iter()
        .filter_map(|pattern| Some((pattern, pattern.split_once('.')?)));
    split
        .filter_map(|(pattern, (database, collection))| match scope {
            Scope::Database(name) => covers(database, name).then(|| collection.to_owned()),
            Scope::Deployment { databases } => databases
                .iter()
                .any(|known| may_meet(known, database))
                .then(|| pattern.clone()),
        })
        .collect()
}
