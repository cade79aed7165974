//! What the server is asked for while listeners change what is wanted.
//!
//! The filter is as narrow as the listeners allow, so that a busy collection that nobody listens to costs nothing.
//! It never decides what is delivered: whatever comes is decided upon once more in this process.

use super::filter::Filter;
use super::listeners;
use super::user_stages::{self, ALWAYS};
use crate::change::namespace::Namespace;
use crate::change::operations::Operations;
use crate::config::StreamSpec;
use crate::route::Interest;
use bson::{Bson, Document, doc};
use std::collections::BTreeMap;

/// The filter of a stream with listeners, for whatever they want.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    at: Namespace,
    /// What listeners may have.
    reach: Filter,
    /// What the configuration's own topics get; none where they get nothing.
    configured: Option<Filter>,
    user_stages: Vec<Document>,
}

impl Asked {
    /// That of a stream; none without listeners.
    pub(super) fn of(stream: &StreamSpec) -> Option<Self> {
        let listeners = stream.source.listeners.as_ref()?;
        let at = listeners.at.clone();
        let user_stages = stream.source.user_pipeline.iter();
        Some(Self {
            user_stages: user_stages
                .map(|stage| user_stages::mended(stage, Some(&at)))
                .collect(),
            at,
            reach: Filter::of_listeners(stream),
            configured: listeners.beside_topics.then(|| Filter::of(stream)),
        })
    }

    /// Our own stages, and all of them with the user's.
    pub(super) fn stages(&self, interest: &Interest) -> (Vec<Document>, Vec<Document>) {
        let own = match interest {
            Interest::Everything => self.reach.own_stages(),
            Interest::Only(collections) => vec![doc! {"$match": self.only(collections)}],
        };
        let all = own.iter().chain(&self.user_stages).cloned().collect();
        (own, all)
    }

    fn only(&self, collections: &BTreeMap<String, Operations>) -> Document {
        // One condition for all collections of which the same is wanted.
        let mut by_operations = BTreeMap::<Vec<&str>, Vec<Bson>>::new();
        for (name, operations) in collections {
            let names: Vec<_> = operations.names().collect();
            let alike = by_operations.entry(names).or_default();
            alike.push(Bson::from(name.as_str()));
        }
        let mut wanted = vec![doc! {"operationType": {"$in": ALWAYS.to_vec()}}];
        wanted.extend(by_operations.into_iter().map(|(operations, collections)| {
            doc! {"ns.coll": {"$in": collections}, "operationType": {"$in": operations}}
        }));
        let reach = doc! {"$and": [{"$or": wanted}, self.reach.scoped()]};
        let mut branches = vec![reach];
        branches.extend(self.configured.as_ref().map(Filter::scoped));
        branches.extend(listeners::changes(&self.at));
        doc! {"$or": branches}
    }
}
