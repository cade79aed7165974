//! What is made in the listeners' collection at a start: its index, and the listeners of `LISTENERS_BOOTSTRAP`. A
//! stream whose user may not make them goes on without, and tries again.

use crate::change::namespace::Namespace;
use crate::config::Listeners;
use crate::error::{Code, Error};
use crate::log::event_id;
use crate::source::listeners::{bootstrap, indexes};
use crate::source::opener::Opener;
use crate::status::waiting::Awaited;
use crate::stream::waiting::retrying;
use futures_util::FutureExt;
use mongodb::Client;

/// What the user of a stream may not make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    index: bool,
    bootstrap: bool,
}

impl Missing {
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Tries once more, and says what is there now.
    pub async fn make(&mut self, client: &Client, listeners: &Listeners) {
        let at = &listeners.at;
        if self.index {
            self.index =
                matches!(indexes::ensure(client, at).await, Err(refused) if refused.is_of_rights);
            if !self.index {
                tracing::info!(
                    event_id = event_id::LISTENERS_INDEX,
                    "this user may make the unique index of the listeners now"
                );
            }
        }
        if self.bootstrap
            && let Some(bootstrap) = &listeners.bootstrap
        {
            // Whatever is in the way now is tried again as well; the log says it when that is over.
            self.bootstrap = bootstrap::run(client, at, bootstrap).await.is_err();
        }
    }
}

/// Makes the index, and the listeners that are missing.
///
/// # Errors
/// What is permanent and no missing right, or was not over within `RECONNECT_MAX_RETRIES`.
pub(super) async fn prepare(opener: &Opener, listeners: &Listeners) -> Result<Missing, Error> {
    let waiting = [opener.board.waits.begin(Awaited::MongoDb)];
    let (client, at) = (&opener.client, &listeners.at);
    let mut missing = Missing::default();
    if let Err(refused) = indexes::ensure(client, at).await {
        missing.index = refused.is_of_rights;
        tracing::warn!(
            event_id = event_id::LISTENERS_INDEX,
            collection = %at,
            index = indexes::NAME,
            "the unique index of the listeners cannot be made: {}",
            refused.sentence
        );
    }
    if let Some(bootstrap) = &listeners.bootstrap {
        let made = retrying(opener.retry, &waiting, || {
            bootstrap::run(client, at, bootstrap).boxed()
        });
        match made.await {
            Err(error) if error.code == Code::SourceRefused => {
                missing.bootstrap = true;
                told_refused(at, &error);
            }
            made => made?,
        }
    }
    Ok(missing)
}

fn told_refused(at: &Namespace, error: &Error) {
    tracing::warn!(
        event_id = event_id::LISTENERS_NOT_BOOTSTRAPPED,
        collection = %at,
        error = error.detail,
        "the listeners of LISTENERS_BOOTSTRAP cannot be created; the stream goes on without, and it is tried again"
    );
}
