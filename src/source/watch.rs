//! What a stream asks the server for, in the server's words.

use super::Filter;
use super::asked::Asked;
use super::capabilities::{Capabilities, Capability};
use super::cursor::{MAX_AWAIT, Start};
use super::listeners;
use crate::change::namespace::Namespace;
use crate::config::{FullDocument, PreImages, Scope, Source, StreamSpec};
use crate::route::Interest;
use bson::{Bson, Document, doc};
use std::sync::Arc;
use std::time::Duration;

/// What to watch, already put into the server's words.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The database; none watches the deployment.
    pub database: Option<String>,
    /// Options of the `$changeStream` stage, without the start.
    pub options: Document,
    /// The stages behind it: our filter, then the user's.
    pub stages: Vec<Document>,
    /// What the server is known to have.
    pub capabilities: Arc<Capabilities>,
    /// Whether events over 16 MiB come in fragments, where the server can (`$changeStreamSplitLargeEvent`).
    pub splits: bool,
    /// How long the server waits for an event before it answers that there is none.
    pub patience: Duration,
    /// Where the listeners are, whose changes must always come whole.
    pub listeners: Option<Namespace>,
    /// How the stages follow from what listeners want; none without listeners.
    pub(super) asked: Option<Arc<Asked>>,
    /// The same events with little more than token and key, to get past one that cannot be sent whole.
    pub without_images: WithoutImages,
}

/// A stream without images and update descriptions, and without the user's stages: one that matches on
/// the document would hide the very event that is looked for.
#[derive(Debug, Clone, Default)]
pub struct WithoutImages {
    /// Options of the `$changeStream` stage, without images.
    pub options: Document,
    /// Our own filter alone.
    pub stages: Vec<Document>,
}

impl Watch {
    /// What a stream asks for.
    pub fn of(stream: &StreamSpec) -> Self {
        let (source, filter) = (&stream.source, Filter::of_listeners(stream));
        Self {
            database: match &source.scope {
                Scope::Database(name) if source.only().is_none() => Some(name.clone()),
                Scope::Database(_) | Scope::Deployment { .. } => None,
            },
            options: change_stream_options(source, Images::Configured),
            stages: filter.stages(),
            capabilities: Arc::default(),
            splits: true,
            patience: MAX_AWAIT,
            without_images: WithoutImages {
                options: change_stream_options(source, Images::Without),
                stages: filter.own_stages(),
            },
            listeners: source
                .listeners
                .as_ref()
                .map(|listeners| listeners.at.clone()),
            asked: Asked::of(stream).map(Arc::new),
        }
    }

    /// Whether stages of the user's follow our own.
    pub fn has_user_stages(&self) -> bool {
        self.stages.len() > self.without_images.stages.len()
    }

    /// The aggregate command that opens a cursor; with a first batch of 0 events the position it starts
    /// from is known before any event is read.
    pub fn command(&self, start: &Start, first_batch: u32) -> Document {
        let mut change_stream = self.options.clone();
        match start {
            Start::After(token) => {
                let token = Document::try_from(token.as_raw()).unwrap_or_default();
                // It takes an `invalidate`'s token, too, and `resumeAfter` does not.
                let option = match self.capabilities.lacks(Capability::StartAfter) {
                    true => "resumeAfter",
                    false => "startAfter",
                };
                change_stream.insert(option, token);
            }
            Start::At(time) => {
                let time = bson::Timestamp::from(*time);
                change_stream.insert("startAtOperationTime", time);
            }
            Start::Now => {}
        }
        let mut pipeline = vec![Bson::from(doc! { "$changeStream": change_stream })];
        pipeline.extend(self.stages.iter().cloned().map(Bson::from));
        if self.splits && !self.capabilities.lacks(Capability::Split) {
            pipeline.push(Bson::from(doc! { "$changeStreamSplitLargeEvent": {} }));
        }
        doc! {
            "aggregate": 1,
            "pipeline": pipeline,
            "cursor": { "batchSize": first_batch },
            // What was not replicated to a majority may be rolled back: never an event.
            "readConcern": { "level": "majority" },
        }
    }

