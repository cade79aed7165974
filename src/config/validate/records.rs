//! What each stream writes: what is set for all of them, or for one alone.

use super::streams::Entry;
use super::{flow, sink, source};
use crate::config::check::Check;
use crate::config::of_stream::{label, written};
use crate::config::problem::Problem;
use crate::config::variable::Variable;
use crate::config::{FullDocument, JsonMode, Pipeline, PreImages, Sink, StreamSpec, table};

/// What streams may differ in.
#[derive(Clone)]
pub(super) struct Records {
    pub(super) sink: Sink,
    pub(super) json_mode: JsonMode,
    pub(super) full_document: FullDocument,
    pub(super) pre_images: PreImages,
}

impl Records {
    /// Those of the stream that is looked at.
    fn read(check: &mut Check<'_>, pipeline: &Pipeline) -> Self {
        let (full_document, pre_images) = source::images(check);
        Self {
            sink: sink::build(check, pipeline),
            json_mode: flow::json_mode(check),
            full_document,
            pre_images,
        }
    }
}

/// The name of a stream with settings of its own.
pub(super) fn special<'e>(check: &Check<'_>, entry: &'e Entry) -> Option<&'e str> {
    let name = entry.name.as_deref()?;
    check.is_special(name).then_some(name)
}

/// Those of each stream, in the order of `entries`.
pub(super) fn each(check: &mut Check<'_>, entries: &[Entry], pipeline: &Pipeline) -> Vec<Records> {
    check_names(check, entries);
    // What nobody uses may be wrong. It comes first, so that what is wrong for all is said of all.
    let is_shared = entries.iter().any(|entry| special(check, entry).is_none());
    let shared = is_shared.then(|| Records::read(check, pipeline));
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        let records = match (special(check, entry), &shared) {
            (None, Some(shared)) => shared.clone(),
            (own, _) => {
                check.look_at(own);
                let records = Records::read(check, pipeline);
                check.look_at(None);
                records
            }
        };
        all.push(records);
    }
    all
}

/// Each variable for one stream must name one.
fn check_names(check: &mut Check<'_>, entries: &[Entry]) {
    let names: Vec<&str> = entries.iter().filter_map(|it| it.name.as_deref()).collect();
    let mut problems = Vec::new();
    for own in &check.env.of_streams {
        let base = own.variable.name;
        let called = names.iter().filter(|name| label(name) == own.label);
        let sentence = match (names.as_slice(), called.count()) {
            ([], _) => {
                format!("is for one stream of STREAMS, which is not set; set {base}")
            }
            (_, 0) => {
                let known: Vec<_> = names
                    .iter()
                    .map(|name| written(own.variable, name))
                    .collect();
                format!(
                    "STREAMS has no stream of this name; give one of {}",
                    known.join(", ")
                )
            }
            (_, 1) => continue,
            _ => "means several streams, since all characters but letters and digits are _ in it; give them names in \
                  STREAMS that differ in more"
                .to_owned(),
        };
        problems.push(Problem {
            variable: own.name.clone(),
            given: None,
            sentence,
        });
    }
    // Without the names of streams nothing can be said of theirs.
    let is_wrong = check
        .problems
        .iter()
        .any(|problem| problem.variable == table::STREAMS.name);
    if !is_wrong {
        check.problems.extend(problems);
    }
}

/// Two streams with different records must not share a topic, whose consumers expect one kind.
pub(super) fn check_mixed(check: &mut Check<'_>, specs: &[StreamSpec]) {
    for (index, other) in specs.iter().enumerate() {
        for spec in &specs[..index] {
            if are_alike(spec, other) {
                continue;
            }
            let theirs: Vec<_> = other.sink.topics.of_records().collect();
            let mut ours = spec.sink.topics.of_records();
            let Some(topic) =
                ours.find(|topic| theirs.contains(topic) && !topic.contains("{database}"))
            else {
                continue;
            };
            let variable: &Variable = &table::KAFKA_DB_CHANGES_TOPIC;
            let sentence = format!(
                "{} and {} would both write to {topic}, and their records differ; give each its own topic, as in {}",
                spec.name(),
                other.name(),
                written(variable, other.name())
            );
            check.wrong(variable, sentence);
        }
    }
}

/// Whether values and keys of two streams are of one kind.
fn are_alike(one: &StreamSpec, other: &StreamSpec) -> bool {
    let kind = |sink: &Sink| sink.serialization.schemas().map(|schemas| schemas.kind);
    let (a, b) = (&one.sink, &other.sink);
    a.format == b.format
        && a.key_format == b.key_format
        && a.envelope == b.envelope
        && a.transactions == b.transactions
        && kind(a) == kind(b)
        && one.pipeline.json_mode == other.pipeline.json_mode
}
