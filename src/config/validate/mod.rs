//! From text to the typed configuration: each part by itself, then what no single part can see.

mod coordination;
mod envelope;
mod escaped;
mod fields;
mod flow;
mod format;
mod key;
mod listeners;
mod live;
mod mongo_kafka;
mod operations;
mod records;
mod schedules;
mod serialization;
mod sink;
mod snapshot;
mod source;
mod streams;
mod topics;
mod worker;

use super::check::Check;
use super::env::Environment;
use super::needs::Needs;
use super::problem::{ConfigErrors, Warning};
use super::uri::Uri;
use super::{Config, Scope, Sink, SnapshotMode, StreamSpec, table};
use records::Records;
use std::collections::BTreeSet;
use std::sync::Arc;
use streams::Entry;

/// Checks everything and builds the configuration, or tells all that is wrong with what is needed.
pub(super) fn build(
    env: &Environment,
    needs: Needs,
) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    let mut check = Check::new(env);
    let uri = source::uri(&mut check);
    let entries = entries(&mut check, uri.as_ref());
    let mongo = source::mongo(&mut check, uri);
    let mut all = source::build(&mut check, entries[0].scope.clone());
    all.listeners = listeners::listeners(&mut check, &all);
    let live = live::live(&mut check, all.listeners.as_ref());
    let max_in_flight_bytes = check.bytes(&table::MAX_IN_FLIGHT_BYTES);
    let mut pipeline = flow::pipeline(&mut check, all.batch_bytes, max_in_flight_bytes);
    let kafka = sink::kafka(&mut check, max_in_flight_bytes);
    let records = records::each(&mut check, &entries, &pipeline);
    if entries[0].name.is_some() {
        streams::check_lists(&mut check, &all, &entries);
    }
    let is_qualified = entries[0].name.is_some() || matches!(all.scope, Scope::Deployment { .. });
    let fields = fields::fields(&mut check, is_qualified).map(Arc::new);
    let listeners = all.listeners.as_ref();
    let snapshot = snapshot::snapshot(
        &mut check,
        is_qualified,
        &records[0].sink.topics,
        listeners,
        &mut pipeline,
    );
    if snapshot.mode != SnapshotMode::Never && !all.user_pipeline.is_empty() {
        check.warn(
            &table::SNAPSHOT,
            "the rows of a snapshot do not pass CHANGE_STREAM_PIPELINE; SNAPSHOT_FILTER says which documents are copied",
        );
    }
    let is_several = entries.len() > 1;
    let mut specs = Vec::with_capacity(entries.len());
    let json_mode = flow::json_mode(&mut check);
    for (entry, records) in entries.into_iter().zip(records) {
        let Records {
            mut sink,
            json_mode: own_mode,
            full_document,
            pre_images,
        } = records;
        sink.fields.clone_from(&fields);
        let mut source = streams::narrowed(&mut check, &all, &entry);
        (source.full_document, source.pre_images) = (full_document, pre_images);
        let mut pipeline = pipeline.clone();
        pipeline.json_mode = own_mode;
        let resume = flow::resume(&mut check, &source.scope, sink.delivery, is_several);
        let own = records::special(&check, &entry).map(str::to_owned);
        check.look_at(own.as_deref());
        if live.is_some() || needs == Needs::Live {
            check_live(&mut check, &sink);
            if own_mode != json_mode {
                check.wrong(
                    &table::JSON_MODE,
                    "live changes of all streams are read in one mode; set JSON_MODE for all streams, or LIVE_ADDR=off",
                );
            }
        }
        if sink.envelope.is_some() && sink.serialization.schemas().is_some() {
            check.wrong(
                &table::SERIALIZATION,
                "values with a schema have the envelope as it is; unset ENVELOPE_RENAME and ENVELOPE_FIELDS, or set \
                 SERIALIZATION=json",
            );
        }
        topics::check(&mut check, &source, &sink.topics, &resume);
        format::check(&mut check, &sink.format, &sink.topics, &source);
        serialization::check(&mut check, &sink, &source);
        key::check(&mut check, &sink, &kafka.creation, &source);
        check.look_at(None);
        source::check_reach(&mut check, &source, &resume);
        specs.push(StreamSpec {
            id: id(&mut check, &kafka.client_id, &entry),
            given_name: entry.name,
            source,
            sink,
            pipeline,
            resume,
            snapshot: snapshot.clone(),
        });
    }
    records::check_mixed(&mut check, &specs);
    let coordination = coordination::coordination(&mut check, &mut specs);
    let schedules = schedules::schedules(&mut check, &kafka.client_id, &specs);
    let worker = worker::worker(&mut check);
    for spec in &mut specs {
        let written = worker.failed_events.iter().chain(&worker.status);
        spec.source.of_workers = written.cloned().collect();
        spec.source.schedules = schedules
            .as_ref()
            .and_then(|schedules| schedules.at.clone());
    }
    let config = Config {
        streams: specs,
        coordination,
        schedules,
        max_in_flight_bytes,
        enabled: check.flag(&table::ENABLE_CHANGE_STREAMS),
        http: operations::http(&mut check),
        live,
        worker,
        log: operations::log(&mut check),
        admin_token: operations::admin_token(&mut check),
        shows_documents: check.flag(&table::ADMIN_SHOW_DOCUMENTS),
        json_mode,
        status_interval: check.seconds(&table::STATUS_INTERVAL_SECONDS),
        shutdown_timeout: check.millis(&table::SHUTDOWN_TIMEOUT_MS),
        mongo,
        kafka,
    };
    let Check {
        mut problems,
        warnings,
        ..
    } = check;
    problems.retain(|problem| needs.is_hurt_by(problem));
    // What is wrong for each stream is told once.
    let mut told = BTreeSet::new();
    problems.retain(|problem| told.insert(problem.to_string()));
    let mut warnings = warnings;
    let mut told = BTreeSet::new();
    warnings.retain(|warning| told.insert(warning.to_string()));
    if problems.is_empty() {
        Ok((config, warnings))
    } else {
        Err(ConfigErrors { problems, warnings })
    }
}

