//! From the documents of a set to what is asked about events.

use super::{Compiled, Listener, Read};
use crate::listener::definition::{Definition, told};
use crate::listener::document::{LONGEST_ID, id_text, plain};
use crate::listener::entry::{is_of_database, kind_of};
use crate::listener::index::{Entry, Index};
use crate::listener::set::{Id, Set};
use crate::listener::settings::{DEFAULTS, Effective, Settings};
use crate::route::{ListenerTag, RouteError, Router, TopicId};
use crate::status::listeners::{Defined, State};
use bson::{Bson, Document};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Compiled {
    /// Reads a whole set, which [`arrange`](Self::arrange) puts in force.
    pub(in crate::listener) fn read_all(&mut self, set: &Set, router: &Router) {
        self.read = set
            .documents()
            .map(|(id, document)| (id.clone(), self.read(document, router)))
            .collect();
    }

    /// Reads the one document of a set that has changed, which [`arrange`](Self::arrange) puts in force.
    pub(in crate::listener) fn read_one(&mut self, id: &Id, set: &Set, router: &Router) {
        match set.document(id) {
            Some(document) => {
                let read = self.read(document, router);
                self.read.insert(id.clone(), read);
            }
            None => {
                self.read.remove(id);
            }
        }
    }

    fn read(&self, document: &Document, router: &Router) -> Read {
        let id = document.get("_id").cloned().unwrap_or(Bson::Null);
        let name = id_text(&id);
        match is_of_database(document) {
            false => self.listener(document, &id, name, router),
            true => match Settings::read(document) {
                Ok(settings) => Read::Settings { name, settings },
                Err(problems) => Read::WrongSettings {
                    name,
                    reason: told(&problems),
                },
            },
        }
    }

    fn listener(&self, document: &Document, id: &Bson, name: String, router: &Router) -> Read {
        let read = self.definition(document, &name);
        let text = |field: &str| document.get_str(field).ok().map(plain);
        let described = |state| Defined {
            state,
            job: text("jobName").unwrap_or_default(),
            collection: text("collection").unwrap_or_default(),
            database: text("database"),
        };
        let invalid = |reason: String| {
            self.statuses
                .define(id, &name, described(State::Invalid(reason)));
            Read::Idle { name: name.clone() }
        };
        let definition = match read {
            Ok(definition) => definition,
            Err(reason) => return invalid(reason),
        };
        if !definition.is_active {
            self.statuses.define(id, &name, described(State::Disabled));
            return Read::Idle { name };
        }
        let fixed = definition
            .topic
            .is_fixed()
            .then(|| self.topic(&definition.topic.fixed_text(), router));
        if let Some(Err(error)) = &fixed {
            return invalid(format!("topic: {error}"));
        }
        let Some(target) = self.numbers.target(&name) else {
            return invalid("too many listeners were made since the start; restart".to_owned());
        };
        let status = self.statuses.define(id, &name, described(State::Active));
        Read::Listener(Arc::new(Listener {
            tag: Arc::new(ListenerTag {
                id: name,
                job: definition.job.clone(),
                priority: definition.priority.clone(),
            }),
            definition,
            status,
            target,
            fixed,
        }))
    }

    /// What a document defines, or why it is invalid.
    fn definition(&self, document: &Document, name: &str) -> Result<Definition, String> {
        if name.len() > LONGEST_ID {
            return Err(format!(
                "its _id has more than {LONGEST_ID} characters, and is a header of each record; use a shorter one"
            ));
        }
        kind_of(document).map_err(|problem| problem.to_string())?;
        let definition = Definition::read(document).map_err(|problems| told(&problems))?;
        (self.admission.0)(&definition)?;
        let shape = definition.topic.with_wildcards();
        if !self.configured.allow(&shape) {
            return Err(not_allowed(&definition.topic_text).to_string());
        }
        Ok(definition)
    }

    pub(super) fn topic(&self, name: &str, router: &Router) -> Result<TopicId, Box<RouteError>> {
        if !self.configured.allow(name) || self.configured.is_reserved(name) {
            return Err(Box::new(not_allowed(name)));
        }
        router.topic_named(name).map_err(Box::new)
    }

    /// Makes what is asked from what was read.
    pub(in crate::listener) fn arrange(&mut self) {
        let mut index = Index::default();
        self.active.clear();
        self.by_target.clear();
        self.destinations.clear();
        for read in self.read.values() {
            let Read::Listener(listener) = read else {
                continue;
            };
            let definition = &listener.definition;
            index.add(Entry {
                place: u32::try_from(self.active.len()).unwrap_or(u32::MAX),
                collection: &definition.collection,
                database: definition.database.as_deref(),
                operations: definition.operations,
                equality: definition.filter.equality(),
                id: definition
                    .document_key
                    .as_ref()
                    .and_then(|key| Some(key.equality()?.1)),
            });
            self.by_target
                .insert(listener.target, Arc::clone(&listener.status));
            self.active.push(Arc::clone(listener));
        }
        self.index = Arc::new(index);
        self.arrange_settings();
        let names: BTreeSet<_> = self.read.values().filter_map(Read::listener).collect();
        self.statuses.retain(|name| names.contains(name));
    }

    fn arrange_settings(&mut self) {
        let mut of = BTreeMap::<&str, (&str, &Settings)>::new();
        let mut wrong = BTreeMap::new();
        for read in self.read.values() {
            match read {
                Read::Settings { name, settings } => match of.get(settings.database.as_str()) {
                    None => {
                        of.insert(&settings.database, (name, settings));
                    }
                    Some((first, _)) => {
                        let reason = format!(
                            "database: those of {} are in {first} already; remove one of the two",
                            plain(&settings.database)
                        );
                        wrong.insert(name.clone(), reason);
                    }
                },
                Read::WrongSettings { name, reason } => {
                    wrong.insert(name.clone(), reason.clone());
                }
                Read::Listener(_) | Read::Idle { .. } => {}
            }
        }
        let defaults = of.remove(DEFAULTS).map(|(_, settings)| settings);
        let own = of.values().map(|(_, settings)| {
            let effective = settings.over(defaults).into();
            (settings.database.clone(), effective)
        });
        self.databases = own.collect();
        self.defaults = defaults.cloned().map(Effective::from).unwrap_or_default();
        self.statuses.wrong_settings(wrong);
    }
}

fn not_allowed(name: &str) -> RouteError {
    RouteError::TopicNotAllowed {
        name: name.to_owned(),
    }
}
