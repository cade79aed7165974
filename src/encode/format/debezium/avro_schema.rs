//! The schemas that stand beside keys and values with `schemas.enable`, as Connect's converters make Avro of them:
//! what is optional is a union with null and has that as its default; what Avro has no place for is in properties
//! whose names begin with `connect.`.

use crate::change::event::Event;
use crate::encode::serialization::Named;
use std::sync::LazyLock;

/// The schemas of an event's key and value.
pub(super) fn of(stream: &str, event: &Event<'_>) -> [Named; 2] {
    let full = adjusted(&format!("{stream}.{}.{}", event.database, event.collection));
    let named = |kind: &str, fields: &str| {
        let name = format!("{full}.{kind}");
        // A name of Avro's needs no escape in JSON.
        let schema = format!(
            r#"{{"type":"record","name":"{kind}","namespace":"{full}","fields":[{fields}],"connect.name":"{name}"}}"#
        );
        Named { name, schema }
    };
    [named("Key", KEY), named("Envelope", &ENVELOPE.concat())]
}

/// The event that stands for all records about transactions where schemas are looked up.
pub(super) static BOUND: LazyLock<Event<'static>> =
    LazyLock::new(|| Event::about("transaction", "", ""));

/// The schemas of what says where transactions begin and end.
pub(super) fn of_bounds(_stream: &str, _event: &Event<'_>) -> [Named; 2] {
    let named = |kind: &str, fields: &str| {
        let (kind, namespace) = (
            format!("TransactionMetadata{kind}"),
            "io.debezium.connector.common",
        );
        let name = format!("{namespace}.{kind}");
        let schema = format!(
            r#"{{"type":"record","name":"{kind}","namespace":"{namespace}","fields":[{fields}],"connect.version":1,"connect.name":"{name}"}}"#
        );
        Named { name, schema }
    };
    [named("Key", KEY), named("Value", &BOUNDS.concat())]
}

/// A full name as `schema.name.adjustment.mode=avro` makes it: `_` for what Avro has in no name.
fn adjusted(name: &str) -> String {
    // Java replaces each half of what is beyond the first plane.
    let mut adjusted = String::with_capacity(name.len());
    for (index, c) in name.chars().enumerate() {
        match c {
            'a'..='z' | 'A'..='Z' | '_' => adjusted.push(c),
            '0'..='9' if index == 0 => {
                adjusted.push('_');
                adjusted.push(c);
            }
            '0'..='9' | '.' if index > 0 => adjusted.push(c),
            _ => (0..c.len_utf16()).for_each(|_| adjusted.push('_')),
        }
    }
    adjusted
}

const KEY: &str = r#"{"name":"id","type":"string"}"#;

const BOUNDS: &[&str] = &[
    r#"{"name":"status","type":"string"},{"name":"id","type":"string"},"#,
    r#"{"name":"event_count","type":["null","long"],"default":null},"#,
    r#"{"name":"data_collections","type":["null",{"type":"array","items":["null",{"type":"record","name":"collection","namespace":"event","fields":["#,
    r#"{"name":"data_collection","type":"string"},{"name":"event_count","type":"long"}"#,
    r#"],"connect.version":1,"connect.name":"event.collection"}]}],"default":null},"#,
    r#"{"name":"ts_ms","type":"long"}"#,
];

const ENVELOPE: &[&str] = &[
    r#"{"name":"before","type":["null",{"type":"string","connect.version":1,"connect.name":"io.debezium.data.Json"}],"default":null},"#,
    r#"{"name":"after","type":["null",{"type":"string","connect.version":1,"connect.name":"io.debezium.data.Json"}],"default":null},"#,
    r#"{"name":"updateDescription","type":["null",{"type":"record","name":"updatedescription","namespace":"io.debezium.connector.mongodb.changestream","fields":["#,
    r#"{"name":"removedFields","type":["null",{"type":"array","items":"string"}],"default":null},"#,
    r#"{"name":"updatedFields","type":["null",{"type":"string","connect.version":1,"connect.name":"io.debezium.data.Json"}],"default":null},"#,
    r#"{"name":"truncatedArrays","type":["null",{"type":"array","items":{"type":"record","name":"truncatedarray","fields":["#,
    r#"{"name":"field","type":"string"},{"name":"size","type":"int"}],"#,
    r#""connect.version":1,"connect.name":"io.debezium.connector.mongodb.changestream.truncatedarray"}}],"default":null}],"#,
    r#""connect.version":1,"connect.name":"io.debezium.connector.mongodb.changestream.updatedescription"}],"default":null},"#,
    r#"{"name":"source","type":{"type":"record","name":"Source","namespace":"io.debezium.connector.mongo","fields":["#,
    r#"{"name":"version","type":"string"},"#,
    r#"{"name":"connector","type":"string"},"#,
    r#"{"name":"name","type":"string"},"#,
    r#"{"name":"ts_ms","type":"long"},"#,
    r#"{"name":"snapshot","type":[{"type":"string","connect.version":1,"connect.parameters":{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},"connect.default":"false","connect.name":"io.debezium.data.Enum"},"null"],"default":"false"},"#,
    r#"{"name":"db","type":"string"},"#,
    r#"{"name":"sequence","type":["null","string"],"default":null},"#,
    r#"{"name":"ts_us","type":["null","long"],"default":null},"#,
    r#"{"name":"ts_ns","type":["null","long"],"default":null},"#,
    r#"{"name":"collection","type":"string"},"#,
    r#"{"name":"ord","type":"int"},"#,
    r#"{"name":"lsid","type":["null","string"],"default":null},"#,
    r#"{"name":"txnNumber","type":["null","long"],"default":null},"#,
    r#"{"name":"wallTime","type":["null","long"],"default":null}"#,
    r#"],"connect.version":1,"connect.name":"io.debezium.connector.mongo.Source"}},"#,
    r#"{"name":"op","type":["null","string"],"default":null},"#,
    r#"{"name":"ts_ms","type":["null","long"],"default":null},"#,
    r#"{"name":"transaction","type":["null",{"type":"record","name":"block","namespace":"event","fields":["#,
    r#"{"name":"id","type":"string"},"#,
    r#"{"name":"total_order","type":"long"},"#,
    r#"{"name":"data_collection_order","type":"long"}"#,
    r#"],"connect.version":1,"connect.name":"event.block"}],"default":null}"#,
];
