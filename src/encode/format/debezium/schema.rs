//! The schemas that stand beside each key and value with `schemas.enable`.

/// What names a schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub name: &'a str,
    pub database: &'a str,
    pub collection: &'a str,
}

impl Subject<'_> {
    fn write(self, out: &mut Vec<u8>, kind: &str) {
        let full = format!("{}.{}.{}.{kind}", self.name, self.database, self.collection);
        super::write_string(out, full.as_bytes());
    }
}

/// Appends the schema of a key and what comes before its payload; a brace closes it.
pub(super) fn open_key(out: &mut Vec<u8>, subject: Subject<'_>) {
    out.extend_from_slice(
        br#"{"schema":{"type":"struct","fields":[{"type":"string","optional":false,"field":"id"}],"optional":false,"name":"#,
    );
    subject.write(out, "Key");
    out.extend_from_slice(br#"},"payload":"#);
}

/// As [`open_key`], of a value.
pub(super) fn open_value(out: &mut Vec<u8>, subject: Subject<'_>) {
    for part in ENVELOPE {
        out.extend_from_slice(part.as_bytes());
    }
    subject.write(out, "Envelope");
    out.extend_from_slice(br#"},"payload":"#);
}

/// The schema of a value up to its own name.
const ENVELOPE: &[&str] = &[
    r#"{"schema":{"type":"struct","fields":["#,
    r#"{"type":"string","optional":true,"name":"io.debezium.data.Json","version":1,"field":"before"},"#,
    r#"{"type":"string","optional":true,"name":"io.debezium.data.Json","version":1,"field":"after"},"#,
    r#"{"type":"struct","fields":["#,
    r#"{"type":"array","items":{"type":"string","optional":false},"optional":true,"field":"removedFields"},"#,
    r#"{"type":"string","optional":true,"name":"io.debezium.data.Json","version":1,"field":"updatedFields"},"#,
    r#"{"type":"array","items":{"type":"struct","fields":["#,
    r#"{"type":"string","optional":false,"field":"field"},{"type":"int32","optional":false,"field":"size"}"#,
    r#"],"optional":false,"name":"io.debezium.connector.mongodb.changestream.truncatedarray","version":1},"#,
    r#""optional":true,"field":"truncatedArrays"}],"#,
    r#""optional":true,"name":"io.debezium.connector.mongodb.changestream.updatedescription","version":1,"field":"updateDescription"},"#,
    r#"{"type":"struct","fields":["#,
    r#"{"type":"string","optional":false,"field":"version"},"#,
    r#"{"type":"string","optional":false,"field":"connector"},"#,
    r#"{"type":"string","optional":false,"field":"name"},"#,
    r#"{"type":"int64","optional":false,"field":"ts_ms"},"#,
    r#"{"type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,"parameters":{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},"default":"false","field":"snapshot"},"#,
    r#"{"type":"string","optional":false,"field":"db"},"#,
    r#"{"type":"string","optional":true,"field":"sequence"},"#,
    r#"{"type":"int64","optional":true,"field":"ts_us"},"#,
    r#"{"type":"int64","optional":true,"field":"ts_ns"},"#,
    r#"{"type":"string","optional":false,"field":"collection"},"#,
    r#"{"type":"int32","optional":false,"field":"ord"},"#,
    r#"{"type":"string","optional":true,"field":"lsid"},"#,
    r#"{"type":"int64","optional":true,"field":"txnNumber"},"#,
    r#"{"type":"int64","optional":true,"field":"wallTime"}"#,
    r#"],"optional":false,"name":"io.debezium.connector.mongo.Source","version":1,"field":"source"},"#,
    r#"{"type":"string","optional":true,"field":"op"},"#,
    r#"{"type":"int64","optional":true,"field":"ts_ms"},"#,
    r#"{"type":"struct","fields":["#,
    r#"{"type":"string","optional":false,"field":"id"},"#,
    r#"{"type":"int64","optional":false,"field":"total_order"},"#,
    r#"{"type":"int64","optional":false,"field":"data_collection_order"}"#,
    r#"],"optional":true,"name":"event.block","version":1,"field":"transaction"}"#,
    r#"],"optional":false,"name":"#,
];
