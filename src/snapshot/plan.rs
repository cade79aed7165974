//! What is read next: the ranges of the parts, then the collections that the walk comes to.

use super::page;
use super::progress::{Bounds, Part, Progress, Range, Scan};
use super::reading::Source;
use crate::change::namespace::Namespace;
use crate::source::collections;
use crate::tasks;
use bson::{Bson, Document, doc};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// A collection is read in ranges of at least so many documents side by side, as far as that gives few enough.
const RANGE: u64 = 20_000;

/// How many collections are counted at a time.
const COUNTED: usize = 8;

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
    listed: Option<Listed>,
    /// How the first of these is divided, while others still read the one before it.
    ahead: Option<AbortOnDropHandle<Vec<Bounds>>>,
    next: i64,
}

/// The collections of a walk.
#[derive(Debug)]
struct Listed {
    left: VecDeque<Found>,
    /// How many documents a range should have: with fewer, asking where ranges begin costs more than it brings.
    range: u64,
}

#[derive(Debug)]
struct Found {
    at: Namespace,
    filter: Option<Document>,
    /// How many documents there are, as the server estimates; none where only some of them are wanted.
    total: Option<u64>,
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
            ahead: None,
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
    pub(super) async fn next(&mut self, source: &Arc<Source>) -> mongodb::error::Result<Next> {
        if let Some((of, range)) = self.ranges.pop_front() {
            if self.ranges.len() <= source.spec.parallelism {
                self.look_ahead(source);
            }
            return Ok(Next::Range(of, range));
        }
        let Some(scan) = &self.scan else {
            return Ok(Next::Over);
        };
        if self.listed.is_none() {
            self.listed = Some(Listed::of(source, scan).await?);
        }
        self.look_ahead(source);
        let listed = self.listed.as_mut();
        let Some(Found { at, filter, total }) = listed.and_then(|listed| listed.left.pop_front())
        else {
            self.scan = None;
            return Ok(Next::Over);
        };
        let bounds = match self.ahead.take() {
            Some(ahead) => ahead.await.unwrap_or_else(|_| vec![Bounds::ALL]),
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

    /// Asks where the ranges of the next collection begin, unless it is read in one.
    fn look_ahead(&mut self, source: &Arc<Source>) {
        let Some(listed) = self.listed.as_ref().filter(|_| self.ahead.is_none()) else {
            return;
        };
        let Some(Found { at, total, .. }) = listed.left.front() else {
            return;
        };
        let ranges = ranges(total.unwrap_or(0), listed.range, source.spec.parallelism);
        if ranges > 1 {
            let (source, at) = (Arc::clone(source), at.clone());
            let divided = tasks::spawn(async move { divide(&source, &at, ranges).await });
            self.ahead = Some(AbortOnDropHandle::new(divided));
        }
    }
}

/// In how many ranges a collection of `total` documents is read.
fn ranges(total: u64, range: u64, parallelism: usize) -> usize {
    let most = most_ranges(parallelism);
    match parallelism {
        0 | 1 => 1,
        _ => usize::try_from(total / range)
            .unwrap_or(most)
            .clamp(1, most),
    }
}

fn most_ranges(parallelism: usize) -> usize {
    (parallelism * 4).min(MOST_RANGES)
}

impl Listed {
    /// Those that the walk has not come to, in the order of their names.
    async fn of(source: &Source, scan: &Scan) -> mongodb::error::Result<Self> {
        let found = stream::iter(list(source, scan).await?);
        let found = found.map(|at| async move {
            let filter = source.spec.filter_of(&at).cloned();
            let total = match filter {
                None => count(source, &at).await,
                Some(_) => None,
            };
            Found { at, filter, total }
        });
        let left: VecDeque<Found> = found.buffered(COUNTED).collect().await;
        // Collections are read side by side as well: only one that would be read alone in the end is divided.
        let all: u64 = left.iter().filter_map(|found| found.total).sum();
        let range = RANGE.max(all / most_ranges(source.spec.parallelism) as u64);
        Ok(Self { left, range })
    }
}

/// The collections that the walk has not come to, in the order of their names.
async fn list(source: &Source, scan: &Scan) -> mongodb::error::Result<Vec<Namespace>> {
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

/// So many ranges of a collection; one where the server gives no sample.
async fn divide(source: &Source, at: &Namespace, ranges: usize) -> Vec<Bounds> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_divided_where_it_would_be_read_alone() {
        let shared = |all: u64| RANGE.max(all / most_ranges(2) as u64);
        assert_eq!(ranges(100_000, shared(1_000_000), 2), 1, "one of ten");
        assert_eq!(ranges(10_000_000, shared(10_000_000), 2), 8, "the only one");
        assert_eq!(ranges(9_000_000, shared(10_000_000), 2), 7, "most of all");
        assert_eq!(ranges(50_000, shared(50_000), 2), 2, "small");
        assert_eq!(
            ranges(10_000_000, shared(10_000_000), 1),
            1,
            "nobody beside"
        );
    }
}
