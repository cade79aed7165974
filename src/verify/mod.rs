//! What Kafka holds against what MongoDB holds.
//!
//! Both sides become entries of a fixed size: a hash of the `_id`, a hash of the document's text as records have it,
//! and where it is. Sorted on disk, all of one `_id` come together, and the newest record of each document is compared
//! with the document. What differs is looked at again ([`settle`]) until it is known to be different.

pub mod compare;
mod comparison;
pub mod entry;
mod fold;
mod gate;
mod knowledge;
mod names;
mod naming;
mod notes;
mod paths;
pub mod progress;
mod read;
mod reading;
mod record;
pub mod report;
mod settle;
mod sorter;
mod source;
mod topics;

use crate::change::namespace::Namespace;
use crate::checkpoint::Location;
use crate::config::{Config, Delivery, FullDocument, KeyFormat, StreamSpec};
use crate::error::{Code, Error};
use crate::fields::Fields;
use crate::mongo::errors::{self, Phase};
use crate::snapshot::progress::State;
use crate::source::{Filter, collections};
use bson::{Bson, Document};
use comparison::{Comparison, Selection};
use entry::Sample;
use gate::Gate;
use knowledge::{Knowledge, Unknown};
use mongodb::Client;
use names::Names;
use progress::Progress;
use read::Reader;
use reading::Reading;
use report::{Collection, Report};
use settle::Settling;
use sorter::{Folder, Merged, Sorter};
use source::{Ids, Source, no_room};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use topics::Topics;

/// What is verified, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names or patterns of collections, with their database or without; empty takes all that the stream carries.
    pub collections: Vec<String>,
    pub filter: Option<Document>,
    pub sample: Sample,
    /// In bytes.
    pub memory: usize,
    pub work_dir: Option<PathBuf>,
    /// How long is waited for the stream to get as far as MongoDB.
    pub wait: Duration,
    /// How many documents of a collection are named.
    pub limit: usize,
    /// Whether the stream has seen all documents there are.
    pub is_complete: bool,
}

/// What could be sent again: the `_id`s, by collection. No more than [`REPAIRED`].
pub type Repairs = BTreeMap<Namespace, Vec<Bson>>;

/// How many `_id`s are kept to be sent again.
pub const REPAIRED: usize = 100_000;

/// Compares the topics of a stream with MongoDB.
///
/// # Errors
/// What makes it impossible: the stream's settings, MongoDB, Kafka, the folder for temporary files.
pub async fn run(
    settings: &Settings,
    config: &Config,
    stream: &StreamSpec,
    client: &Client,
) -> Result<(Report, Repairs), Error> {
    refuse(stream)?;
    let progress = Arc::new(Progress::default());
    let verified = tokio::select! {
        verified = verify(settings, config, stream, client, &progress) => verified,
        () = progress.show() => Err(Error::new(Code::Internal, "the progress has ended")),
    };
    progress.end();
    verified
}

/// What cannot be judged at all.
fn refuse(stream: &StreamSpec) -> Result<(), Error> {
    let refused = |detail: &str| Err(Error::new(Code::Config, format!("verify: {detail}")));
    if !stream.source.user_pipeline.is_empty() {
        return refused(
            "CHANGE_STREAM_PIPELINE decides which changes have records and what is in them, so that the topics cannot be \
             compared with MongoDB; a stream without it can be verified",
        );
    }
    if !stream.sink.format.is_own() {
        return refused(&format!(
            "this stream writes FORMAT={}, and verify reads tailwater; `tailwater compare` reads debezium and mongo-kafka, too",
            stream.sink.format.name()
        ));
    }
    if stream.sink.key_format != KeyFormat::Tailwater {
        return refused(&format!(
            "this stream writes KEY_FORMAT={}, and verify reads the keys of tailwater",
            stream.sink.key_format.name()
        ));
    }
    if stream.sink.is_renamed() {
        return refused(
            "this stream writes its envelope by ENVELOPE_RENAME, and verify reads the names that it has by default",
        );
    }
    if let Some(schemas) = stream.sink.serialization.schemas() {
        return refused(&format!(
            "this stream writes SERIALIZATION={}, and verify reads json",
            schemas.kind.name()
        ));
    }
    let listeners = stream.source.listeners.as_ref();
    if listeners.is_some_and(|listeners| !listeners.beside_topics) {
        return refused(
            "this stream has records of listeners alone, and no topics of its own that could be compared with MongoDB",
        );
    }
    Ok(())
}

