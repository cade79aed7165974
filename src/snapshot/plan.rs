//! What is read next: the ranges of the parts, then the collections that the walk comes to.

use super::page;
use super::progress::{Bounds, Part, Progress, Range, Scan};
use super::reading::Source;
use crate::change::namespace::Namespace;
use crate::source::collections;
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use std::collections::VecDeque;
use std::sync::Arc;

/// A collection is read in ranges of about so many documents side by side, as far as that gives few enough.
const RANGE: u64 = 20_000;

/// How many documents of a large collection are looked at for each of its ranges.
const SAMPLE: usize = 20;

/// The most ranges that one collection is divided into.
const MOST_RANGES: usize = 16;

/// One collection, as those need it who read it.
#[derive(Debug)]
pub(super) struct Of {
    pub(super) part: i64,
    pub(super) at: Namespace,
    pub(super) filter: Option<Document>,
}

/// What is left to be given out.
#[derive(Debug)]
pub(super) struct Plan {
    ranges: VecDeque<(Arc<Of>, Range)>,
    scan: Option<Scan>,
    /// What the walk has found and not come to; none before it was listed.
    listed: Option<VecDeque<Namespace>>,
    next: i64,
}

/// What the plan has for one who reads.
pub(super) enum Next {
    Range(Arc<Of>, Range),
    /// A collection was come to; its ranges follow.
    Began(Part),
    Over,
}

impl Plan {
    pub(super) fn of(progress: &Progress) -> Self {
        let mut plan = Self {
            ranges: VecDeque::new(),
            scan: progress.scan.clone(),
            listed: None,
            next: progress.next(),
        };
        for part in &progress.parts {
            plan.put(part);
        }
        plan
    }

    fn put(&mut self, part: &Part) {
        let of = Arc::new(Of {
            part: part.number,
            at: part.at.clone(),
            filter: part.filter.clone(),
        });
        let ranges = part.ranges.iter().cloned();
        self.ranges
            .extend(ranges.map(|range| (Arc::clone(&of), range)));
    }

    /// What is to be read next.
    ///
    /// # Errors
    /// The driver's, where the collections cannot be listed; asked again, it tries again.
    pub(super) async fn next(&mut self, source: &Source) -> mongodb::error::Result<Next> {
        if let Some((of, range)) = self.ranges.pop_front() {
            return Ok(Next::Range(of, range));
        }
        let Some(scan) = &self.scan else {
            return Ok(Next::Over);
        };
        let listed = match &mut self.listed {
            Some(listed) => listed,
            None => self.listed.insert(list(source, scan).await?),
        };
        let Some(at) = listed.pop_front() else {
            self.scan = None;
            return Ok(Next::Over);
        };
        let filter = source.spec.filter_of(&at).cloned();
        let total = match filter {
            None => count(source, &at).await,
            Some(_) => None,
        };
        let bounds = match total {
            Some(total) => divide(source, &at, total).await,
            None => vec![Bounds::ALL],
        };
        let mut number = || {
            self.next += 1;
            self.next - 1
        };
        let part = Part {
            number: number(),
            at,
            filter,
            ranges: bounds
                .into_iter()
                .map(|of| Range {
                    number: number(),
                    of,
                })
                .collect(),
            again: Vec::new(),
            rounds: 0,
            rows: 0,
            bytes: 0,
            total,
        };
        self.put(&part);
        Ok(Next::Began(part))
    }
}

/// The collections that the walk has not come to, in the order of their names.
async fn list(source: &Source, scan: &Scan) -> mongodb::error::Result<VecDeque<Namespace>> {
    let found = collections::found(&source.client, &source.scope, &source.filter).await?;
    let wanted = |at: &Namespace| {
        let is_new = scan.after.as_ref().is_none_or(|after| at > after);
        is_new && source.spec.takes(at)
    };
    if scan.after.is_none() {
        let all = found.iter().map(|found| &found.namespace);
        for (variable, name) in source.spec.unused(all) {
            tracing::warn!(
                variable,
                name,
                "no watched collection has this name, so that nothing is copied for it; is it misspelt?"
            );
        }
    }
    let mut found: Vec<_> = found.into_iter().filter(|f| wanted(&f.namespace)).collect();
    found.sort_by(|one, other| one.namespace.cmp(&other.namespace));
    let (collections, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| found.has_changes);
    if !others.is_empty() && scan.after.is_none() {
        let names: Vec<_> = others.iter().map(|o| o.namespace.to_string()).collect();
        tracing::info!(
            names = names.join(", "),
            "views and time-series collections are not copied: they have no changes that could follow"
        );
    }
    Ok(collections
        .into_iter()
        .map(|found| found.namespace)
        .collect())
}

/// How many documents there are, as the server estimates; it is needed for nothing but that.
async fn count(source: &Source, at: &Namespace) -> Option<u64> {
    let counted = source
        .client
        .database(&at.database)
        .run_command(doc! {"count": &at.collection})
        .await
        .ok()?;
    match counted.get("n")? {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Double(number) => Some(*number as u64),
        _ => None,
    }
}

/// The ranges of a collection of about so many documents; one where the server gives no sample.
async fn divide(source: &Source, at: &Namespace, total: u64) -> Vec<Bounds> {
    let most = (source.spec.parallelism * 4).min(MOST_RANGES);
    let ranges = usize::try_from(total / RANGE).unwrap_or(most).min(most);
    if source.spec.parallelism < 2 || ranges < 2 {
        return vec![Bounds::ALL];
    }
    let sample = [
        doc! {"$sample": {"size": (ranges * SAMPLE) as i64}},
        doc! {"$project": {"_id": 1}},
        doc! {"$sort": {"_id": 1}},
    ];
    let collection = source
        .client
        .database(&at.database)
        .collection::<Document>(&at.collection);
    let sampled = async {
        let found = collection.aggregate(sample).await?;
        found.try_collect::<Vec<Document>>().await
    };
    let Ok(mut sampled) = sampled.await else {
        return vec![Bounds::ALL];
    };
    let ids: Vec<_> = sampled.iter_mut().filter_map(|s| s.remove("_id")).collect();
    page::split(&ids, ranges)
}
