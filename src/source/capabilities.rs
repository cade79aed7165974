//! What the server's change streams can do: found out by asking, never read from a version. Servers that speak
//! MongoDB's protocol have versions of their own, and releases before 6.0.9 lack some of it.
//!
//! An opening that works says that all it asked for is there. Only where it is refused is each of its options
//! tried alone, by a stream that is closed at once.

use super::cursor::Start;
use super::reply::Reply;
use super::watch::Watch;
use crate::mongo::errors::{self, Phase, SourceFault};
use bson::{Bson, Document, doc};
use mongodb::error::Error;
use mongodb::{Client, Database};
use std::sync::atomic::{AtomicU8, Ordering};

/// Something that not all servers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    StartAfter,
    StartAtOperationTime,
    PostBatchTokens,
    Split,
    PreImages,
    PostImages,
    ExpandedEvents,
    WholeDeployment,
}

use Capability as C;

impl Capability {
    pub const ALL: [Self; 8] = [
        C::StartAfter,
        C::StartAtOperationTime,
        C::PostBatchTokens,
        C::Split,
        C::PreImages,
        C::PostImages,
        C::ExpandedEvents,
        C::WholeDeployment,
    ];

    pub fn name(self) -> &'static str {
        match self {
            C::StartAfter => "startAfter",
            C::StartAtOperationTime => "startAtOperationTime",
            C::PostBatchTokens => "post-batch resume tokens",
            C::Split => "$changeStreamSplitLargeEvent",
            C::PreImages => "pre-images",
            C::PostImages => "post-images",
            C::ExpandedEvents => "expanded events",
            C::WholeDeployment => "a change stream of the whole deployment",
        }
    }

    /// What is done without it; for what was asked for by a variable, what to set instead.
    pub fn without(self) -> &'static str {
        match self {
            C::StartAfter => "resumeAfter is used, which cannot resume behind a dropped database",
            C::StartAtOperationTime => {
                "START_AT can only be `now` or a token, and a token that is not found is lost history"
            }
            C::PostBatchTokens => {
                "the checkpoint moves with events alone, so that the oplog has to reach back to the last one"
            }
            C::Split => "an event over 16 MB goes by ON_RECORD_ERROR",
            C::PreImages => "set FULL_DOCUMENT_BEFORE_CHANGE=off",
            C::PostImages => "set FULL_DOCUMENT=updateLookup or default",
            C::ExpandedEvents => "set SHOW_EXPANDED_EVENTS=false",
            C::WholeDeployment => "watch one database (MONGODB_DATABASE)",
        }
    }

    /// Whether a stream that asks for it can be had without.
    fn has_substitute(self) -> bool {
        matches!(self, C::StartAfter | C::PostBatchTokens | C::Split)
    }
}

/// Anything else: not known yet.
const PRESENT: u8 = 1;
const MISSING: u8 = 2;

/// What is known of one server. All that a stream opens learn it together.
#[derive(Debug, Default)]
pub struct Capabilities([AtomicU8; Capability::ALL.len()]);

impl Capabilities {
    /// Whether the server is known to have it, or to lack it.
    pub fn known(&self, capability: Capability) -> Option<bool> {
        match self.0[capability as usize].load(Ordering::Relaxed) {
            PRESENT => Some(true),
            MISSING => Some(false),
            _ => None,
        }
    }

    pub fn lacks(&self, capability: Capability) -> bool {
        self.known(capability) == Some(false)
    }

    fn set(&self, capability: Capability, is_present: bool) {
        let known = if is_present { PRESENT } else { MISSING };
        self.0[capability as usize].store(known, Ordering::Relaxed);
    }

    /// What the server has, and what it lacks with what follows from that; none while nothing is known.
    pub fn describe(&self) -> Option<String> {
        let of = |present: bool| {
            let known = Capability::ALL.into_iter();
            known.filter(move |capability| self.known(*capability) == Some(present))
        };
        let has: Vec<_> = of(true).map(Capability::name).collect();
        let lacks = of(false).map(|lacking| format!("{} ({})", lacking.name(), lacking.without()));
        let lacks: Vec<_> = lacks.collect();
        Some(match (has.as_slice(), lacks.as_slice()) {
            ([], []) => return None,
            (_, []) => format!("the server has {}", has.join(", ")),
            ([], _) => format!("the server lacks {}", lacks.join(", ")),
            _ => format!(
                "the server has {}; it lacks {}",
                has.join(", "),
                lacks.join(", ")
            ),
        })
    }

    /// Whether anything is known to be missing.
    pub fn is_short(&self) -> bool {
        Capability::ALL.into_iter().any(|each| self.lacks(each))
    }
}

