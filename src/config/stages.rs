//! `CHANGE_STREAM_PIPELINE`: the user's stages, and whether events keep what Tailwater needs.

use bson::{Bson, Document};

/// The fields every event must bring: token, kind, namespace, key.
const NEEDED: [&str; 4] = ["_id", "operationType", "ns", "documentKey"];

const ALLOWED: &str =
    "$match, $addFields, $set, $project, $replaceRoot, $replaceWith, $redact, $unset";

/// Reads a JSON array of stages in Extended JSON.
///
/// # Errors
/// A sentence for each stage that is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<Document>, Vec<String>> {
    // The position is told, not the parser's message: that quotes the value.
    let stages: Vec<Document> = serde_json::from_str(text).map_err(|error| {
        vec![match error.classify() {
            serde_json::error::Category::Data => {
                "is no array of stages; give one, such as [{\"$match\":{…}}]".to_owned()
            }
            _ => format!(
                "is no JSON (at line {}, column {}); give an array of stages, in a .env file in \
                 single quotes",
                error.line(),
                error.column()
            ),
        }]
    })?;
    let problems: Vec<_> = stages
        .iter()
        .enumerate()
        .filter_map(|(index, stage)| {
            let problem = stage_problem(stage)?;
            Some(format!("stage {}: {problem}", index + 1))
        })
        .collect();
    if problems.is_empty() {
        Ok(stages)
    } else {
        Err(problems)
    }
}

fn stage_problem(stage: &Document) -> Option<String> {
    let mut entries = stage.iter();
    let (Some((name, body)), None) = (entries.next(), entries.next()) else {
        return Some("a stage has exactly one name, such as $match".to_owned());
    };
    match name.as_str() {
        "$match" => body
            .as_document()
            .is_none()
            .then(|| "$match takes a document with a query".to_owned()),
        "$addFields" | "$set" => match body.as_document() {
            Some(fields) => fields
                .keys()
                .find_map(|path| needed_by(path).map(|field| replaces(name, field))),
            None => Some(format!("{name} takes a document of fields")),
        },
        "$project" => match body.as_document() {
            Some(fields) => project_problem(fields),
            None => Some("$project takes a document of fields".to_owned()),
        },
        "$unset" => unset_problem(body),
        "$replaceRoot" => match body.as_document().and_then(|body| body.get("newRoot")) {
            Some(root) => root_problem(name, root),
            None => Some("$replaceRoot takes {newRoot: …}".to_owned()),
        },
        "$replaceWith" => root_problem(name, body),
        "$redact" => mentions(body, "$$DESCEND").then(|| {
            "$redact with $$DESCEND could prune inside ns or documentKey; use $$KEEP and $$PRUNE"
                .to_owned()
        }),
        "$changeStreamSplitLargeEvent" => Some(
            "$changeStreamSplitLargeEvent is added by itself where the server has it; take it out"
                .to_owned(),
        ),
        other => Some(format!(
            "{other} is not allowed in a change stream; use {ALLOWED}"
        )),
    }
}

/// The needed field that a path is or lies in.
fn needed_by(path: &str) -> Option<&'static str> {
    let first = path.split('.').next().unwrap_or(path);
    NEEDED.into_iter().find(|needed| *needed == first)
}

fn replaces(stage: &str, field: &str) -> String {
    format!("{stage} changes {field}, which Tailwater needs as it is; leave it alone")
}

fn removes(stage: &str, field: &str) -> String {
    format!(
        "{stage} removes {field}; events must keep {}",
        NEEDED.join(", ")
    )
}

/// A projection either lists what stays or what goes; `_id` stays unless it is said otherwise.
fn project_problem(fields: &Document) -> Option<String> {
    for (path, value) in fields {
        if let Some(field) = needed_by(path) {
            match truth(value) {
                Some(true) => {}
                Some(false) => return Some(removes("$project", field)),
                None => return Some(replaces("$project", field)),
            }
        }
    }
    let lists_what_stays = fields.values().any(|value| truth(value) != Some(false));
    if !lists_what_stays {
        return None;
    }
    let kept = |path: &str| fields.contains_key(path);
    let missing = NEEDED.into_iter().find(|needed| match *needed {
        "_id" => false,
        "ns" => !(kept("ns") || (kept("ns.db") && kept("ns.coll"))),
        "documentKey" => !(kept("documentKey") || kept("documentKey._id")),
        other => !kept(other),
    });
    missing.map(|field| {
        format!("$project leaves out {field}; add operationType: 1, ns: 1, documentKey: 1")
    })
}