    /// What to watch to learn an event's token and key alone.
    pub fn without_images(&self) -> Self {
        let mut stages = self.without_images.stages.clone();
        stages.push(match &self.listeners {
            None => doc! { "$unset": "updateDescription" },
            Some(at) => listeners::without_description(at),
        });
        Self {
            database: self.database.clone(),
            options: self.without_images.options.clone(),
            stages,
            capabilities: Arc::clone(&self.capabilities),
            splits: false,
            patience: self.patience,
            without_images: self.without_images.clone(),
            listeners: self.listeners.clone(),
            asked: None,
        }
    }

    /// Asks for what listeners want, and no more.
    pub fn ask(&mut self, interest: &Interest) {
        if let Some(asked) = &self.asked {
            (self.without_images.stages, self.stages) = asked.stages(interest);
        }
    }

    /// What to watch to learn when the database was dropped: whatever hides that or the `invalidate` that
    /// follows, its time tells where the stream continues.
    pub fn drops(&self) -> Self {
        let dropped = ["dropDatabase", "invalidate"];
        Self {
            stages: vec![doc! { "$match": { "operationType": { "$in": dropped.to_vec() } } }],
            ..self.without_images()
        }
    }

    /// The database the command is sent to.
    pub fn command_database(&self) -> &str {
        self.database.as_deref().unwrap_or("admin")
    }
}

/// Which images of the document the server shall send along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// As `FULL_DOCUMENT` and `FULL_DOCUMENT_BEFORE_CHANGE` say.
    Configured,
    /// None: to get past an event that is too large with them.
    Without,
}

/// The options of the `$changeStream` stage, without the point to start from.
pub fn change_stream_options(source: &Source, images: Images) -> Document {
    let mut options = Document::new();
    if images == Images::Configured {
        let full_document = match source.full_document {
            FullDocument::Default => None,
            FullDocument::UpdateLookup => Some("updateLookup"),
            FullDocument::WhenAvailable => Some("whenAvailable"),
            FullDocument::Required => Some("required"),
        };
        let before = match source.pre_images {
            PreImages::Off => None,
            PreImages::WhenAvailable => Some("whenAvailable"),
            PreImages::Required => Some("required"),
        };
        // A server of before 6.0 refuses options that it does not know, even when off.
        options.extend(full_document.map(|value| ("fullDocument".into(), value.into())));
        options.extend(before.map(|value| ("fullDocumentBeforeChange".into(), value.into())));
    }
    if source.show_expanded_events {
        options.insert("showExpandedEvents", true);
    }
    if matches!(source.scope, Scope::Deployment { .. }) || source.only().is_some() {
        options.insert("allChangesForCluster", true);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::position::ResumeToken;

    #[test]
    fn the_cursor_starts_after_where_the_server_is_not_known_to_lack_it() {
        let watch = Watch {
            database: Some("d".into()),
            options: doc! { "fullDocument": "updateLookup" },
            stages: vec![doc! { "$match": {} }],
            capabilities: Arc::default(),
            splits: true,
            patience: MAX_AWAIT,
            without_images: WithoutImages::default(),
            listeners: None,
            asked: None,
        };
        let command = watch.command(&Start::After(ResumeToken::from_data("82")), 0);
        let pipeline = command.get_array("pipeline").unwrap();
        let first = pipeline[0]
            .as_document()
            .unwrap()
            .get_document("$changeStream")
            .unwrap();
        assert_eq!(
            first.get_document("startAfter").unwrap(),
            &doc! { "_data": "82" }
        );
        assert!(!first.contains_key("resumeAfter"));
        let last = pipeline.last().unwrap().as_document().unwrap();
        assert!(last.contains_key("$changeStreamSplitLargeEvent"));
    }
}