/// What an opening that was refused has taught.
#[derive(Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing: the refusal stands.
    Nothing,
    /// The next opening asks for less.
    Otherwise,
    /// What was asked for is missing, and nothing is in its place.
    Missing(String),
}

/// Takes note of what an opening that worked has asked for.
pub(super) fn opened(watch: &Watch, start: &Start, first: &Reply) {
    let known = &watch.capabilities;
    for (capability, _) in asked(watch, start) {
        known.set(capability, true);
    }
    if first.is_empty() {
        known.set(C::PostBatchTokens, first.post_batch_token().is_some());
    }
}

/// Finds out what an opening that ended in `error` has asked for in vain.
pub async fn learn(client: &Client, watch: &Watch, start: &Start, error: &Error) -> Learned {
    if !is_refusal(error, start.phase()) {
        return Learned::Nothing;
    }
    let known = &watch.capabilities;
    let asked: Vec<_> = asked(watch, start)
        .into_iter()
        .filter(|(capability, _)| known.known(*capability).is_none())
        .collect();
    if asked.is_empty() {
        return Learned::Nothing;
    }
    let probe = Probe::of(client, watch);
    if !matches!(probe.takes(Tried::default()).await, Some(true)) {
        return probe.without_base(known, &asked).await;
    }
    let mut learned = Learned::Nothing;
    let mut missing = Vec::new();
    for (capability, tried) in asked {
        let is_present = match (capability, probe.takes(tried).await) {
            (_, None) => continue,
            // It may be the token that is refused.
            (C::StartAfter, Some(false)) => {
                if probe.takes(resume_after(start)).await != Some(true) {
                    continue;
                }
                false
            }
            (_, Some(is_present)) => is_present,
        };
        known.set(capability, is_present);
        if !is_present {
            match capability.has_substitute() {
                true => learned = Learned::Otherwise,
                false => missing.push(capability),
            }
        }
    }
    match missing.is_empty() {
        true => learned,
        false => Learned::Missing(refusal(&missing)),
    }
}

/// Asks for everything, for `check`. None where the server opens no change stream at all.
pub async fn survey(client: &Client, watch: &Watch) -> Option<()> {
    let probe = Probe::of(client, watch);
    let known = &watch.capabilities;
    let token = probe.first_token().await.ok()?;
    known.set(C::PostBatchTokens, token.is_some());
    if watch.database.is_none() {
        known.set(C::WholeDeployment, true);
    }
    let option = |name: &str, value: Bson| Tried::option(name, value);
    let mut all = vec![
        (C::Split, Tried::split()),
        (
            C::PreImages,
            option("fullDocumentBeforeChange", "whenAvailable".into()),
        ),
        (
            C::PostImages,
            option("fullDocument", "whenAvailable".into()),
        ),
        (C::ExpandedEvents, option("showExpandedEvents", true.into())),
    ];
    if let Some(token) = token {
        all.push((C::StartAfter, option("startAfter", token.into())));
    }
    if let Some(now) = probe.operation_time().await {
        all.push((
            C::StartAtOperationTime,
            option("startAtOperationTime", now.into()),
        ));
    }
    for (capability, tried) in all {
        if let Some(is_present) = probe.takes(tried).await {
            known.set(capability, is_present);
        }
    }
    Some(())
}