async fn verify(
    settings: &Settings,
    config: &Config,
    stream: &StreamSpec,
    client: &Client,
    progress: &Arc<Progress>,
) -> Result<(Report, Repairs), Error> {
    let filter = Filter::of(stream);
    let selection = Selection {
        filter: &filter,
        patterns: &settings.collections,
    };
    let position = source::now(client).await?;
    let watched = collections::watched(client, &stream.source.scope, &filter).await;
    let watched =
        watched.map_err(|error| errors::error("listing the collections", &error, Phase::Other))?;
    let mut names = Names::default();
    let present: Vec<_> = watched
        .iter()
        .filter(|it| selection.holds(it))
        .filter_map(|it| Some((names.number_of(it)?, it.clone())))
        .collect();
    let carried = watched
        .iter()
        .filter_map(|it| names.number_of(it))
        .collect();

    let gate = Gate {
        location: Location::of(&config.kafka, &config.mongo, stream),
        client,
        is_transactional: stream.sink.delivery == Delivery::ExactlyOnce,
    };
    let folder = Folder::new(settings.work_dir.as_deref());
    let reading = Reading {
        kafka: config.kafka.clone(),
        memory: settings.memory / 4,
        sample: settings.sample,
        stream: stream.id.clone(),
        sorter: Sorter::new(&folder, settings.memory / 4),
        topics: Topics::of(stream),
        names,
        progress: Arc::clone(progress),
    };
    progress.step("reading Kafka and MongoDB");
    let reading = tokio::task::spawn_blocking(move || reading.run());
    let fields = Fields::of(stream.sink.fields.as_ref());
    let documents = Source {
        client,
        mode: stream.pipeline.json_mode,
        fields: fields.as_ref(),
        filter: settings.filter.as_ref(),
        sample: settings.sample,
        progress,
    };
    let mut sorter = Sorter::new(&folder, settings.memory / 4);
    let mut ids = Ids::new(&folder).map_err(|error| no_room(&error))?;
    let mut report = Report {
        stream: stream.id.clone(),
        position_millis: position.millis(),
        ..Report::default()
    };
    let mut into = source::Into {
        sorter: &mut sorter,
        ids: &mut ids,
        ordinal: 0,
    };
    let mut tallies = HashMap::new();
    for (number, of) in &present {
        let scanned = documents.scan(of, *number, &mut into).await?;
        let mut collection = Collection {
            documents: scanned.documents,
            ..Collection::default()
        };
        if scanned.unencodable > 0 {
            collection
                .unknown
                .insert(Unknown::NotEncodable, scanned.unencodable);
        }
        tallies.insert(*number, Some(collection));
    }
    let lost = |why| Error::new(Code::Internal, "the reading of Kafka was abandoned").because(why);
    let mut read = reading.await.map_err(lost)??;
    read.names.settle();
    notes::write(&mut report, settings, stream, &read);

    let mut knowledge = Knowledge {
        is_complete: settings.is_complete,
        cut: std::mem::take(&mut read.cut),
        definitions: read.topics.of_definitions(),
        present: present.iter().map(|(number, _)| *number).collect(),
        unwatched: unwatched(stream),
        carried,
        ..Knowledge::default()
    };
    let checkpoint = gate.position().await?;
    // Only a snapshot of everything that came to its end says what was not there; a filter leaves documents out.
    let state = checkpoint
        .as_ref()
        .map(|it| State::of(&it.extra))
        .transpose()?;
    if let Some(whole) = state.and_then(|state| state.whole) {
        let copied = read.snapshots.iter().filter_map(|(number, ids)| {
            let last = *ids.get(&whole)?;
            let filter = stream.snapshot.filter_of(read.names.get(*number));
            filter.is_none().then_some((*number, last))
        });
        knowledge.snapshots = copied.collect();
    }
    // Numbers begin at the microseconds of the stream's first start.
    let first = checkpoint.iter().map(|it| it.seq.0).chain(read.first).min();
    knowledge.began = first.map(|seq| seq / 1_000_000);
    for number in read.names.numbers() {
        let topics = read.topics.of_namespace(read.names.get(number));
        knowledge.topics.insert(number, topics);
    }

    let merged = Merged::of(vec![read.sorter, sorter], settings.memory / 4);
    let mut merged = merged.map_err(|error| no_room(&error))?;
    let mut comparison = Comparison {
        settings,
        selection,
        tallies,
        repairs: Repairs::new(),
        repaired: 0,
        ids: &mut ids,
        updates_hold_none: stream.source.full_document == FullDocument::Default,
    };
    let mut settling = Settling {
        reader: Reader {
            kafka: &config.kafka,
            memory: settings.memory / 4,
        },
        source: &documents,
        gate: &gate,
        stream: &stream.id,
        topics: &mut read.topics,
        names: &mut read.names,
        knowledge: &knowledge,
        from: &read.from,
        patience: settings.wait,
        disturbed: HashSet::new(),
        notes: BTreeSet::new(),
    };
    // Some hundred bytes each, and more while they are looked at.
    let most = (settings.memory / 4096).clamp(1_000, 100_000);
    loop {
        progress.step("comparing");
        let suspects = comparison.next(&mut merged, &settling, most)?;
        if suspects.is_empty() {
            break;
        }
        progress.step("looking again at what differs");
        let settled = settling.settle(suspects).await?;
        comparison.take(settled, &settling);
    }
    comparison.report(&mut report, settling.names);
    let repairs = comparison.repairs;
    naming::name_paths(&mut report, &settling).await?;
    for note in settling.notes {
        report.note(note);
    }
    report.records = progress.records();
    report.documents = progress.documents();
    report.bytes = progress.bytes();
    report.seconds = progress.elapsed().as_secs_f64();
    Ok((report, repairs))
}

/// Operations on documents that make no records.
fn unwatched(stream: &StreamSpec) -> Vec<&'static str> {
    let watched = &stream.source.operations;
    let all = topics::OPERATIONS.into_iter();
    all.filter(|it| !watched.is_empty() && !watched.iter().any(|name| name == it))
        .collect()
}