/// Live changes are read from the topics, as records are by default.
fn check_live(check: &mut Check<'_>, sink: &Sink) {
    if !sink.format.is_own() {
        check.wrong(
            &table::FORMAT,
            "live changes are read from the topics, in the format tailwater; set FORMAT=tailwater, or LIVE_ADDR=off",
        );
    }
    if sink.is_renamed() {
        check.wrong(
            &table::ENVELOPE_RENAME,
            "live changes are read from the topics, with the names that the envelope has by default; unset it, or set LIVE_ADDR=off",
        );
    }
    if sink.serialization.schemas().is_some() {
        check.wrong(
            &table::SERIALIZATION,
            "live changes are read from the topics as JSON; set SERIALIZATION=json, or LIVE_ADDR=off",
        );
    }
}

/// Those of `STREAMS`, or the one.
fn entries(check: &mut Check<'_>, uri: Option<&Uri>) -> Vec<Entry> {
    streams::entries(check).unwrap_or_else(|| {
        vec![Entry {
            name: None,
            scope: source::scope(check, uri),
        }]
    })
}

fn id(check: &mut Check<'_>, client_id: &str, entry: &Entry) -> String {
    match (check.given(&table::STREAM_ID), &entry.name) {
        (Some(id), None) => operations::name(check, &table::STREAM_ID, id),
        (_, Some(name)) => StreamSpec::derived_id(client_id, name),
        (None, None) => StreamSpec::derived_id(client_id, entry.scope.name()),
    }
}

/// The streams' ids, whatever the rest of the environment is like; none where what they follow from is
/// missing or wrong.
pub(super) fn streams_alone(env: &Environment) -> Vec<String> {
    let mut check = Check::new(env);
    check.problems.clear();
    let is_one_named =
        check.given(&table::STREAM_ID).is_some() && check.given(&table::STREAMS).is_none();
    let ids = match is_one_named {
        true => {
            let id = check.given(&table::STREAM_ID).unwrap_or_default();
            vec![operations::name(&mut check, &table::STREAM_ID, id)]
        }
        false if check.given(&table::MONGODB_URI).is_none() => return Vec::new(),
        false => {
            let uri = source::uri(&mut check);
            let entries = entries(&mut check, uri.as_ref());
            let client_id = check.text(&table::KAFKA_CLIENT_ID).unwrap_or_default();
            let client_id = operations::name(&mut check, &table::KAFKA_CLIENT_ID, client_id);
            let mut ids = Vec::new();
            for entry in &entries {
                ids.push(id(&mut check, &client_id, entry));
            }
            ids
        }
    };
    match check.problems.is_empty() {
        true => ids,
        false => Vec::new(),
    }
}

pub(super) use operations::{admin_token, http, log};
