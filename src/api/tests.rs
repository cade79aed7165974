//! What is served is what is described.

use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Path, method and description of every call in the document.
fn described(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if METHODS.contains(&method.as_str()) {
                all.push((path.clone(), method.clone(), operation.clone()));
            }
        }
    }
    all
}

#[test]
fn every_call_is_described_and_nothing_else() {
    let document = document::document(utoipa::openapi::OpenApi::default());
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{document:#}"
    );
    let described: BTreeSet<_> = described(&document)
        .into_iter()
        .map(|(path, method, _)| (path, method))
        .collect();
    let served = OPEN
        .iter()
        .chain(GUARDED)
        .map(|(path, method)| ((*path).to_owned(), (*method).to_owned()));
    assert_eq!(described, served.collect());
}

#[test]
fn what_needs_no_token_only_reads_and_is_described_so() {
    assert!(OPEN.iter().all(|(_, method)| *method == "get"));
    let document = document::document(utoipa::openapi::OpenApi::default());
    for (path, method, operation) in described(&document) {
        let is_open = OPEN.contains(&(path.as_str(), method.as_str()));
        // An empty requirement instead of the document's.
        let is_described_so = operation["security"] == serde_json::json!([{}]);
        assert_eq!(is_open, is_described_so, "{method} {path}");
    }
}

#[test]
fn every_call_has_a_name_a_summary_and_its_parameters() {
    let document = document::document(utoipa::openapi::OpenApi::default());
    let mut names = BTreeSet::new();
    for (path, method, operation) in described(&document) {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name), "{method} {path}");
        assert!(operation["summary"].is_string(), "{method} {path}");
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for part in path.split('/').filter(|part| part.starts_with('{')) {
            let part = part.trim_matches(['{', '}']);
            let is_it = |parameter: &Value| parameter["name"] == part && parameter["in"] == "path";
            assert!(parameters.iter().any(is_it), "{method} {path}: {part}");
        }
    }
}

#[test]
fn references_lead_somewhere_and_examples_are_what_they_are_of() {
    let document = document::document(utoipa::openapi::OpenApi::default());
    let mut examples = 0;
    check(&document, &document, &mut examples);
    assert!(examples > 5, "{examples}");
}

/// Looks at every part of the document.
fn check(part: &Value, document: &Value, examples: &mut usize) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                assert!(resolved(reference, document).is_some(), "{reference}");
            }
            // Of a body beside its schema, or of a schema itself.
            let schema = fields.get("schema").unwrap_or(part);
            let is_schema = fields.contains_key("schema") || fields.contains_key("type");
            if let Some(example) = fields.get("example").filter(|_| is_schema) {
                *examples += 1;
                fits(example, schema, document).unwrap_or_else(|why| panic!("{example}: {why}"));
            }
            for inner in fields.values() {
                check(inner, document, examples);
            }
        }
        Value::Array(list) => list
            .iter()
            .for_each(|inner| check(inner, document, examples)),
        _ => {}
    }
}

fn resolved<'a>(reference: &str, document: &'a Value) -> Option<&'a Value> {
    document.pointer(reference.strip_prefix('#')?)
}

/// As much of JSON Schema as the document uses.
fn fits(value: &Value, schema: &Value, document: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(value, resolved(reference, document).unwrap(), document);
    }
    for any in ["anyOf", "oneOf"] {
        if let Some(list) = schema[any].as_array()
            && !list.iter().any(|one| fits(value, one, document).is_ok())
        {
            return Err(format!("fits none of {any}"));
        }
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    };
    let is_right = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(is),
        _ => true,
    };
    if !is_right {
        return Err(format!("is no {}", schema["type"]));
    }
    let allowed = schema["enum"].as_array();
    if allowed.is_some_and(|allowed| !allowed.contains(value)) {
        return Err(format!("is none of {}", schema["enum"]));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let inner_schema = &schema["properties"][name];
        fits(inner, inner_schema, document).map_err(|why| format!("{name}: {why}"))?;
    }
    for inner in value.as_array().into_iter().flatten() {
        fits(inner, &schema["items"], document)?;
    }
    Ok(())
}
