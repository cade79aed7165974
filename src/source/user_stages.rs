//! The stages of `CHANGE_STREAM_PIPELINE` as the server gets them: so that no event is hidden that Tailwater
//! itself must see, and none loses its time.
//!
//! What a stage may do to the fields that an event must bring is refused or allowed by `config::stages`.

use super::listeners;
use crate::change::namespace::Namespace;
use bson::{Bson, Document, doc};

/// Events that must come whatever the user's stages ask for: behind an `invalidate` the stream is opened
/// anew, and the others change what is watched.
pub(super) const ALWAYS: [&str; 4] = ["invalidate", "drop", "rename", "dropDatabase"];

/// Fields that tell when a change happened, and how a rename ends: kept where a stage lists what stays.
const KEPT: [&str; 3] = ["clusterTime", "wallTime", "to"];

/// A stage of the user's, mended where it would hide one of the events that must come.
pub(super) fn mended(stage: &Document, listeners: Option<&Namespace>) -> Document {
    let Some((name, body)) = stage.iter().next() else {
        return stage.clone();
    };
    let always = doc! {"operationType": {"$in": ALWAYS.to_vec()}};
    match (name.as_str(), body) {
        ("$match", Bson::Document(condition)) => {
            let mut branches = vec![always];
            branches.extend(listeners.map(listeners::own_events));
            branches.push(condition.clone());
            doc! {"$match": {"$or": branches}}
        }
        ("$redact", expression) => {
            let mut is_always = doc! {"$in": ["$operationType", ALWAYS.to_vec()]};
            if let Some(at) = listeners {
                is_always = doc! {"$or": [is_always, listeners::is_own_event(at)]};
            }
            doc! {"$redact": {"$cond": [is_always, "$$KEEP", expression.clone()]}}
        }
        ("$project", Bson::Document(fields)) if lists_what_stays(fields) => {
            doc! {"$project": keeping(fields, |_| true.into())}
        }
        ("$replaceWith", Bson::Document(root)) if names_fields(root) => {
            doc! {"$replaceWith": copying(root)}
        }
        ("$replaceRoot", Bson::Document(options)) => match options.get_document("newRoot") {
            Ok(root) if names_fields(root) => doc! {"$replaceRoot": {"newRoot": copying(root)}},
            _ => stage.clone(),
        },
        _ => stage.clone(),
    }
}

/// Whether a projection lists what stays: a field is listed with anything but 0 or false.
fn lists_what_stays(fields: &Document) -> bool {
    let leaves_out = |value: &Bson| match value {
        Bson::Boolean(value) => !value,
        Bson::Int32(value) => *value == 0,
        Bson::Int64(value) => *value == 0,
        Bson::Double(value) => *value == 0.0,
        _ => false,
    };
    fields.values().any(|value| !leaves_out(value))
}

/// Whether a new root is built field by field, and not by an operator.
fn names_fields(root: &Document) -> bool {
    !root.keys().any(|name| name.starts_with('$'))
}

fn copying(root: &Document) -> Document {
    keeping(root, |name| format!("${name}").into())
}

/// `fields` with those of [`KEPT`] that it does not speak of.
fn keeping(fields: &Document, value: impl Fn(&str) -> Bson) -> Document {
    let mut all = fields.clone();
    for name in KEPT {
        let speaks = |path: &String| path.split('.').next() == Some(name);
        if !fields.keys().any(speaks) {
            all.insert(name, value(name));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(stage: &Document) -> Document {
        super::mended(stage, None)
    }

    #[test]
    fn stages_that_drop_events_let_those_through_that_must_come() {
        let always = ["invalidate", "drop", "rename", "dropDatabase"];
        assert_eq!(
            mended(&doc! {"$match": {"fullDocument.a": 1}}),
            doc! {"$match": {"$or": [{"operationType": {"$in": always.to_vec()}}, {"fullDocument.a": 1}]}}
        );
        let expression = doc! {"$cond": [{"$eq": ["$ns.coll", "a"]}, "$$KEEP", "$$PRUNE"]};
        for expression in [Bson::from(expression), "$$PRUNE".into()] {
            let is_always = doc! {"$in": ["$operationType", always.to_vec()]};
            assert_eq!(
                mended(&doc! {"$redact": expression.clone()}),
                doc! {"$redact": {"$cond": [is_always, "$$KEEP", expression]}}
            );
        }
    }

    #[test]
    fn stages_that_list_what_stays_keep_the_time() {
        let listed = doc! {"operationType": 1, "ns": 1, "documentKey": 1, "wallTime": 1};
        let mut kept = listed.clone();
        kept.extend(doc! {"clusterTime": true, "to": true});
        assert_eq!(mended(&doc! {"$project": listed}), doc! {"$project": kept});

        let root = doc! {"_id": "$_id", "x": {"$toUpper": "$y"}};
        let kept = doc! {"_id": "$_id", "x": {"$toUpper": "$y"}, "clusterTime": "$clusterTime",
        "wallTime": "$wallTime", "to": "$to"};
        assert_eq!(
            mended(&doc! {"$replaceWith": root.clone()}),
            doc! {"$replaceWith": kept.clone()}
        );
        assert_eq!(
            mended(&doc! {"$replaceRoot": {"newRoot": root}}),
            doc! {"$replaceRoot": {"newRoot": kept}}
        );
    }

    #[test]
    fn other_stages_are_left_as_they_are() {
        for stage in [
            doc! {"$project": {"fullDocument.secret": 0}},
            doc! {"$unset": "fullDocument.secret"},
            doc! {"$set": {"fullDocument.a": 1}},
            doc! {"$replaceWith": {"$mergeObjects": ["$$ROOT", {"a": 1}]}},
            doc! {"$replaceRoot": {"newRoot": "$$ROOT"}},
        ] {
            assert_eq!(mended(&stage), stage);
        }
    }
}