/// Whether a projected value keeps (`true`), drops (`false`) or computes (none) its field.
fn truth(value: &Bson) -> Option<bool> {
    match value {
        Bson::Boolean(value) => Some(*value),
        Bson::Int32(value) => Some(*value != 0),
        Bson::Int64(value) => Some(*value != 0),
        Bson::Double(value) => Some(*value != 0.0),
        _ => None,
    }
}

fn unset_problem(body: &Bson) -> Option<String> {
    let paths: Vec<&str> = match body {
        Bson::String(path) => vec![path],
        Bson::Array(paths) => match paths.iter().map(Bson::as_str).collect() {
            Some(paths) => paths,
            None => return Some("$unset takes the names of fields".to_owned()),
        },
        _ => return Some("$unset takes the names of fields".to_owned()),
    };
    paths
        .into_iter()
        .find_map(|path| needed_by(path).map(|field| removes("$unset", field)))
}

/// A new root is taken where it can be seen to hold the needed fields unchanged: the old root with
/// other things merged in, or a document that names them one by one.
fn root_problem(stage: &str, root: &Bson) -> Option<String> {
    let keeps = match root {
        Bson::String(root) => root == "$$ROOT" || root == "$$CURRENT",
        Bson::Document(root) => match root.get("$mergeObjects") {
            Some(Bson::Array(parts)) if root.len() == 1 => merge_keeps(parts),
            _ => NEEDED.iter().all(|field| copies(root, field)),
        },
        _ => false,
    };
    (!keeps).then(|| {
        format!(
            "{stage} cannot be seen to keep {}; give {{$mergeObjects: [\"$$ROOT\", {{…}}]}} \
             without them in the second part",
            NEEDED.join(", ")
        )
    })
}

fn merge_keeps(parts: &[Bson]) -> bool {
    let is_root = |part: &Bson| matches!(part.as_str(), Some("$$ROOT" | "$$CURRENT"));
    let Some(last_root) = parts.iter().rposition(is_root) else {
        return false;
    };
    // What comes after the old root wins over it.
    parts[last_root + 1..].iter().all(|part| match part {
        Bson::Document(part) => part
            .keys()
            .all(|key| !key.starts_with('$') && !NEEDED.contains(&key.as_str())),
        _ => false,
    })
}

fn copies(root: &Document, field: &str) -> bool {
    root.get_str(field)
        .is_ok_and(|value| value.strip_prefix('$') == Some(field))
}

