//! Properties that have no counterpart, and what that means.

pub(super) const ALL: &[(&str, &str)] = &[
    (
        "max.batch.size",
        "batches follow BATCH_SIZE and BATCH_TIMEOUT_MS",
    ),
    ("max.queue.size*", "MAX_IN_FLIGHT_BYTES bounds the memory"),
    ("poll.interval.ms", "records are sent as they are read"),
    (
        "executor.shutdown.timeout.ms",
        "SHUTDOWN_TIMEOUT_MS bounds a stop",
    ),
    (
        "query.fetch.size",
        "the batch size follows SOURCE_BATCH_BYTES",
    ),
    (
        "cursor.max.await.time.ms",
        "the server answers as soon as there is a change",
    ),
    (
        "mongodb.poll.interval.ms",
        "the driver follows the replica set by itself",
    ),
    (
        "mongodb.connect.timeout.ms",
        "write connectTimeoutMS into the URI where the default is not enough",
    ),
    (
        "mongodb.socket.timeout.ms",
        "write socketTimeoutMS into the URI where you need it",
    ),
    (
        "mongodb.server.selection.timeout.ms",
        "write serverSelectionTimeoutMS into the URI where you need it",
    ),
    (
        "mongodb.heartbeat.frequency.ms",
        "write heartbeatFrequencyMS into the URI where you need it",
    ),
    (
        "mongodb.multi.task.*",
        "a stream has one task; STREAMS makes several of several databases",
    ),
    ("multi.partition.mode", "a stream has one checkpoint"),
    ("mongodb.task.id", "set by the connector for its tasks"),
    ("task.id", "set by the connector for its tasks"),
    (
        "heartbeat.*",
        "an idle stream moves its checkpoint by itself; nothing is written to a heartbeat topic",
    ),
    (
        "signal.*",
        "`tailwater snapshot start` takes the place of signals",
    ),
    (
        "incremental.snapshot.*",
        "snapshots are always incremental; SNAPSHOT_CHUNK_BYTES sizes their queries",
    ),
    (
        "notification.*",
        "`/api/snapshots`, the log and the metrics tell what becomes of a snapshot",
    ),
    ("snapshot.delay.ms", "the start is not delayed"),
    ("streaming.delay.ms", "the start is not delayed"),
    (
        "snapshot.fetch.size",
        "SNAPSHOT_CHUNK_BYTES sizes the queries",
    ),
    (
        "snapshot.max.threads.multiplier",
        "SNAPSHOT_PARALLELISM says how many queries run",
    ),
    (
        "legacy.snapshot.max.threads",
        "SNAPSHOT_PARALLELISM says how many queries run",
    ),
    ("snapshot.locking.*", "nothing is locked"),
    (
        "snapshot.query.*",
        "SNAPSHOT_FILTER says which documents are copied",
    ),
    (
        "snapshot.tables.order.by.row.count",
        "collections are copied beside each other",
    ),
    (
        "topic.cache.size",
        "topics are kept for as long as they are used",
    ),
    (
        "retriable.restart.connector.wait.ms",
        "RECONNECT_DELAY_MS is the first wait; it doubles up to 30 s",
    ),
    (
        "custom.retriable.exception",
        "which errors pass is decided by their code",
    ),
    ("advanced.metrics.enable", "`/metrics` has all figures"),
    (
        "connection.validation.timeout.ms",
        "`tailwater check` validates",
    ),
    (
        "log.position.check.enable",
        "whether the oplog holds the position is always checked",
    ),
    (
        "guardrail.*",
        "there is no limit on the number of collections",
    ),
    ("mongodb.allow.offset.invalidation", "see ON_HISTORY_LOST"),
    ("internal.*", "internal to the connector"),
    (
        "event.converting.failure.handling.mode",
        "ON_RECORD_ERROR says what becomes of a record that cannot be written",
    ),
    (
        "skip.messages.without.change",
        "for relational databases only",
    ),
    (
        "binary.handling.mode",
        "for relational databases only: documents are Extended JSON",
    ),
    ("include.schema.changes", "for relational databases only"),
    (
        "datatype.propagate.source.type",
        "for relational databases only",
    ),
];
