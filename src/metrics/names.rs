//! Every metric, described once. `docs/operations.md` holds the same table, and a test keeps it so.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As in the exposition format's `# TYPE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: its name, what it is, and its labels. Units are in the name, as Prometheus wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// The first label of every series that is a stream's.
pub const STREAM: &str = "stream";

/// Labels of what is counted by namespace.
pub const BY_NAMESPACE: &[&str] = &["database", "collection", "operation"];

impl Metric {
    /// Whether it is the process's, and not one stream's.
    pub fn is_of_process(&self) -> bool {
        self.name.starts_with("process_")
            || self.name.starts_with("tailwater_live_")
            || self.name.starts_with("tailwater_schedule")
            || self.is_of_worker()
            || [BUILD_INFO.name, UPTIME.name].contains(&self.name)
    }

    /// Whether only `tailwater worker` has it.
    pub fn is_of_worker(&self) -> bool {
        self.name.starts_with("tailwater_worker_")
    }
}

macro_rules! metrics {
    ($($name:ident $text:literal $kind:ident $labels:expr, $help:literal;)*) => {
        $(pub static $name: Metric = Metric {
            name: $text,
            kind: Kind::$kind,
            labels: $labels,
            help: $help,
        };)*

        /// All metrics, in the order of the reference table.
        pub static ALL: &[&Metric] = &[$(&$name),*];
    };
}

/// Why an event can have no record: the values of the label `reason`.
pub const RECORD_ERRORS: [&str; 10] = [
    "too_large",
    "out_of_time",
    "refused_by_broker",
    "no_topic",
    "not_encodable",
    "fields",
    "schema",
    "unknown_operation",
    "image_missing",
    "too_large_to_read",
];