fn mentions(value: &Bson, word: &str) -> bool {
    match value {
        Bson::String(text) => text == word,
        Bson::Array(values) => values.iter().any(|value| mentions(value, word)),
        Bson::Document(fields) => fields.values().any(|value| mentions(value, word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use bson::{Bson, doc};

    #[test]
    fn stages_that_keep_what_is_needed_are_taken() {
        for text in [
            "[]",
            r#"[{"$match":{"fullDocument.tenant":"acme"}}]"#,
            r#"[{"$match":{"operationType":{"$in":["insert"]}}},{"$unset":"fullDocument.secret"}]"#,
            r#"[{"$unset":["fullDocument.a","wallTime"]}]"#,
            r#"[{"$project":{"fullDocument.password":0}}]"#,
            r#"[{"$project":{"operationType":1,"ns":true,"documentKey":1,"fullDocument.name":1}}]"#,
            r#"[{"$addFields":{"fullDocument.source":"eu"}},{"$set":{"x":1}}]"#,
            r#"[{"$replaceRoot":{"newRoot":{"$mergeObjects":["$$ROOT",{"fullDocument":null}]}}}]"#,
            r#"[{"$replaceWith":{"_id":"$_id","operationType":"$operationType","ns":"$ns","documentKey":"$documentKey"}}]"#,
            r#"[{"$redact":{"$cond":[{"$eq":["$ns.coll","x"]},"$$PRUNE","$$KEEP"]}}]"#,
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn stages_that_lose_or_change_what_is_needed_are_refused() {
        for (text, why) in [
            ("", "is no JSON"),
            ("[{", "is no JSON"),
            ("{}", "is no array"),
            ("[1]", "is no array"),
            (r#"[{}]"#, "exactly one name"),
            (r#"[{"$match":{},"$set":{}}]"#, "exactly one name"),
            (r#"[{"$match":1}]"#, "takes a document"),
            (r#"[{"$group":{"_id":1}}]"#, "$group is not allowed"),
            (r#"[{"match":{}}]"#, "match is not allowed"),
            (
                r#"[{"$changeStreamSplitLargeEvent":{}}]"#,
                "added by itself",
            ),
            (r#"[{"$unset":"_id"}]"#, "removes _id"),
            (
                r#"[{"$unset":["a","documentKey._id"]}]"#,
                "removes documentKey",
            ),
            (r#"[{"$unset":1}]"#, "takes the names"),
            (
                r#"[{"$project":{"fullDocument":1}}]"#,
                "leaves out operationType",
            ),
            (
                r#"[{"$project":{"operationType":1,"ns":1,"x":1}}]"#,
                "leaves out documentKey",
            ),
            (
                r#"[{"$project":{"_id":0,"operationType":1,"ns":1,"documentKey":1}}]"#,
                "removes _id",
            ),
            (r#"[{"$project":{"ns":0}}]"#, "removes ns"),
            (
                r#"[{"$project":{"operationType":"$x","ns":1,"documentKey":1}}]"#,
                "changes operationType",
            ),
            (r#"[{"$set":{"ns.coll":"x"}}]"#, "changes ns"),
            (r#"[{"$addFields":{"_id":1}}]"#, "changes _id"),
            (
                r#"[{"$replaceRoot":{"newRoot":"$fullDocument"}}]"#,
                "cannot be seen to keep",
            ),
            (r#"[{"$replaceRoot":{}}]"#, "takes {newRoot"),
            (
                r#"[{"$replaceWith":{"$mergeObjects":["$$ROOT",{"ns":1}]}}]"#,
                "cannot be seen to keep",
            ),
            (
                r#"[{"$replaceWith":{"$mergeObjects":["$$ROOT","$fullDocument"]}}]"#,
                "cannot be seen to keep",
            ),
            (
                r#"[{"$redact":{"$cond":[true,"$$DESCEND","$$PRUNE"]}}]"#,
                "$$DESCEND",
            ),
        ] {
            let problems = parse(text).unwrap_err();
            assert!(problems[0].contains(why), "{text}: {problems:?}");
        }
    }

    #[test]
    fn every_wrong_stage_is_told() {
        let problems = parse(r#"[{"$out":"x"},{"$match":{}},{"$unset":"ns"}]"#).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("stage 1:") && problems[1].starts_with("stage 3:"));
    }

    #[test]
    fn extended_json_becomes_bson_types() {
        let id = "65bc9fb6c485f419a7a877fe";
        let text = format!(
            r#"[{{"$match":{{"documentKey._id":{{"$oid":"{id}"}},"n":{{"$gt":{{"$numberLong":"5"}}}},"r":{{"$regex":"^a","$options":"i"}}}}}}]"#
        );
        let stages = parse(&text).unwrap();
        let query = stages[0].get_document("$match").unwrap();
        assert!(matches!(
            query.get("documentKey._id"),
            Some(Bson::ObjectId(_))
        ));
        assert_eq!(
            query.get_document("n").unwrap().get("$gt"),
            Some(&Bson::Int64(5))
        );
        assert_eq!(
            query.get("r"),
            Some(&Bson::Document(doc! {"$regex": "^a", "$options": "i"}))
        );
    }
}