fn refusal(missing: &[Capability]) -> String {
    let each = missing.iter().map(|missing| {
        format!(
            "the server does not have {}: {}",
            missing.name(),
            missing.without()
        )
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Whether the server does not take what it was asked for, or not the token. An option that is not known is
/// told by the codes of a malformed token.
fn is_refusal(error: &Error, phase: Phase) -> bool {
    matches!(
        errors::classify(error, phase),
        SourceFault::Refused | SourceFault::Unknown | SourceFault::TokenInvalid
    )
}

/// What a stream asks for alone.
#[derive(Debug, Clone, Default)]
struct Tried {
    option: Document,
    splits: bool,
}

impl Tried {
    fn option(name: &str, value: Bson) -> Self {
        Self {
            option: doc! { name: value },
            splits: false,
        }
    }

    fn split() -> Self {
        Self {
            splits: true,
            ..Self::default()
        }
    }
}

/// What an opening asks for that not all servers have, each with a stream of it alone.
fn asked(watch: &Watch, start: &Start) -> Vec<(Capability, Tried)> {
    let mut asked = Vec::new();
    let command = watch.command(start, 0);
    let stages = command
        .get_array("pipeline")
        .map(Vec::as_slice)
        .unwrap_or_default();
    let stages = stages.iter().filter_map(Bson::as_document);
    for stage in stages {
        if stage.contains_key("$changeStreamSplitLargeEvent") {
            asked.push((C::Split, Tried::split()));
        }
        let Ok(options) = stage.get_document("$changeStream") else {
            continue;
        };
        for (name, value) in options {
            let capability = match name.as_str() {
                "startAfter" => C::StartAfter,
                "startAtOperationTime" => C::StartAtOperationTime,
                "fullDocumentBeforeChange" => C::PreImages,
                "fullDocument" if value.as_str() != Some("updateLookup") => C::PostImages,
                "showExpandedEvents" => C::ExpandedEvents,
                "allChangesForCluster" => C::WholeDeployment,
                _ => continue,
            };
            asked.push((capability, Tried::option(name, value.clone())));
        }
    }
    asked
}

fn resume_after(start: &Start) -> Tried {
    match start {
        Start::After(token) => {
            let token = Document::try_from(token.as_raw()).unwrap_or_default();
            Tried::option("resumeAfter", token.into())
        }
        Start::At(_) | Start::Now => Tried::default(),
    }
}

/// Opens streams of no events, to see whether they are taken.
struct Probe {
    database: Database,
    base: Document,
}

impl Probe {
    fn of(client: &Client, watch: &Watch) -> Self {
        Self {
            database: client.database(watch.command_database()),
            base: match &watch.database {
                Some(_) => Document::new(),
                None => doc! { "allChangesForCluster": true },
            },
        }
    }

    async fn open(&self, tried: Tried) -> Result<Document, Error> {
        let mut options = self.base.clone();
        options.extend(tried.option);
        let mut pipeline = vec![doc! { "$changeStream": options }];
        if tried.splits {
            pipeline.push(doc! { "$changeStreamSplitLargeEvent": {} });
        }
        let command = doc! { "aggregate": 1, "pipeline": pipeline, "cursor": { "batchSize": 0 } };
        let reply = self.database.run_command(command).await?;
        close(&self.database, &reply).await;
        Ok(reply)
    }

    /// Whether the server takes it; none where it said nothing about that.
    async fn takes(&self, tried: Tried) -> Option<bool> {
        match self.open(tried).await {
            Ok(_) => Some(true),
            Err(error) if is_refusal(&error, Phase::Other) => Some(false),
            Err(_) => None,
        }
    }

    async fn first_token(&self) -> Result<Option<Document>, Error> {
        let reply = self.open(Tried::default()).await?;
        let cursor = reply.get_document("cursor").ok();
        let token = cursor.and_then(|cursor| cursor.get_document("postBatchResumeToken").ok());
        Ok(token.cloned())
    }

    async fn operation_time(&self) -> Option<bson::Timestamp> {
        let reply = self.database.run_command(doc! { "ping": 1 }).await.ok()?;
        reply.get_timestamp("operationTime").ok()
    }

    /// Where not even a plain stream is opened: that of a deployment may still be one of a database.
    async fn without_base(&self, known: &Capabilities, asked: &[(Capability, Tried)]) -> Learned {
        let is_of_deployment = asked.iter().any(|(each, _)| *each == C::WholeDeployment);
        let of_database = Self {
            database: self.database.client().database("tailwater"),
            base: Document::new(),
        };
        if !is_of_deployment || of_database.takes(Tried::default()).await != Some(true) {
            return Learned::Nothing;
        }
        known.set(C::WholeDeployment, false);
        Learned::Missing(refusal(&[C::WholeDeployment]))
    }
}

/// Closes a cursor that a command has opened.
pub(super) async fn close(database: &Database, reply: &Document) {
    let id = reply
        .get_document("cursor")
        .and_then(|cursor| cursor.get_i64("id"));
    if let Ok(id) = id
        && id != 0
    {
        let command = doc! {"killCursors": "$cmd.aggregate", "cursors": [id]};
        // Left open, it would time out by itself.
        let _ = database.run_command(command).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_what_follows() {
        let known = Capabilities::default();
        assert_eq!(known.describe(), None);
        known.set(C::StartAfter, true);
        known.set(C::Split, false);
        let told = known.describe().unwrap();
        assert!(
            told.starts_with("the server has startAfter; it lacks $changeStreamSplitLargeEvent (")
        );
        assert!(known.is_short() && known.lacks(C::Split));
        assert_eq!(known.known(C::PreImages), None);
    }

    #[test]
    fn a_capability_has_its_own_place() {
        for (place, capability) in Capability::ALL.into_iter().enumerate() {
            assert_eq!(capability as usize, place);
        }
    }
}
