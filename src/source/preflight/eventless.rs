//! What is watched, is there, and yet has no changes of its own: views and time-series collections.

use super::reach::Server;
use crate::checkpoint::filter::list;
use crate::config::{Scope, Source};
use crate::preflight::Finding;
use crate::source::filter::Filter;
use mongodb::results::{CollectionSpecification, CollectionType};
use std::collections::BTreeSet;

const NAME: &str = "mongodb.collections";

/// More views on views than a server allows.
const MAX_DEPTH: usize = 32;

/// A collection or view, and its database.
type Found<'a> = (&'a str, CollectionSpecification);

/// A finding for the views that are watched, and one for the time-series collections. Where everything is
/// watched, nobody has asked for them by name: then it is only worth knowing.
pub(super) fn findings(
    server: &Server,
    source: &Source,
    filter: &Filter,
    found: &[Found<'_>],
) -> Vec<Finding> {
    let of_kind = |kind: CollectionType| {
        let watched =
            |(db, c): &&Found<'_>| c.collection_type == kind && filter.watches(db, &c.name);
        found.iter().filter(watched).collect::<Vec<_>>()
    };
    let shown = |(db, c): &Found<'_>| display(source, db, &c.name);
    let say = |sentence: String| match filter.names_collections() {
        true => Finding::warn(NAME, sentence),
        false => Finding::ok(NAME, sentence),
    };
    let mut findings = Vec::new();
    let views = of_kind(CollectionType::View);
    if !views.is_empty() {
        let mut instead = BTreeSet::new();
        let described = views.iter().map(|view| {
            let (base, is_watched) = base(filter, found, view);
            match base {
                None => shown(view),
                Some(base) if is_watched => {
                    format!(
                        "{} (of {}, which is watched)",
                        shown(view),
                        display(source, view.0, base)
                    )
                }
                Some(base) => {
                    let base = display(source, view.0, base);
                    instead.insert(base.clone());
                    format!("{} (of {base})", shown(view))
                }
            }
        });
        let described: Vec<_> = described.collect();
        let sentence = format!("no changes come from a view: {}", list(&described));
        let instead: Vec<_> = instead.into_iter().collect();
        findings.push(match instead.is_empty() {
            true => say(sentence),
            false => say(sentence).remedy(format!(
                "watch what it is made from: add {} to WATCH_COLLECTIONS",
                list(&instead)
            )),
        });
    }
    let series: Vec<_> = of_kind(CollectionType::Timeseries)
        .into_iter()
        .map(shown)
        .collect();
    if !series.is_empty() {
        let sentence = format!(
            "no changes come from a time-series collection: {}",
            list(&series)
        );
        let why = match server.is_at_least((9, 0, 0)) {
            true => "MongoDB has no change events for them",
            false => {
                "MongoDB tells only of the buckets behind them (system.buckets.*), which are never watched"
            }
        };
        findings.push(say(sentence).remedy(format!(
            "{why}: write what should be carried to an ordinary collection as well"
        )));
    }
    findings
}

/// The collection at the root of a view, and whether changes come from there.
fn base<'a>(
    filter: &Filter,
    found: &'a [Found<'_>],
    view: &'a Found<'_>,
) -> (Option<&'a str>, bool) {
    let (database, mut at) = (view.0, &view.1);
    let mut name = None;
    for _ in 0..MAX_DEPTH {
        let Some(next) = at.options.view_on.as_deref() else {
            break;
        };
        name = Some(next);
        match found
            .iter()
            .find(|(db, c)| *db == database && c.name == next)
        {
            Some((_, next)) => at = next,
            // It may come later.
            None => break,
        }
    }
    let has_events = at.collection_type != CollectionType::Timeseries;
    let is_watched = name.is_some_and(|name| filter.watches(database, name) && has_events);
    (name.filter(|_| has_events), is_watched)
}

fn display(source: &Source, database: &str, collection: &str) -> String {
    match &source.scope {
        Scope::Database(_) => collection.to_owned(),
        Scope::Deployment { .. } => format!("{database}.{collection}"),
    }
}
