//! The fields of a schedule: for the published schema, and for whoever misspells one.

use serde_json::{Value, json};

/// A field, and what it means.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    meaning: &'static str,
    shape: fn() -> Value,
}

const fn field(name: &'static str, shape: fn() -> Value, meaning: &'static str) -> Field {
    Field {
        name,
        meaning,
        shape,
    }
}

/// All of them. `docs/schedules.md` has the same.
pub const ALL: [Field; 22] = [
    field("_id", any, "Your choice"),
    field(
        "name",
        || json!({"type": "string", "minLength": 1, "maxLength": 256}),
        "A name of its own: the key of the record, under which the progress of the schedule is stored",
    ),
    field(
        "kind",
        || json!({"const": "due"}),
        "\"due\" where the documents of a collection say when; left out for cron, every and at",
    ),
    field("cron", text, "When: a cron line such as \"0 9 * * 1-5\""),
    field(
        "timezone",
        text,
        "With cron: a time zone such as Europe/Berlin; UTC where it is not there",
    ),
    field(
        "every",
        || json!({"type": "string", "pattern": "^[0-9]+[smhd]$"}),
        "When: an interval such as 15m, at multiples of it since 1970 in UTC",
    ),
    field(
        "at",
        || json!({"anyOf": [{"type": "string"}, {"type": "object", "required": ["$date"]}]}),
        "When: one time, as 2027-01-31T12:00:00Z or as a date of Extended JSON",
    ),
    field(
        "jobName",
        || json!({"type": "string", "minLength": 1}),
        "The job: the header tw-job, and the topic jobs.<jobName> where there is no topic",
    ),
    field("topic", text, "The topic, without placeholders"),
    field("payload", any, "Becomes fullDocument of the record"),
    field(
        "priority",
        || json!({"type": ["integer", "string"]}),
        "The header tw-priority; 1 for cron and every, 5 for at and due, where it is not there",
    ),
    field(
        "isActive",
        || json!({"type": "boolean"}),
        "If false, it makes no records",
    ),
    field(
        "missed",
        || json!({"enum": ["once", "skip", "all"]}),
        "What happens to due times that were missed while nobody ran: once where it is not there",
    ),
    field(
        "database",
        text,
        "With kind due: the database of the documents",
    ),
    field("collection", text, "With kind due: their collection"),
    field(
        "dueField",
        text,
        "With kind due: their field with the time, such as scheduledFor",
    ),
    field(
        "filter",
        || json!({"type": "object"}),
        "With kind due: a MongoDB query; a document that does not match is not due",
    ),
    field("metadata", any, "Your own: a description, an owner"),
    field("createdAt", any, "Your own"),
    field("updatedAt", any, "Your own"),
    field("status", any, "Written by Tailwater"),
    field("lockInfo", any, "Reserved; not used"),
];

fn any() -> Value {
    json!({})
}

fn text() -> Value {
    json!({"type": "string"})
}

/// The JSON Schema of a file of schedules.
pub fn schema() -> Value {
    let properties = ALL.iter().map(|field| {
        let mut schema = (field.shape)();
        schema["description"] = field.meaning.into();
        (field.name.to_owned(), schema)
    });
    let of_due = ["kind", "database", "collection", "dueField"];
    let list = json!({"type": "array", "items": {"$ref": "#/$defs/schedule"}});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tailwater schedules",
        "description": "Jobs that are due at a time. docs/schedules.md explains the fields.",
        "anyOf": [
            list,
            {
                "type": "object",
                "properties": {"schedules": list},
                "required": ["schedules"],
                "additionalProperties": false,
            },
        ],
        "$defs": {
            "schedule": {
                "type": "object",
                "properties": properties.collect::<serde_json::Map<_, _>>(),
                "required": ["name", "jobName"],
                "oneOf": [
                    {"required": ["cron"]},
                    {"required": ["every"]},
                    {"required": ["at"]},
                    {"required": of_due},
                ],
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/schedules.schema.json");
        let published = std::fs::read_to_string(path).unwrap();
        let published: Value = serde_json::from_str(&published).unwrap();
        let now = schema();
        assert!(
            published == now,
            "write it anew: tailwater schedules schema > config/schedules.schema.json\n{now:#}"
        );
    }
}