metrics! {
    EVENTS "tailwater_events_total" Counter BY_NAMESPACE,
        "Change events read";
    EVENT_BYTES "tailwater_event_bytes_total" Counter BY_NAMESPACE,
        "Bytes of change events read, as BSON";
    RECORD_BYTES "tailwater_record_bytes_total" Counter BY_NAMESPACE,
        "Bytes of keys, values and headers handed to the Kafka client";
    WITHOUT_RECORD "tailwater_events_without_record_total" Counter &[],
        "Events that no record is made of: about collections of the server's own, or a schema change without KAFKA_TOPIC_DDL";
    REPLACED "tailwater_invalid_utf8_replaced_total" Counter &[],
        "Byte sequences of strings that were not UTF-8 and became U+FFFD in a record's value";
    PRODUCED "tailwater_records_produced_total" Counter &[],
        "Records handed to the Kafka client";
    ACKNOWLEDGED "tailwater_records_acknowledged_total" Counter &[],
        "Records acknowledged by Kafka";
    DEAD_LETTERED "tailwater_dead_lettered_total" Counter &["reason"],
        "Events written to the dead-letter topic";
    SKIPPED "tailwater_skipped_total" Counter &["reason"],
        "Events left out by ON_RECORD_ERROR=skip";
    SNAPSHOT_ROWS "tailwater_snapshot_rows_total" Counter &[],
        "Rows of snapshots handed to the Kafka client";
    SNAPSHOT_BYTES "tailwater_snapshot_bytes_total" Counter &[],
        "Bytes of these rows' documents, as BSON";
    SNAPSHOT_LEFT_OUT "tailwater_snapshot_left_out_total" Counter &[],
        "Documents that a snapshot has read and left out, because the stream brought them";
    SNAPSHOT_RUNNING "tailwater_snapshot_running" Gauge &[],
        "1 while a snapshot runs, also while it is paused";
    BATCHES "tailwater_batches_total" Counter &["closed_by"],
        "Batches, by what closed them";
    BATCH_EVENTS "tailwater_batch_events" Histogram &[],
        "Events in a batch";
    LATENCY "tailwater_end_to_end_latency_seconds" Histogram &[],
        "From the change's own time to Kafka's acknowledgement; one sample a batch, its first record";
    ACK_LATENCY "tailwater_acknowledgement_latency_seconds" Histogram &[],
        "From handing a record to the Kafka client to its acknowledgement; one sample a batch";
    GET_MORE "tailwater_get_more_latency_seconds" Histogram &[],
        "From asking MongoDB for events to its reply, for replies that hold events; at rest this is waiting for a change";
    REPLIES "tailwater_source_replies_total" Counter &[],
        "Replies of the change stream, idle ones included";
    RECONNECTS "tailwater_source_reconnects_total" Counter &[],
        "Times the change stream was interrupted, however many attempts it took to resume";
    GAPS "tailwater_history_gaps_total" Counter &[],
        "Times that history was lost and the stream continued after the gap, by ON_HISTORY_LOST";
    LAG "tailwater_lag_seconds" Gauge &[],
        "How far delivery is behind the changes' own time; 0 when all is delivered; while something is waited for, the age of the oldest change or position behind which nothing is delivered";
    WAITING "tailwater_waiting_seconds" Gauge &["for"],
        "How long the stream has waited for something (a topic, acknowledgements, MongoDB, …), by what it is; 0 while it does not, and in the first 10 s (2 s for a topic, producer or registry)";
    IN_FLIGHT_RECORDS "tailwater_in_flight_records" Gauge &[],
        "Records waiting for their acknowledgement";
    IN_FLIGHT_BYTES "tailwater_in_flight_bytes" Gauge &["half"],
        "Bytes of the memory budget in use: replies read ahead, records not yet acknowledged";
    IN_FLIGHT_LIMIT "tailwater_in_flight_limit_bytes" Gauge &["half"],
        "The two halves of MAX_IN_FLIGHT_BYTES";
    HEADROOM "tailwater_oplog_headroom_seconds" Gauge &[],
        "How long until the oplog no longer holds the checkpoint if the stream stands still, measured once a minute, estimated by the rate so far while the oplog is not full; absent if local.oplog.rs may not be read";
    CHECKPOINT_AGE "tailwater_checkpoint_age_seconds" Gauge &[],
        "Time since the checkpoint was last written or confirmed";
    CHECKPOINT_POSITION "tailwater_checkpoint_position_timestamp_seconds" Gauge &[],
        "The time of the change (or idle token) in the checkpoint, Unix time";
    CHECKPOINT_SEQ "tailwater_checkpoint_seq" Gauge &[],
        "The tw-seq in the checkpoint";
    CHECKPOINT_WRITES "tailwater_checkpoint_writes_total" Counter &["outcome"],
        "Attempts to store the checkpoint";
    CHECKPOINT_SECONDS "tailwater_checkpoint_write_seconds" Histogram &[],
        "How long storing the checkpoint took";
    STATE "tailwater_state" Gauge &["state"],
        "1 for the state the process is in, 0 for the others";
    LISTENERS "tailwater_listeners" Gauge &["state"],
        "Listeners of LISTENERS_COLLECTION: active, disabled or invalid";
    LISTENER_EVENTS "tailwater_listener_events_total" Counter &["outcome"],
        "Events for listeners: a record was produced, the filter was undecided for want of a document, or the record was refused";
    READY "tailwater_ready" Gauge &[],
        "1 when the stream is open, Kafka reachable, the checkpoint loaded and nothing waited for that it stands still for, or nothing should be watched";
    DRY_RUN "tailwater_dry_run" Gauge &[],
        "1 for run --dry-run: records that count as acknowledged, and checkpoints as stored, went nowhere";
    MONGODB_CONNECTED "tailwater_mongodb_connected" Gauge &[],
        "1 when the last call to MongoDB succeeded";
    KAFKA_CONNECTED "tailwater_kafka_connected" Gauge &[],
        "1 when a broker is connected";
    CHECKPOINT_FAILING "tailwater_checkpoint_failing" Gauge &[],
        "1 while the checkpoint cannot be stored";
    OWNED "tailwater_stream_owned" Gauge &[],
        "1 while an instance has the stream, by what this one sees; with COORDINATION only, as the next four";
    MINE "tailwater_stream_mine" Gauge &[],
        "1 while this instance has the stream";
    HAND_OVERS "tailwater_hand_overs_total" Counter &[],
        "How often the stream went from one instance to another; the same on each instance";
    EPOCH "tailwater_stream_epoch" Gauge &[],
        "Grows each time an instance takes the stream";
    HEARTBEAT_AGE "tailwater_owner_heartbeat_age_seconds" Gauge &[],
        "Time since the last heartbeat of the stream's owner, by the clocks of whoever wrote it and of this machine";
    KAFKA_QUEUE_RECORDS "tailwater_kafka_client_queue_records" Gauge &[],
        "librdkafka: records in its queues or on the wire (every 2 s)";
    KAFKA_QUEUE_BYTES "tailwater_kafka_client_queue_bytes" Gauge &[],
        "librdkafka: bytes in its queues or on the wire";
    KAFKA_BROKERS_UP "tailwater_kafka_brokers_up" Gauge &[],
        "librdkafka: brokers with an open connection";
    KAFKA_ROUND_TRIP "tailwater_kafka_round_trip_p99_seconds" Gauge &[],
        "librdkafka: 99th percentile of a request's round trip, of the slowest broker";
    KAFKA_QUEUEING "tailwater_kafka_client_queueing_p99_seconds" Gauge &[],
        "librdkafka: 99th percentile of a record's wait in the client before it is sent, of the slowest broker";
    KAFKA_THROTTLING "tailwater_kafka_throttling_p99_seconds" Gauge &[],
        "librdkafka: 99th percentile of the pause that a broker's quota imposes, of the slowest broker";
    KAFKA_REQUESTS "tailwater_kafka_client_requests_total" Counter &[],
        "librdkafka: requests sent";
    KAFKA_BYTES "tailwater_kafka_client_sent_bytes_total" Counter &[],
        "librdkafka: bytes sent, compressed where that is asked for";
    KAFKA_RETRIES "tailwater_kafka_client_retries_total" Counter &[],
        "librdkafka: requests sent again after a transient failure";
    KAFKA_ERRORS "tailwater_kafka_client_request_errors_total" Counter &[],
        "librdkafka: requests that could not be sent";
    KAFKA_TIMEOUTS "tailwater_kafka_client_request_timeouts_total" Counter &[],
        "librdkafka: requests without an answer in time";
    KAFKA_DISCONNECTS "tailwater_kafka_client_disconnects_total" Counter &[],
        "librdkafka: connections lost or closed, by either side";
    LIVE_READY "tailwater_live_ready" Gauge &[],
        "1 when live changes are served; with LIVE_ADDR only, as all of tailwater_live_*";
    LIVE_CLIENTS "tailwater_live_clients" Gauge &[],
        "Clients that are connected for live changes";
    LIVE_SUBSCRIPTIONS "tailwater_live_subscriptions" Gauge &[],
        "Subscriptions of these clients";
    LIVE_QUESTIONS "tailwater_live_questions" Gauge &[],
        "Distinct filters among the subscriptions: those with the same filter share one encoding of each event";
    LIVE_READ "tailwater_live_records_total" Counter &[],
        "Records read from Kafka for live changes, by the reader that all current clients share";
    LIVE_FOREIGN "tailwater_live_foreign_records_total" Counter &[],
        "Records that are not in Tailwater's format, and are not served";
    LIVE_SENT "tailwater_live_events_sent_total" Counter &[],
        "Events handed to the connections of clients";
    LIVE_CUT "tailwater_live_cut_total" Counter &[],
        "Clients that were cut off because they were too slow";
    LIVE_RESUMED "tailwater_live_resumed_total" Counter &[],
        "Subscriptions that resumed from a position";
    LIVE_CAUGHT_UP "tailwater_live_catch_ups_total" Counter &[],
        "Of these, those that needed a reader of their own, because their position was older than what is kept in memory";
    LIVE_GAPS "tailwater_live_gaps_total" Counter &[],
        "Subscriptions that were told of a gap: Kafka no longer holds their position";
    LIVE_REFUSED "tailwater_live_refused_total" Counter &[],
        "Requests that were refused because of a token, a filter or a limit";
    LIVE_QUEUE "tailwater_live_queue_bytes" Gauge &[],
        "Bytes that wait to be sent to subscriptions";
    SCHEDULES "tailwater_schedules" Gauge &["state"],
        "Schedules by state; with SCHEDULES_COLLECTION or SCHEDULES_FILE only, as all of tailwater_schedule*";
    SCHEDULES_RUNNING "tailwater_schedules_running" Gauge &[],
        "1 where this instance runs the schedules";
    SCHEDULES_LATE "tailwater_schedules_late_seconds" Gauge &[],
        "How long the job that was due first waits for its record; 0 where none waits";
    SCHEDULE_RECORDS "tailwater_schedule_records_total" Counter &[],
        "Records of jobs that were due";
    SCHEDULE_MADE "tailwater_schedule_records_by_name_total" Counter &["schedule"],
        "The same by schedule, of the first thousand by name and of (others)";
    SCHEDULE_NEXT "tailwater_schedule_next_timestamp_seconds" Gauge &["schedule"],
        "When each of these is due next, Unix time";
    SCHEDULE_INTERRUPTIONS "tailwater_schedule_interruptions_total" Counter &[],
        "How often the schedules could not be run and were taken up again";
    WORKER_READY "tailwater_worker_ready" Gauge &[],
        "1 when the worker is a member of its group; of tailwater worker only, as all of tailwater_worker_*";
    WORKER_PARTITIONS "tailwater_worker_partitions" Gauge &[],
        "Partitions of topics of jobs that this worker has";
    WORKER_WAITING "tailwater_worker_jobs_waiting" Gauge &["job"],
        "Jobs that were read and have not begun";
    WORKER_ACTIVE "tailwater_worker_jobs_active" Gauge &["job"],
        "Jobs that run";
    WORKER_PARKED "tailwater_worker_jobs_parked" Gauge &["job"],
        "Jobs that failed and wait to be tried again";
    WORKER_COMPLETED "tailwater_worker_jobs_completed_total" Counter &["job"],
        "Jobs that are done";
    WORKER_FAILED "tailwater_worker_jobs_failed_total" Counter &["job"],
        "Jobs that failed for good and are dead letters";
    WORKER_RETRIED "tailwater_worker_jobs_retried_total" Counter &["job"],
        "Attempts that were made again";
    WORKER_SECONDS "tailwater_worker_jobs_seconds_total" Counter &["job"],
        "Time from the change to the end of its job, the sum of all that are done";
    WORKER_LAG "tailwater_worker_lag" Gauge &["topic"],
        "Jobs that wait in the partitions of this worker, also those that it has not read yet";
    WORKER_TIMES "tailwater_worker_change_to_done_seconds" Histogram &[],
        "Time from the change to the end of its job";
    WORKER_HELD "tailwater_worker_handler_held" Gauge &["job"],
        "1 while a handler is switched off, only fails, or its service asks to be left alone";
    BUILD_INFO "tailwater_build_info" Gauge &["version"],
        "Always 1; the label says which version runs";
    UPTIME "tailwater_uptime_seconds" Gauge &[],
        "Time since the process started";
    PROCESS_CPU "process_cpu_seconds_total" Counter &[],
        "User and system CPU time of the process";
    PROCESS_MEMORY "process_resident_memory_bytes" Gauge &[],
        "Resident memory of the process";
    PROCESS_START "process_start_time_seconds" Gauge &[],
        "When the process started, Unix time";
    PROCESS_FDS "process_open_fds" Gauge &[],
        "Open file descriptors of the process";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_follow_prometheus_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let name = metric.name;
            assert!(
                name.starts_with("tailwater_") || name.starts_with("process_"),
                "{name}"
            );
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()),
                "{name}"
            );
            let is_total = name.ends_with("_total");
            assert_eq!(is_total, metric.kind == Kind::Counter, "{name}");
        }
    }
}
