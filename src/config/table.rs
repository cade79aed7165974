//! Every environment variable, in one table.

use super::variable::Fallback::{Required, Value, Words};
use super::variable::Group::{
    Checkpoints, Coordination, Flow, Kafka, Listeners, Live, Operations, Records, Schedules,
    Schemas, Snapshots, Source, Topics, Workers,
};
use super::variable::{Form, Unit, Variable};
use serde::Deserialize;

/// Declares each variable once: a static of its own, its place in [`ALL`], and its field in the
/// flat struct that `envy` fills.
macro_rules! variables {
    ($($name:ident $field:ident: $group:expr, $form:expr, $default:expr, $example:literal, $doc:literal;)*) => {
        $(pub static $name: Variable = Variable {
            name: stringify!($name),
            group: $group,
            form: $form,
            default: $default,
            example: $example,
            doc: $doc,
        };)*

        /// All variables, in the order of the reference table.
        pub static ALL: &[&Variable] = &[$(&$name),*];

        /// What the environment holds, as text: validation is ours, so that all errors are told at
        /// once and no secret is echoed.
        #[derive(Deserialize, Default)]
        pub(super) struct Raw {
            $($field: Option<String>,)*
        }

        impl Raw {
            pub(super) fn get(&self, variable: &Variable) -> Option<&str> {
                match variable.name {
                    $(stringify!($name) => self.$field.as_deref(),)*
                    _ => None,
                }
            }
        }
    };
}

const fn count(min: u64, max: u64) -> Form {
    number(Unit::Count, min, max)
}

const fn millis(min: u64, max: u64) -> Form {
    number(Unit::Milliseconds, min, max)
}

const fn number(unit: Unit, min: u64, max: u64) -> Form {
    Form::Number { unit, min, max }
}

