//! The fields of a handler: for the published schema, and for whoever misspells one.

use serde_json::{Value, json};

/// A field, and what it means.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub meaning: &'static str,
    shape: fn() -> Value,
}

const fn field(name: &'static str, shape: fn() -> Value, meaning: &'static str) -> Field {
    Field {
        name,
        meaning,
        shape,
    }
}

/// All of them. `docs/workers.md` has the same.
pub const ALL: [Field; 11] = [
    field(
        "url",
        || json!({"type": "string", "pattern": "^https?://"}),
        "The service that is called, with http or https. Redirects are not followed",
    ),
    field(
        "exec",
        || json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
        "In the place of url: a program and its arguments. It gets the record on its input, and exit code 0 means that the job is done. No shell",
    ),
    field(
        "method",
        || json!({"enum": ["POST", "PUT", "PATCH"]}),
        "POST where it is not there",
    ),
    field(
        "headers",
        || json!({"type": "object", "additionalProperties": {"type": "string"}}),
        "Headers of the request, such as authorization. They are never shown",
    ),
    field(
        "secret",
        || {
            let one = json!({"type": "string", "pattern": "^whsec_"});
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 2}]})
        },
        "The secret of the signature, as Standard Webhooks has it (whsec_...), or two of them while they are rotated. It is never shown",
    ),
    field(
        "timeout",
        duration,
        "How long one attempt may take; 10s where it is not there, 15m at most",
    ),
    field(
        "retries",
        || json!({"type": "integer", "minimum": 0, "maximum": 100}),
        "How often a failed attempt is made again; 3 where it is not there",
    ),
    field(
        "backoff",
        duration,
        "The wait before the first of them, which doubles up to 5m; 1s where it is not there",
    ),
    field(
        "concurrency",
        || json!({"type": "integer", "minimum": 1, "maximum": 10000}),
        "How many of its jobs run at a time in one worker; WORKER_CONCURRENCY where it is not there",
    ),
    field(
        "order",
        || json!({"enum": ["key", "none"]}),
        "\"key\" (the default) carries out the jobs of one document one after the other, and a failed one holds the next ones; with \"none\" they pass it",
    ),
    field(
        "priority",
        || json!({"type": "integer", "minimum": 1, "maximum": 10}),
        "From 1 to 10, the highest, for jobs without the header tw-priority; 10 where it is not there",
    ),
];

fn duration() -> Value {
    json!({"type": "string", "description": "A number with a unit: 500ms, 10s, 2m"})
}

/// The JSON Schema of a file with handlers.
pub fn schema() -> Value {
    let properties = ALL.iter().map(|field| {
        let mut schema = (field.shape)();
        schema["description"] = field.meaning.into();
        (field.name.to_owned(), schema)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tailwater handlers",
        "description": "What tailwater worker does about each job. docs/workers.md explains the fields.",
        "type": "object",
        "properties": {
            "handlers": {
                "type": "object",
                "description": "Each job by its name, with its handler",
                "minProperties": 1,
                "additionalProperties": {"$ref": "#/$defs/handler"},
            },
        },
        "required": ["handlers"],
        "additionalProperties": false,
        "$defs": {
            "handler": {
                "type": "object",
                "properties": properties.collect::<serde_json::Map<_, _>>(),
                "oneOf": [{"required": ["url"]}, {"required": ["exec"]}],
                "additionalProperties": false,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> String {
        std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn the_published_schema_is_that_of_the_code() {
        let published: Value = serde_json::from_str(&file("config/handlers.schema.json")).unwrap();
        let now = schema();
        assert!(
            published == now,
            "write it anew: tailwater worker schema > config/handlers.schema.json\n{now:#}"
        );
    }

    #[test]
    fn every_field_is_documented() {
        let page = file("docs/workers.md");
        for field in &ALL {
            let row = format!("| `{}` |", field.name);
            assert!(page.contains(&row), "{}", field.name);
        }
    }
}
