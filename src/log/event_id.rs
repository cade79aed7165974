//! Stable names of what is logged: the field `event_id`. Alerts and tests match these; the sentences may change.
//! `docs/operations.md` lists them.

macro_rules! events {
    ($($name:ident $id:literal;)*) => {
        $(pub const $name: &str = $id;)*

        /// All of them, in the order of the reference.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

events! {
    CONNECTING "connecting";
    NOTHING_WATCHED "nothing_watched";
    HTTP_NOT_STARTED "http_not_started";
    SERVER_AWAITED "server_awaited";
    FIRST_START "first_start";
    TOPIC_CREATED "topic_created";
    SOURCE_INTERRUPTED "source_interrupted";
    SOURCE_RESUMED "source_resumed";
    TOKEN_NOT_FOUND "token_not_found";
    TOKEN_WENT_BACK "token_went_back";
    DROP_PASSED "drop_passed";
    OPLOG_TRUNCATED "oplog_truncated";
    HISTORY_LOST "history_lost";
    RECORD_SKIPPED "record_skipped";
    RECORD_DEAD_LETTERED "record_dead_lettered";
    LISTENER_REFUSED "listener_refused";
    LISTENERS_READ "listeners_read";
    LISTENERS_INDEX "listeners_index";
    LISTENERS_BOOTSTRAPPED "listeners_bootstrapped";
    LISTENERS_NOT_BOOTSTRAPPED "listeners_not_bootstrapped";
    LISTENERS_STATUS "listeners_status";
    LISTENERS_HEARTBEAT "listeners_heartbeat";
    SCHEDULES_RUN "schedules_run";
    SCHEDULES_INTERRUPTED "schedules_interrupted";
    SCHEDULE_REFUSED "schedule_refused";
    SCHEDULE_WORKS "schedule_works";
    SCHEDULES_GONE "schedules_gone";
    SNAPSHOT_STARTED "snapshot_started";
    SNAPSHOT_READING "snapshot_reading";
    SNAPSHOT_PROGRESS "snapshot_progress";
    SNAPSHOT_SKIPPED "snapshot_skipped";
    SNAPSHOT_FINISHED "snapshot_finished";
    SNAPSHOT_STOPPED "snapshot_stopped";
    PRODUCER_RESTARTED "producer_restarted";
    LOG_LEVEL_CHANGED "log_level_changed";
    LIVE_INTERRUPTED "live_interrupted";
    LIVE_FOREIGN "live_foreign";
    JOB_DEAD_LETTERED "job_dead_lettered";
    HANDLER_FAILING "handler_failing";
    HANDLER_WORKS "handler_works";
    HANDLER_OFF "handler_off";
    WORKER_PAUSED "worker_paused";
    WORKER_RESUMED "worker_resumed";
    JOBS_LOST "jobs_lost";
    RETRIES_LOST "retries_lost";
    STOPPING "stopping";
}

#[cfg(test)]
mod tests {
    use super::ALL;
    use std::collections::BTreeSet;

    #[test]
    fn each_is_distinct_and_in_the_runbook() {
        assert_eq!(ALL.iter().collect::<BTreeSet<_>>().len(), ALL.len());
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        for id in ALL {
            assert!(docs.contains(&format!("| `{id}` |")), "{id}");
        }
    }
}
