//! What the registry has said of a schema that does not change, and how long that counts.

use super::subject::{BRIEFLY, REST, Unsettled};
use crate::config::Schemas;
use std::time::Instant;

/// An answer of the registry.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// Why there is no such schema, otherwise.
    answer: Result<T, String>,
    /// When the registry said so.
    seen: Instant,
}

impl<T: Clone> Kept<T> {
    /// What it has said, whenever that was.
    pub(super) fn said(&self) -> Option<&T> {
        self.answer.as_ref().ok()
    }

    /// The same, unless it is time to look whether the registry still has it.
    pub(super) fn current(&self, settings: &Schemas) -> Option<&T> {
        let is_due = !settings.dry_run && self.seen.elapsed() > settings.recheck;
        self.said().filter(|_| !is_due)
    }

    /// Asks where it is time to; what is to be kept then.
    ///
    /// # Errors
    /// [`Unsettled`]: it was asked just before and refused, or nobody answers.
    pub(super) async fn ask(
        known: Option<&Self>,
        settings: &Schemas,
        asking: impl Future<Output = Result<T, Unsettled>>,
    ) -> Result<Option<Self>, Unsettled> {
        if let Some(known) = known {
            match &known.answer {
                Ok(_) if known.current(settings).is_some() => return Ok(None),
                Err(why) if known.seen.elapsed() < REST => {
                    return Err(Unsettled::Record(why.clone()));
                }
                _ => {}
            }
        }
        let in_use = known.and_then(Self::said);
        let answer = match in_use {
            None => asking.await,
            // The registry may have lost it. It is not waited for: as long as it does not answer, it has it.
            Some(_) => match tokio::time::timeout(BRIEFLY, asking).await {
                Ok(answer) => answer,
                Err(_) => Err(Unsettled::Away(String::new())),
            },
        };
        let answer = match (answer, in_use) {
            (Ok(said), _) => Ok(said),
            (Err(_), Some(said)) => Ok(said.clone()),
            (Err(Unsettled::Record(why)), None) => Err(why),
            (Err(away), None) => return Err(away),
        };
        let seen = Instant::now();
        Ok(Some(Self { answer, seen }))
    }

    /// Whether records can be written by it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn outcome(&self) -> Result<(), Unsettled> {
        match &self.answer {
            Ok(_) => Ok(()),
            Err(why) => Err(Unsettled::Record(why.clone())),
        }
    }
}
