use super::*;
use std::io;
use std::sync::{Arc, Mutex};
use tracing::subscriber::with_default;
use tracing::{debug, info, warn};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

fn logged(level: Level, format: LogFormat, lines: impl FnOnce(&Handle, &Memory)) -> String {
    let memory = Memory::default();
    let writer = memory.clone();
    let (subscriber, handle) = subscriber(&Log { level, format }, false, move || writer.clone());
    with_default(subscriber, || lines(&handle, &memory));
    memory.take()
}

#[test]
fn a_json_line_holds_its_fields_flat_and_in_order() {
    let line = logged(Level::INFO, LogFormat::Json, |_, _| {
        info!(
            target: "tailwater::stream::status",
            isRunning = true, bufferSize = 3, lag = f64::NAN, database = "a\"b", error = %"no",
            level = 1, "status"
        );
    });
    let (start, rest) = line.split_at(line.find(",\"level\"").unwrap());
    assert!(
        start.starts_with("{\"timestamp\":\"2") && start.ends_with("Z\""),
        "{line}"
    );
    assert_eq!(
        rest,
        ",\"level\":\"info\",\"component\":\"stream\",\"event\":\"status\",\"isRunning\":true,\
         \"bufferSize\":3,\"lag\":null,\"database\":\"a\\\"b\",\"error\":\"no\",\"level_\":1}\n"
    );
    assert!(
        serde_json::from_str::<serde_json::Value>(&line).is_ok(),
        "{line}"
    );
}

#[test]
fn a_text_line_holds_level_message_and_fields_without_colour() {
    let line = logged(Level::INFO, LogFormat::Text, |_, _| {
        info!(events = 3, "status")
    });
    assert!(line.ends_with("INFO status events=3\n"), "{line:?}");
}

#[test]
fn no_value_can_pass_for_a_line_of_its_own() {
    let forged = "x\n2026-01-01T00:00:00Z  INFO forged\r\u{85}\u{2028}\u{1b}[2J";
    let error = std::io::Error::other(forged);
    for format in [LogFormat::Text, LogFormat::Json] {
        let lines = logged(Level::INFO, format, |_, _| {
            warn!(field = forged, display = %error, debug = ?forged, "message {forged}");
        });
        assert_eq!(lines.lines().count(), 1, "{lines:?}");
        assert!(
            lines.ends_with('\n') && !lines.contains(['\r', '\u{1b}']),
            "{lines:?}"
        );
        let has_others = lines.contains(['\u{85}', '\u{2028}']);
        // In a string of JSON they end no line.
        assert!(!has_others || format == LogFormat::Json, "{lines:?}");
    }
}

#[test]
fn libraries_are_one_step_quieter_than_ourselves() {
    let lines = logged(Level::DEBUG, LogFormat::Text, |_, _| {
        debug!("ours");
        debug!(target: "mongodb::command", "theirs");
        info!(target: "librdkafka", "louder");
    });
    assert!(
        lines.contains("ours") && lines.contains("louder"),
        "{lines}"
    );
    assert!(!lines.contains("theirs"), "{lines}");
    let quiet = logged(Level::INFO, LogFormat::Text, |_, _| {
        info!(target: "librdkafka", "chatter");
        warn!(target: "librdkafka", "matter");
    });
    assert!(
        quiet.contains("matter") && !quiet.contains("chatter"),
        "{quiet}"
    );
}

#[test]
fn the_level_can_be_changed_while_running() {
    logged(Level::INFO, LogFormat::Text, |handle, memory| {
        debug!("before");
        assert_eq!(memory.take(), "");
        handle.set_level(Level::DEBUG);
        debug!("after");
        assert!(memory.take().contains("after"));
        handle.set_level(Level::ERROR);
        warn!("quiet");
        assert_eq!(memory.take(), "");
    });
}

/// As rdkafka asks, by `log_enabled!`, before it makes each client: outside of any cached interest.
#[test]
fn a_library_that_asks_whether_to_log_takes_no_line_of_ours_away() {
    use tracing::{Callsite, callsite, dispatcher, metadata::Kind};
    static THEIRS: callsite::DefaultCallsite = {
        static METADATA: tracing::Metadata<'static> = tracing::metadata! {
            name: "theirs", target: "rdkafka", level: Level::INFO, fields: &[],
            callsite: &THEIRS, kind: Kind::EVENT,
        };
        callsite::DefaultCallsite::new(&METADATA)
    };
    let lines = logged(Level::INFO, LogFormat::Text, |_, _| {
        for _ in 0..2 {
            info!("ours");
            dispatcher::get_default(|dispatch| dispatch.enabled(THEIRS.metadata()));
        }
    });
    assert_eq!(lines.matches("ours").count(), 2, "{lines}");
}