const fn bytes(min: u64, max: u64) -> Form {
    Form::Bytes { min, max }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const TOPIC: Form = Form::Text(
    "a topic name of letters, digits, ., _ and -, which may hold {database}, {collection}, {operation}",
);
const PLAIN_TOPIC: Form = Form::Text("a topic name of letters, digits, ., _ and -");
const FIELDS: Form = Form::Text("fields as path or collection:path, separated by commas");
const NAMES: Form =
    Form::Text("names separated by commas, in which * stands for any run of characters");

variables! {
    MONGODB_URI mongodb_uri: Source, Form::Uri, Required,
        "mongodb://localhost:27017/dashboard",
        "Where MongoDB is, with the database to watch in the path. It must be a replica set or a sharded cluster.";
    MONGODB_DATABASE mongodb_database: Source, Form::Text("the name of one database"), Words("the URI's path"),
        "dashboard",
        "The database to watch, where the URI's path is the one to authenticate against.";
    WATCH_DATABASES watch_databases: Source, NAMES, Words("one database"),
        "dashboard,tenant_*",
        "Watches these databases of the whole deployment in one stream. No other setting may name a database then.";
    STREAMS streams: Source, Form::Text("names of databases, or name=pattern|pattern, separated by commas"), Words("one stream"),
        "dashboard,analytics,tenants=workspace_*",
        "Runs several streams in one process, each for a database or for those that match its patterns. Each has its own cursor, producer, checkpoint and faults. WATCH_COLLECTIONS and EXCLUDE_COLLECTIONS name database.collection then.";
    WATCH_COLLECTIONS watch_collections: Source, NAMES, Words("every collection"),
        "users,organizations,audit_*",
        "The collections to watch; with WATCH_DATABASES as database.collection. MongoDB filters, so other collections cost nothing.";
    EXCLUDE_COLLECTIONS exclude_collections: Source, NAMES, Words("none"),
        "sessions,migrations",
        "Collections to leave out; takes precedence over WATCH_COLLECTIONS. system.* and Tailwater's own are always left out, temporary ones of the server (tmp.agg_out.*) unless WATCH_COLLECTIONS names them.";
    WATCH_OPERATIONS watch_operations: Source, Form::Text("operations separated by commas: insert, update, replace, delete"), Words("all four"),
        "insert,update,replace,delete",
        "Which changes of documents to deliver.";
    FULL_DOCUMENT full_document: Source, Form::Choice(&["default", "updateLookup", "whenAvailable", "required"]), Value("updateLookup"),
        "updateLookup",
        "Whether an update carries the whole document beside its description: default leaves it out, updateLookup looks it up, whenAvailable and required take it from post-images.";
    FULL_DOCUMENT_BEFORE_CHANGE full_document_before_change: Source, Form::Choice(&["off", "whenAvailable", "required"]), Value("off"),
        "whenAvailable",
        "Adds the document as it was before. The collection must keep pre-images (changeStreamPreAndPostImages).";
    CHANGE_STREAM_PIPELINE change_stream_pipeline: Source, Form::Text("a JSON array of stages: $match, $addFields, $set, $project, $replaceRoot, $replaceWith, $redact, $unset"), Words("none"),
        r#"[{"$match":{"fullDocument.tenant":"acme"}}]"#,
        "Stages of your own, run by the server after the filter, in Extended JSON. They must keep _id, operationType, ns and documentKey.";
    SHOW_EXPANDED_EVENTS show_expanded_events: Source, Form::Flag, Value("false"),
        "true",
        "Also delivers create, createIndexes, shardCollection and similar events (MongoDB 6.0 and later).";
    START_AT start_at: Source, Form::Text("now, earliest, a time as 2024-01-31T12:00:00Z, or token:<hex digits>"), Value("now"),
        "2024-01-31T12:00:00Z",
        "Where a stream without a checkpoint begins; with one, the checkpoint decides.";
    SOURCE_BATCH_BYTES source_batch_bytes: Source, bytes(16 * KIB, 16 * MIB), Value("1MiB"),
        "1MiB",
        "The target size of one reply of MongoDB. The batch size is adapted to the size of the events.";
    RECONNECT_DELAY_MS reconnect_delay_ms: Source, millis(1, 30_000), Value("1000"),
        "1000",
        "The first wait before connecting again; doubles with jitter, up to 30 s.";
    RECONNECT_MAX_RETRIES reconnect_max_retries: Source, count(0, 1_000_000), Value("0"),
        "10",
        "How many failures in a row end the stream; 0 means that none do.";

    KAFKA_BROKERS kafka_brokers: Kafka, Form::Text("host:port pairs separated by commas"), Required,
        "localhost:9092",
        "The brokers to connect to first; they name the others.";
    KAFKA_CLIENT_ID kafka_client_id: Kafka, Form::Text("a name without spaces or control characters, of 1 to 200 characters"), Value("tailwater"),
        "database-watcher",
        "This instance's name at the brokers, and the first half of the stream's id.";
    KAFKA_SECURITY_PROTOCOL kafka_security_protocol: Kafka, Form::Choice(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]), Value("plaintext"),
        "sasl_ssl",
        "How to connect to the brokers: TLS with ssl, authentication with sasl_*.";
    KAFKA_SASL_MECHANISM kafka_sasl_mechanism: Kafka, Form::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), Words("none"),
        "SCRAM-SHA-512",
        "How to authenticate, with sasl_plaintext or sasl_ssl.";
    KAFKA_SASL_USERNAME kafka_sasl_username: Kafka, Form::Text("a user name"), Words("none"),
        "tailwater",
        "The user to authenticate as.";
    KAFKA_SASL_PASSWORD kafka_sasl_password: Kafka, Form::Secret, Words("none"),
        "…",
        "The user's password.";
    KAFKA_SSL_CA_LOCATION kafka_ssl_ca_location: Kafka, Form::Path("the path of a PEM file or folder"), Words("the system's store"),
        "/etc/ssl/certs/kafka-ca.pem",
        "The certificate authorities to trust for the brokers' certificates.";

    KAFKA_DB_CHANGES_TOPIC kafka_db_changes_topic: Topics, TOPIC, Words("a topic per operation"),
        "database.changes",
        "One topic for all operations: keeps the changes of each document in order. Takes precedence over the four below.";
    KAFKA_TOPIC_INSERT kafka_topic_insert: Topics, TOPIC, Value("database.insert"),
        "database.insert",
        "The topic of inserts.";
    KAFKA_TOPIC_UPDATE kafka_topic_update: Topics, TOPIC, Value("database.update"),
        "database.update",
        "The topic of updates.";
    KAFKA_TOPIC_REPLACE kafka_topic_replace: Topics, TOPIC, Words("the update topic"),
        "database.replace",
        "The topic of replacements.";
    KAFKA_TOPIC_DELETE kafka_topic_delete: Topics, TOPIC, Value("database.delete"),
        "database.delete",
        "The topic of deletes.";
    KAFKA_TOPIC_PREFIX kafka_topic_prefix: Topics, PLAIN_TOPIC, Words("none"),
        "shop",
        "With FORMAT=debezium or mongo-kafka: what topics begin with, as in <prefix>.<database>.<collection>: the connector's topic.prefix. KAFKA_DB_CHANGES_TOPIC takes precedence. With debezium it is required: it is also source.name in records.";
    KAFKA_TOPIC_SUFFIX kafka_topic_suffix: Topics, PLAIN_TOPIC, Words("none"),
        "cdc",
        "With FORMAT=mongo-kafka: what topics end with: the connector's topic.suffix.";
    KAFKA_TOPIC_SEPARATOR kafka_topic_separator: Topics, PLAIN_TOPIC, Value("."),
        "-",
        "With FORMAT=mongo-kafka: what stands between the parts of a topic's name: the connector's topic.separator.";
    KAFKA_TOPIC_NAMESPACE_MAP kafka_topic_namespace_map: Topics, Form::Text("a JSON object of topics by namespace"), Words("none"),
        r#"{"shop.orders":"orders","/shop\\..*":"shop{sep_coll}","*":"rest"}"#,
        "With FORMAT=mongo-kafka: what stands in a topic's name between prefix and suffix, by database.collection, database, /expression or *: the connector's topic.namespace.map.";
    KAFKA_TOPIC_DDL kafka_topic_ddl: Topics, TOPIC, Words("logged and counted only"),
        "database.ddl",
        "The topic of drop, rename, dropDatabase and expanded events.";
    KAFKA_DLQ_TOPIC kafka_dlq_topic: Topics, TOPIC, Words("none"),
        "database.dead-letters",
        "The topic of records that cannot be delivered, with ON_RECORD_ERROR=dlq.";
    KAFKA_CREATE_TOPICS kafka_create_topics: Topics, Form::Flag, Value("true"),
        "false",
        "Creates topics that are missing: at the start also those that templates give for the collections that are there. When false, a missing topic of a fixed name stops the start.";
    KAFKA_TOPIC_PARTITIONS kafka_topic_partitions: Topics, count(1, 10_000), Words("the broker's default"),
        "6",
        "Partitions of a topic created here. Growing them later moves keys to other partitions.";
    KAFKA_TOPIC_REPLICATION kafka_topic_replication: Topics, count(1, 100), Words("the broker's default"),
        "3",
        "Replicas of a topic created here; at most the number of brokers.";
    KAFKA_TOPIC_CONFIG kafka_topic_config: Topics, Form::Text("name=value pairs separated by commas"), Words("the broker's defaults"),
        "retention.ms=604800000,max.message.bytes=16777216",
        "Settings of a topic created here.";

    FORMAT format: Records, Form::Choice(&["tailwater", "debezium", "mongo-kafka", "document", "cloudevents"]), Value("tailwater"),
        "debezium",
        "The format of records: Tailwater's own envelope, the records of Debezium's or MongoDB's connector byte for byte, the document alone with a tombstone for a delete, or CloudEvents. Live changes and verify read tailwater only.";
    JSON_MODE json_mode: Records, Form::Choice(&["simple", "relaxed", "canonical"]), Value("simple"),
        "relaxed",
        "How BSON becomes JSON: plain values, or MongoDB Extended JSON v2 relaxed or canonical.";
    KEY_FORMAT key_format: Records, Form::Choice(&["tailwater", "id", "id_string", "none"]), Value("tailwater"),
        "id",
        "With FORMAT=tailwater, document or cloudevents: the key of a record. Database, collection and _id; the _id alone, as relaxed Extended JSON or as a text; or none, with the partition of the default key, so that the changes of a document stay in order.";
    TOMBSTONES tombstones: Records, Form::Flag, Value("false"),
        "true",
        "Sends a null value after each delete, for compacted topics. Needs one topic for all operations.";
    TRANSACTION_METADATA transaction_metadata: Records, Form::Flag, Value("false"),
        "true",
        "Says of each change in a transaction of MongoDB which transaction that is (lsid, txnNumber), and which of its changes this one is (order): in the envelope, or in headers tw-txn-* where the value has no place for it. With FORMAT=debezium: the connector's provide.transaction.metadata.";
    DEBEZIUM_SCHEMAS debezium_schemas: Records, Form::Flag, Value("false"),
        "true",
        "With FORMAT=debezium: keys and values with their schema, as the connector's JsonConverter has them with schemas.enable=true.";
    DEBEZIUM_TRANSACTION_TOPIC debezium_transaction_topic: Records, Form::Text("a part of a topic's name"), Value("transaction"),
        "transaction",
        "With FORMAT=debezium and TRANSACTION_METADATA=true: the topic, behind KAFKA_TOPIC_PREFIX and a dot, that says where transactions begin and end: the connector's topic.transaction.";
    MONGO_KAFKA_JSON mongo_kafka_json: Records, Form::Choice(&["default", "extended", "simplified"]), Value("default"),
        "simplified",
        "With FORMAT=mongo-kafka: how BSON becomes JSON: the connector's output.json.formatter DefaultJson, ExtendedJson or SimplifiedJson.";
    MONGO_KAFKA_FULL_DOCUMENT_ONLY mongo_kafka_full_document_only: Records, Form::Flag, Value("false"),
        "true",
        "With FORMAT=mongo-kafka: the value is the document and not the event: the connector's publish.full.document.only. TOMBSTONES=true sends a null value for a delete.";
    MONGO_KAFKA_KEY mongo_kafka_key: Records, Form::Choice(&["json", "schema"]), Value("json"),
        "schema",
        "With FORMAT=mongo-kafka: the key is the documentKey as JSON, or what MONGO_KAFKA_KEY_SCHEMA takes of the event: the connector's output.format.key.";
    MONGO_KAFKA_KEY_SCHEMA mongo_kafka_key_schema: Records, Form::Text("a record of Avro, as JSON"), Words("the connector's own: the resume token"),
        r#"{"type":"record","name":"keySchema","fields":[{"name":"documentKey","type":["string","null"]}]}"#,
        "With MONGO_KAFKA_KEY=schema: the connector's output.schema.key.";
    MONGO_KAFKA_KEY_CONVERTER mongo_kafka_key_converter: Records, Form::Choice(&["string", "json", "json_schemas", "avro"]), Words("string, or that of values with MONGO_KAFKA_KEY=schema"),
        "avro",
        "With FORMAT=mongo-kafka: Connect's key.converter: StringConverter, JsonConverter without or with schemas.enable, or AvroConverter, which needs SERIALIZATION=avro.";
    MONGO_KAFKA_VALUE mongo_kafka_value: Records, Form::Choice(&["json", "schema", "infer"]), Value("json"),
        "infer",
        "With FORMAT=mongo-kafka: the value is JSON, or has the schema MONGO_KAFKA_VALUE_SCHEMA, or one that is inferred from each: the connector's output.format.value and output.schema.infer.value.";
    MONGO_KAFKA_VALUE_SCHEMA mongo_kafka_value_schema: Records, Form::Text("a record of Avro, as JSON"), Words("the connector's own, of events"),
        r#"{"type":"record","name":"order","fields":[{"name":"_id","type":"string"},{"name":"total","type":["double","null"]}]}"#,
        "With MONGO_KAFKA_VALUE=schema: the connector's output.schema.value.";
    MONGO_KAFKA_VALUE_CONVERTER mongo_kafka_value_converter: Records, Form::Choice(&["string", "json", "json_schemas", "avro"]), Words("avro with SERIALIZATION=avro, otherwise string, or json with a schema"),
        "json_schemas",
        "The same as MONGO_KAFKA_KEY_CONVERTER, of values: Connect's value.converter.";
    CLOUDEVENTS_MODE cloudevents_mode: Records, Form::Choice(&["structured", "binary"]), Value("structured"),
        "binary",
        "With FORMAT=cloudevents: the attributes in the value beside the data, or as headers.";
    TRACEPARENT_FIELD traceparent_field: Records, Form::Text("the dotted path of a field"), Words("none"),
        "meta.traceparent",
        "With FORMAT=cloudevents: the field of a document that holds its W3C trace context, which becomes the attribute traceparent.";
    ENVELOPE_RENAME envelope_rename: Records, Form::Text("fields of the envelope with their new names behind =, separated by commas"), Words("none"),
        "operationType=op,fullDocument=doc",
        "With FORMAT=tailwater or cloudevents: other names for fields of the envelope. Live changes and verify read the usual ones.";
    ENVELOPE_FIELDS envelope_fields: Records, Form::Text("a JSON object"), Words("none"),
        r#"{"source":"shop"}"#,
        "With FORMAT=tailwater or cloudevents: fields that each envelope has behind its own.";
    EXTRA_HEADERS extra_headers: Records, Form::Text("names and values of headers as name=value, separated by commas"), Words("none"),
        "source=shop,environment=production",
        "Headers that each record of a change has beside its own, in every format.";
    FIELDS_EXCLUDE fields_exclude: Records, FIELDS, Words("none"),
        "users:password,payments:card.number,*:ssn",
        "Fields of documents that never leave the process, as path or collection:path: not in records of any format, nor in dead letters, rows of snapshots or jobs. A path is dotted, goes through arrays, and takes what is below it with it.";
    FIELDS_INCLUDE fields_include: Records, FIELDS, Words("every field"),
        "users:name,users:address.city",
        "The only fields of a collection's documents that leave the process, beside _id. Collections that are not named keep all. FIELDS_EXCLUDE beats it.";
    FIELDS_MASK fields_mask: Records, Form::Text("fields with text, hash or last4 behind them, separated by commas"), Words("none"),
        "users:email=text,payments:card.number=last4,*:phone",
        "Fields whose values are replaced: by FIELDS_MASK_TEXT, by a hash with FIELDS_MASK_SALT (equal values stay equal), or by all but their last four characters.";
    FIELDS_MASK_TEXT fields_mask_text: Records, Form::Text("a text"), Value("***"),
        "[hidden]",
        "What stands in the place of a value that FIELDS_MASK hides.";
    FIELDS_MASK_SALT fields_mask_salt: Records, Form::Secret, Words("none"),
        "…",
        "The secret in the hashes of FIELDS_MASK: HMAC-SHA-256. Another salt makes other hashes.";
    FIELDS_RENAME fields_rename: Records, Form::Text("fields with their new names behind =, separated by commas"), Words("none"),
        "users:mail=email,orders:lines.qty=quantity",
        "Gives fields of documents other names, at the places where they are. All FIELDS_* mean the names that MongoDB has.";
    RECORD_TIMESTAMP record_timestamp: Records, Form::Choice(&["change", "now"]), Value("change"),
        "now",
        "The timestamp of a record: the time of the change, or the time of producing, so that retention does not remove old changes at once.";

    SERIALIZATION serialization: Schemas, Form::Choice(&["json", "avro", "json_schema", "protobuf"]), Value("json"),
        "avro",
        "How values are written: as JSON, or with a schema in a registry, in Avro, JSON or Protobuf. The schema of a collection comes from its $jsonSchema validator and from its documents.";
    SCHEMA_REGISTRY_URL schema_registry_url: Schemas, Form::Text("the http:// or https:// URL of a registry, without credentials"), Words("none"),
        "http://localhost:8081",
        "Where the registry of schemas is. It has Confluent's interface, as Confluent's, Redpanda's, Karapace and Apicurio (with /apis/ccompat/v7 in the URL) have.";
    SCHEMA_REGISTRY_USERNAME schema_registry_username: Schemas, Form::Text("a user name"), Words("none"),
        "tailwater",
        "The user to log in to the registry as.";
    SCHEMA_REGISTRY_PASSWORD schema_registry_password: Schemas, Form::Secret, Words("none"),
        "…",
        "The user's password at the registry.";
    SCHEMA_REGISTRY_TOKEN schema_registry_token: Schemas, Form::Secret, Words("none"),
        "…",
        "A bearer token for the registry, instead of a user and a password.";
    SCHEMA_REGISTRY_CA_LOCATION schema_registry_ca_location: Schemas, Form::Path("the path of a PEM file"), Words("public authorities"),
        "/etc/ssl/certs/registry-ca.pem",
        "Certificate authorities to trust for the registry's certificate, beside the public ones.";
    SCHEMA_SUBJECT schema_subject: Schemas, Form::Choice(&["topic", "record", "topic_record"]), Value("topic"),
        "topic_record",
        "Under which subject a schema is registered: <topic>-value, the record's full name, or <topic>-<full name>. With topic, each topic must hold records of one collection.";
    SCHEMA_ID_IN schema_id_in: Schemas, Form::Choice(&["value", "header", "apicurio_header"]), Value("value"),
        "header",
        "Where a record says which schema it is of: before the value in Confluent's framing, in the header __value_schema_id of Confluent's newer clients, or in Apicurio's apicurio.value.contentId.";
    SCHEMA_AUTO_REGISTER schema_auto_register: Schemas, Form::Flag, Value("true"),
        "false",
        "Whether Tailwater registers schemas, and new versions where documents have new fields. When false, the newest version of each subject is used, and a document that does not fit it is a record error.";
    SCHEMA_RECHECK_MS schema_recheck_ms: Schemas, millis(1000, 86_400_000), Value("300000"),
        "60000",
        "How often Tailwater looks whether the registry still has the schema that is in use. One that was deleted is registered again.";

    BATCH_SIZE batch_size: Flow, count(1, 100_000), Value("50"),
        "50",
        "How many events close a batch. A batch also closes when nothing more is ready.";
    BATCH_BYTES batch_bytes: Flow, bytes(KIB, 64 * MIB), Value("1MiB"),
        "1MiB",
        "How many bytes of records close a batch.";
    BATCH_TIMEOUT_MS batch_timeout_ms: Flow, millis(0, 60_000), Value("20"),
        "20",
        "How long after its first event a batch closes at the latest.";
    MAX_IN_FLIGHT_BYTES max_in_flight_bytes: Flow, bytes(MIB, 64 * GIB), Value("32MiB"),
        "32MiB",
        "The memory budget: what was read and is not yet acknowledged. When it is full, reading from MongoDB pauses.";
    DELIVERY delivery: Flow, Form::Choice(&["at_least_once", "exactly_once"]), Value("at_least_once"),
        "exactly_once",
        "exactly_once writes records and checkpoint in one Kafka transaction; needs RESUME_STORE=kafka and consumers that read committed.";
    ON_RECORD_ERROR on_record_error: Flow, Form::Choice(&["stop", "dlq", "skip"]), Value("stop"),
        "dlq",
        "What to do about a record that Kafka will never accept (too large, too old, a topic that cannot be created): stop, send it to KAFKA_DLQ_TOPIC, or leave it out.";
    ON_MISSING_TOPIC on_missing_topic: Flow, Form::Choice(&["wait", "record_error"]), Value("wait"),
        "record_error",
        "What happens when the topic of a record does not exist and may not be created, or may not be written: `wait` holds the stream until the topic can be written, `record_error` applies ON_RECORD_ERROR to the record.";
    ON_HISTORY_LOST on_history_lost: Flow, Form::Choice(&["stop", "earliest", "latest", "snapshot"]), Value("stop"),
        "earliest",
        "What to do when the oplog no longer holds the checkpoint: stop, continue behind a gap from the oldest entry or from now, or continue from now with a snapshot.";

    RESUME_STORE resume_store: Checkpoints, Form::Choice(&["kafka", "mongodb", "file"]), Value("kafka"),
        "file",
        "Where checkpoints are stored.";
    RESUME_TOPIC resume_topic: Checkpoints, PLAIN_TOPIC, Value("tailwater.checkpoints"),
        "tailwater.checkpoints",
        "With RESUME_STORE=kafka: the compacted topic of checkpoints. The progress of schedules is stored in <RESUME_TOPIC>.schedules, with every store.";
    RESUME_DATABASE resume_database: Checkpoints, Form::Text("the name of one database"), Words("the watched database; tailwater with WATCH_DATABASES"),
        "tailwater",
        "With RESUME_STORE=mongodb: the database that holds the checkpoints.";
    RESUME_COLLECTION resume_collection: Checkpoints, Form::Text("the name of one collection"), Value("changeStreamResumeTokens"),
        "changeStreamResumeTokens",
        "With RESUME_STORE=mongodb: the collection that holds the checkpoints.";
    RESUME_TTL_DAYS resume_ttl_days: Checkpoints, number(Unit::Days, 1, 3650), Words("kept for ever"),
        "30",
        "With RESUME_STORE=mongodb: removes the checkpoint of a stream that was not used for so many days.";
    RESUME_FILE resume_file: Checkpoints, Form::NewPath("the path of a file in a folder that exists"), Value("tailwater.checkpoint.json"),
        "/var/lib/tailwater/checkpoint.json",
        "With RESUME_STORE=file: the file that holds the checkpoint.";
    STREAM_ID stream_id: Checkpoints, Form::Text("a name without spaces or control characters, of 1 to 200 characters"), Words("<KAFKA_CLIENT_ID>:<database or *>, with STREAMS <KAFKA_CLIENT_ID>:<name>"),
        "database-watcher:dashboard",
        "The stream's name: the key of its checkpoint. Two instances with one id fence each other.";
    COMMIT_INTERVAL_MS commit_interval_ms: Checkpoints, millis(10, 60_000), Value("1000"),
        "1000",
        "How often the checkpoint is written; a crash repeats the changes of at most this time. Rows of a snapshot have it written for each chunk, too.";

    SNAPSHOT snapshot: Snapshots, Form::Choice(&["never", "initial", "when_needed", "only"]), Value("never"),
        "initial",
        "Whether the documents that are there already become records, too: when a stream first begins (initial), also when history was lost (when_needed), or when it first begins, with the end of the stream behind the last row (only). `tailwater snapshot start` takes one at any time.";
    SNAPSHOT_COLLECTIONS snapshot_collections: Snapshots, NAMES, Words("every watched collection"),
        "users,orders_*",
        "The watched collections whose documents are copied; with WATCH_DATABASES or STREAMS as database.collection.";
    SNAPSHOT_FILTER snapshot_filter: Snapshots, Form::Text("a JSON object of queries by collection"), Words("every document"),
        r#"{"orders":{"status":"open"}}"#,
        "Which documents of a collection are copied: a query of MongoDB for it, in Extended JSON.";
    SNAPSHOT_TOPIC snapshot_topic: Snapshots, TOPIC, Words("the topic of inserts"),
        "database.snapshot",
        "The topic of the rows of snapshots.";
    SNAPSHOT_OPERATION snapshot_operation: Snapshots, Form::Choice(&["read", "insert"]), Value("read"),
        "insert",
        "The operationType of a row. A row always has the header tw-snapshot.";
    SNAPSHOT_PARALLELISM snapshot_parallelism: Snapshots, count(1, 64), Value("4"),
        "8",
        "How many queries of a snapshot run at a time, over collections and within a large one; half as many while the stream has changes.";
    SNAPSHOT_CHUNK_BYTES snapshot_chunk_bytes: Snapshots, bytes(64 * KIB, 8 * MIB), Value("2MiB"),
        "1MiB",
        "About how many bytes of documents one query reads.";
    SNAPSHOT_RATE_LIMIT snapshot_rate_limit: Snapshots, Form::Text("bytes or documents a second, or both separated by a comma"), Words("none"),
        "10MiB,5000docs",
        "How fast a snapshot may read from MongoDB.";
    SNAPSHOT_READ_PREFERENCE snapshot_read_preference: Snapshots, Form::Choice(&["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"]), Words("that of the URI"),
        "secondaryPreferred",
        "Which members of the replica set the rows are read from.";

    COORDINATION coordination: Coordination, Form::Choice(&["none", "kafka", "mongodb"]), Value("none"),
        "mongodb",
        "How several instances with the same streams share them, each stream on one instance at a time: kafka through a consumer group, mongodb through leases. With none they do not. Needs RESUME_STORE=kafka or mongodb.";
    COORDINATION_TOPIC coordination_topic: Coordination, PLAIN_TOPIC, Value("tailwater.streams"),
        "tailwater.streams",
        "With COORDINATION=kafka: the topic in which instances register. The consumer groups and their topics are named after it.";
    KAFKA_SESSION_TIMEOUT_MS kafka_session_timeout_ms: Coordination, millis(1000, 1_800_000), Value("10000"),
        "10000",
        "With COORDINATION=kafka: how long an instance may be silent before another one takes its streams. Brokers usually allow 6000 or more.";
    LEASE_DATABASE lease_database: Coordination, Form::Text("the name of one database"), Value("tailwater"),
        "tailwater",
        "With COORDINATION=mongodb: the database that holds the leases. No stream watches it.";
    LEASE_HEARTBEAT_MS lease_heartbeat_ms: Coordination, millis(100, 600_000), Value("10000"),
        "10000",
        "With COORDINATION=mongodb: how often an instance renews its heartbeat. Must be less than half of LEASE_TIMEOUT_MS.";
    LEASE_TIMEOUT_MS lease_timeout_ms: Coordination, millis(500, 3_600_000), Value("30000"),
        "30000",
        "With COORDINATION=mongodb: how long an instance may be silent before another one takes its streams.";
    LEASE_POLL_MS lease_poll_ms: Coordination, millis(200, 600_000), Value("15000"),
        "15000",
        "With COORDINATION=mongodb: how often the leases are read if no change is reported.";

    LISTENERS_COLLECTION listeners_collection: Listeners, Form::Text("a collection as database.collection"), Words("no listeners"),
        "airank.listeners",
        "The collection of listeners: routes that users add, change and remove while the stream runs. The topics of the configuration get records beside theirs only where one of them is set.";
    LISTENERS_TOPICS listeners_topics: Listeners, NAMES, Value("jobs.*"),
        "jobs.*,tenants.*.jobs.*",
        "The topics that listeners and schedules may name.";
    LISTENERS_BOOTSTRAP listeners_bootstrap: Listeners, Form::Path("the path of a JSON or Extended JSON file"), Words("none"),
        "/etc/tailwater/listeners.json",
        "A file with listeners that are created at the start where they are missing; those that are there stay as they are.";

    SCHEDULES_COLLECTION schedules_collection: Schedules, Form::Text("a collection as database.collection"), Words("no schedules"),
        "airank.schedules",
        "The collection of schedules: jobs that are due at a time, which users add, change and remove while Tailwater runs. LISTENERS_TOPICS says which topics they may name.";
    SCHEDULES_FILE schedules_file: Schedules, Form::Path("the path of a YAML or JSON file"), Words("no schedules"),
        "/etc/tailwater/schedules.yaml",
        "A file with schedules, read at the start, instead of SCHEDULES_COLLECTION.";

    LIVE_ADDR live_addr: Live, Form::Text("an IP address with a port, or off"), Value("off"),
        "127.0.0.1:3002",
        "Where changes are served live to browsers and services, from Kafka. Other than a loopback address needs LIVE_JWT_SECRET or LIVE_JWKS.";
    LIVE_ORIGINS live_origins: Live, Form::Text("origins separated by commas, or *"), Words("none"),
        "https://app.example.com,http://localhost:8080",
        "The origins of web pages that may connect. Pages of the same host always may.";
    LIVE_JWT_SECRET live_jwt_secret: Live, Form::Secret, Words("none"),
        "…",
        "The secret of tokens signed with HS256, of at least 32 bytes.";
    LIVE_JWT_SECRET_2 live_jwt_secret_2: Live, Form::Secret, Words("none"),
        "…",
        "A second secret that is valid beside the first, while they are rotated.";
    LIVE_JWKS live_jwks: Live, Form::Text("the path of a JWKS file, or its URL"), Words("none"),
        "https://login.example.com/.well-known/jwks.json",
        "The public keys of tokens signed with RS256 or ES256. Read again every 5 minutes, and when a token names a key that is not known.";
    LIVE_JWT_ISSUER live_jwt_issuer: Live, Form::Text("the claim iss"), Words("any"),
        "https://login.example.com/",
        "The issuer that tokens must name.";
    LIVE_JWT_AUDIENCE live_jwt_audience: Live, Form::Text("the claim aud"), Words("none"),
        "tailwater-live",
        "The audience that tokens must name. Without LIVE_JWT_AUDIENCE tokens with an audience are refused.";
    LIVE_WHERE live_where: Live, Form::Text("a JSON object, in which $name stands for a claim"), Words("none"),
        r#"{"userId":"$sub"}"#,
        "A filter that narrows every token: with the example each user sees only documents of their own.";
    LIVE_EXCLUDE_FIELDS live_exclude_fields: Live, Form::Text("paths of fields separated by commas, also as database.collection:path"), Words("none"),
        "passwordHash,dashboard.users:profile.phone",
        "Fields that are left out of everything that is served live.";
    LIVE_MAX_CLIENTS live_max_clients: Live, count(1, 1_000_000), Value("10000"),
        "10000",
        "How many clients are served at a time. Each needs a descriptor (ulimit -n).";
    LIVE_MAX_CLIENTS_PER_ADDRESS live_max_clients_per_address: Live, count(1, 1_000_000), Value("1000"),
        "1000",
        "How many clients one IP address may have. Behind a proxy, all clients have the address of the proxy.";
    LIVE_MAX_SUBSCRIPTIONS live_max_subscriptions: Live, count(1, 10_000), Value("100"),
        "100",
        "How many subscriptions one WebSocket may have.";
    LIVE_CLOSE_AFTER_SECONDS live_close_after_seconds: Live, number(Unit::Seconds, 5, 86_400), Value("600"),
        "600",
        "After about how long a connection is closed: its client connects again and resumes, so that instances can be drained.";
    LIVE_RECENT_BYTES live_recent_bytes: Live, bytes(64 * KIB, GIB), Value("16MiB"),
        "16MiB",
        "How many bytes of recent changes are kept in memory, for clients that reconnect. Older positions are read from Kafka.";
    LIVE_QUEUE_BYTES live_queue_bytes: Live, bytes(1024 * KIB, 16 * GIB), Value("64MiB"),
        "64MiB",
        "How many bytes may wait to be sent, for all clients together. Above it, the clients that are furthest behind are disconnected.";

    WORKER_TOPICS worker_topics: Workers, NAMES, Value("jobs.*"),
        "jobs.*,tenants.*.jobs.*",
        "The topics whose jobs `tailwater worker start` carries out. jobs.dlq and jobs.retry* never are.";
    WORKER_GROUP worker_group: Workers, Form::Text("a name of letters, digits, ., _ and -, of 1 to 200 characters"), Value("tailwater-workers"),
        "tailwater-workers",
        "The consumer group of the workers: those with one group share the jobs.";
    WORKER_CONCURRENCY worker_concurrency: Workers, count(1, 10_000), Value("5"),
        "5",
        "How many jobs a worker runs at a time.";
    WORKER_HANDLERS worker_handlers: Workers, Form::Path("the path of a YAML or JSON file"), Words("none"),
        "/etc/tailwater/handlers.yaml",
        "A file that says for each job which service is called, and how. `tailwater worker lint` checks it.";
    WORKER_ALLOW_PRIVATE worker_allow_private: Workers, Form::Flag, Value("false"),
        "true",
        "Whether services at private, loopback and other addresses that are not public may be called.";
    WORKER_TLS_CA_FILE worker_tls_ca_file: Workers, Form::Path("the path of a PEM file with certificates"), Words("none"),
        "/etc/tailwater/ca.pem",
        "Certificate authorities to trust for services' certificates, beside the public ones.";
    FAILED_EVENTS_COLLECTION failed_events_collection: Workers, Form::Text("a collection as database.collection"), Words("none"),
        "airank.failedEvents",
        "Where a worker also writes a document for each job that fails for good, beside its dead letter. It needs MONGODB_URI.";
    WORKER_STATUS_COLLECTION worker_status_collection: Workers, Form::Text("a collection as database.collection"), Words("none"),
        "airank.jobs",
        "Where a worker writes how far each job is: pending, processing, completed or failed, attempts, times and what was answered. It needs MONGODB_URI.";
    WORKER_STATUS_DAYS worker_status_days: Workers, number(Unit::Days, 1, 3650), Value("7"),
        "7",
        "How long a document of WORKER_STATUS_COLLECTION is kept after it was written last.";

    ENABLE_CHANGE_STREAMS enable_change_streams: Operations, Form::Flag, Value("true"),
        "false",
        "When false, the process runs without watching anything, and says so.";
    HTTP_ADDR http_addr: Operations, Form::Text("an IP address with a port, or off"), Value("127.0.0.1:3001"),
        "0.0.0.0:3001",
        "Where health and metrics are served. When no address is set and the port of the default is in use, the server is not started.";
    ADMIN_TOKEN admin_token: Operations, Form::Secret, Words("none"),
        "…",
        "The token that is required by calls which change something. Without ADMIN_TOKEN such calls are refused, unless HTTP_ADDR is a loopback address.";
    ADMIN_SHOW_DOCUMENTS admin_show_documents: Operations, Form::Flag, Value("false"),
        "true",
        "When true, calls show documents: the values of dead letters and of records, and resume tokens, which hold keys.";
    LOG_LEVEL log_level: Operations, Form::Choice(&["error", "warn", "info", "debug", "trace"]), Value("info"),
        "debug",
        "How much is logged. Levels of other loggers (`http`, `verbose`, `silly` and the like) are read as the nearest of these, with a warning.";
    LOG_FORMAT log_format: Operations, Form::Choice(&["text", "json"]), Value("text"),
        "json",
        "Text for people, or JSON for a log store.";
    DEBUG debug: Operations, Form::Flag, Value("false"),
        "true",
        "true is LOG_LEVEL=debug. Anything but true or false is ignored, with a warning: other programs read DEBUG, too.";
    STATUS_INTERVAL_SECONDS status_interval_seconds: Operations, number(Unit::Seconds, 1, 86_400), Value("30"),
        "30",
        "How often the status line is logged.";
    SHUTDOWN_TIMEOUT_MS shutdown_timeout_ms: Operations, millis(100, 600_000), Value("8000"),
        "8000",
        "How long a graceful stop may take; below the 10 s after which Docker kills.";
}
