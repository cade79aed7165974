//! Changes of a collection, as they are heard: so that it need not be read again and again.

use super::describe::{custom, describe};
use bson::{Document, doc};
use futures_util::StreamExt;
use mongodb::Collection;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How long the server holds a question that it has no answer to.
const AWAIT: Duration = Duration::from_secs(10);
/// After how long a watch that ended is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Whoever is told of the changes.
pub trait Hears: Send + Sync + 'static {
    /// Changes are heard from now on; what happened before is not.
    fn begun(&self);
    fn event(&self, event: ChangeStreamEvent<Document>);
    /// Changes are not heard for a while.
    fn ended(&self);
}

/// What is watched, in words: for the log.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    pub what: &'static str,
    /// What is done while changes are not heard.
    pub meanwhile: &'static str,
}

/// Tells of changes until it is dropped. Documents do not come with them, nor what `hidden` names.
pub async fn follow(
    collection: Collection<Document>,
    hidden: &[&str],
    hears: Arc<impl Hears>,
    watched: Watched,
) {
    let Watched { what, meanwhile } = watched;
    let mut slim = doc! {"fullDocument": 0};
    slim.extend(hidden.iter().map(|name| ((*name).to_owned(), 0.into())));
    let slim = doc! {"$project": slim};
    let at = collection.namespace();
    let mut is_told = false;
    loop {
        let until_its_end = async {
            let watch = collection.watch().pipeline([slim.clone()]);
            let mut events = watch.max_await_time(AWAIT).await?;
            if std::mem::take(&mut is_told) {
                tracing::info!(collection = %at, "changes of {what} are heard again");
            }
            hears.begun();
            while let Some(event) = events.next().await {
                let event = event?;
                let is_over = event.operation_type == OperationType::Invalidate;
                hears.event(event);
                if is_over {
                    return Ok(());
                }
            }
            Err(custom("the change stream has ended"))
        };
        let ended = until_its_end.await;
        hears.ended();
        if let Err(error) = ended
            && !std::mem::replace(&mut is_told, true)
        {
            tracing::warn!(
                collection = %at, error = describe(&error),
                "changes of {what} are not heard; {meanwhile} meanwhile"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Tells that something has changed, and not what.
#[derive(Debug)]
pub struct Changes {
    changed: Notify,
    is_heard: AtomicBool,
    /// Fields that only Tailwater writes.
    own: &'static [&'static str],
}

impl Changes {
    /// Of what others write than these fields.
    pub fn beside(own: &'static [&'static str]) -> Self {
        Self {
            changed: Notify::new(),
            is_heard: AtomicBool::new(false),
            own,
        }
    }

    /// Waits for the next change; one that came before is not missed.
    pub async fn next(&self) {
        self.changed.notified().await;
    }

    /// Whether changes are heard. Otherwise the documents must be read again and again.
    pub fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Relaxed)
    }

    fn is_own(&self, event: &ChangeStreamEvent<Document>) -> bool {
        let Some(description) = event.update_description.as_ref() else {
            return false;
        };
        let is_own = |name: &str| {
            let field = name.split('.').next().unwrap_or_default();
            self.own.contains(&field)
        };
        description.updated_fields.keys().all(|name| is_own(name))
            && description.removed_fields.iter().all(|name| is_own(name))
    }
}

impl Hears for Changes {
    fn begun(&self) {
        self.is_heard.store(true, Ordering::Relaxed);
        // What happened before is read.
        self.changed.notify_one();
    }

    fn event(&self, event: ChangeStreamEvent<Document>) {
        if !self.is_own(&event) {
            self.changed.notify_one();
        }
    }

    fn ended(&self) {
        self.is_heard.store(false, Ordering::Relaxed);
        // A drop, a rename: what is there now is read.
        self.changed.notify_one();
    }
}
