//! From the documents of a set to what is asked about events.

use super::{Compiled, Listener, Read};
use crate::listener::definition::{Definition, Problem};
use crate::listener::document::{LONGEST_ID, id_text};
use crate::listener::index::{Entry, Index};
use crate::listener::set::{Id, Set};
use crate::listener::settings::{DEFAULTS, Effective, Settings};
use crate::route::{ListenerTag, RouteError, Router, TopicId};
use crate::status::listeners::{Defined, State};
use bson::{Bson, Document};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Compiled {
    /// Reads a whole set.
    pub(in crate::listener) fn all(&mut self, set: &Set, router: &Router) {
        self.read = set
            .documents()
            .map(|(id, document)| (id.clone(), self.read(document, router)))
            .collect();
        self.arrange(set);
    }

    /// Reads the one document of a set that has changed.
    pub(in crate::listener) fn one(&mut self, id: &Id, set: &Set, router: &Router) {
        match set.document(id) {
            Some(document) => {
                let read = self.read(document, router);
                self.read.insert(id.clone(), read);
            }
            None => {
                self.read.remove(id);
            }
        }
        self.arrange(set);
    }

    fn read(&self, document: &Document, router: &Router) -> Read {
        match document.get("kind") {
            Some(Bson::String(kind)) if kind == "database" => match Settings::read(document) {
                Ok(settings) => Read::Settings(settings),
                Err(_) => Read::Nothing,
            },
            _ => self.listener(document, router),
        }
    }

    fn listener(&self, document: &Document, router: &Router) -> Read {
        let id = document.get("_id").cloned().unwrap_or(Bson::Null);
        let name = id_text(&id);
        let read = self.definition(document, &name);
        let text = |field: &str| document.get_str(field).ok().map(str::to_owned);
        let described = |state| Defined {
            state,
            job: text("jobName").unwrap_or_default(),
            collection: text("collection").unwrap_or_default(),
            database: text("database"),
        };
        let invalid = |reason: String| {
            self.statuses
                .define(&id, &name, described(State::Invalid(reason)));
            Read::Nothing
        };
        let definition = match read {
            Ok(definition) => definition,
            Err(reason) => return invalid(reason),
        };
        if !definition.is_active {
            self.statuses.define(&id, &name, described(State::Disabled));
            return Read::Nothing;
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
        let status = self.statuses.define(&id, &name, described(State::Active));
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
        if Set::has_no_room(document) {
            return Err("the listeners have more than 8 MiB together; remove some".to_owned());
        }
        match document.get("kind") {
            None | Some(Bson::Null) => {}
            Some(Bson::String(kind)) if kind == "listener" => {}
            Some(_) => return Err("kind: is neither \"listener\" nor \"database\"".to_owned()),
        }
        let definition = Definition::read(document).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
            problems.join("; ")
        })?;
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
    fn arrange(&mut self, set: &Set) {
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
        self.arrange_settings(set);
        let is_listener = |document: &Document| !matches!(document.get("kind"), Some(Bson::String(kind)) if kind == "database");
        let names: BTreeSet<_> = set
            .documents()
            .filter(|(_, document)| is_listener(document))
            .filter_map(|(_, document)| document.get("_id").map(id_text))
            .collect();
        self.statuses.retain(|name| names.contains(name));
    }

    fn arrange_settings(&mut self, set: &Set) {
        let all = || {
            self.read.values().filter_map(|read| match read {
                Read::Settings(settings) => Some(settings),
                Read::Listener(_) | Read::Nothing => None,
            })
        };
        let defaults = all().find(|settings| settings.database == DEFAULTS);
        self.databases = all()
            .filter(|settings| settings.database != DEFAULTS)
            .map(|settings| (settings.database.clone(), settings.over(defaults).into()))
            .collect();
        self.defaults = defaults.cloned().map(Effective::from).unwrap_or_default();
        let mut wrong = BTreeMap::new();
        for (_, document) in set.documents() {
            if let Some(Bson::String(kind)) = document.get("kind")
                && kind == "database"
                && let Err(problems) = Settings::read(document)
            {
                let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
                let id = document.get("_id").map(id_text).unwrap_or_default();
                wrong.insert(id, problems.join("; "));
            }
        }
        self.statuses.wrong_settings(wrong);
    }
}

fn not_allowed(name: &str) -> RouteError {
    RouteError::TopicNotAllowed {
        name: name.to_owned(),
    }
}
