//! An idempotent consumer: sees each change once and in order, and prints it.
//!
//! `KAFKA_BROKERS=localhost:9092 cargo run -p examples --bin consumer [topic…]`
//!
//! Delivery is at least once: after a crash some records come again, later in the same partition.
//! Every record carries `tw-seq`, a number that grows with each change of the stream `tw-stream`, and
//! keeps it when it is repeated. So: remember the last number, ignore what is not above it.
//!
//! Remember it per what? Per document (`tw-stream` and the record's key).
//! - Not per stream: partitions are read in any order relative to each other.
//! - Not per partition: Tailwater promises order per document. After the broker has refused a record,
//!   another document's record of the same batch may arrive behind a higher number; a mark per
//!   partition would drop it.
//! - Per document it is right everywhere, also when several topics are merged: between
//!   `database.insert` and `database.update` there is no order, and if an update is read first, the
//!   insert that comes late is older than what is known. (Whoever needs to see every single change in
//!   order lets Tailwater write them to one topic, `KAFKA_DB_CHANGES_TOPIC`.)
//!
//! Here the marks are in memory, to be read in one screen. A real consumer keeps the mark where it
//! keeps the document, in the same write, so that both survive a restart together:
//! `insert into users … on conflict (id) do update set … where users.seq < excluded.seq`.
//! A deleted document keeps its mark for as long as records may be repeated (a row marked deleted),
//! or a late copy of an old update would bring it back.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Stream and key: what one `tw-seq` is compared with another for.
type Document = (String, Vec<u8>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let brokers = std::env::var("KAFKA_BROKERS").unwrap_or_else(|_| "localhost:9092".to_owned());
    let mut topics: Vec<String> = std::env::args().skip(1).collect();
    if topics.is_empty() {
        topics = ["database.insert", "database.update", "database.delete"]
            .map(str::to_owned)
            .into();
    }
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("group.id", "tailwater-example-consumer")
        .set("auto.offset.reset", "earliest")
        // With DELIVERY=exactly_once, records of aborted transactions are not for us.
        .set("isolation.level", "read_committed")
        // Topics may be created after us.
        .set("topic.metadata.refresh.interval.ms", "1000")
        .create()?;
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;

    let mut last_seen: HashMap<Document, u64> = HashMap::new();
    loop {
        let message = match consumer.poll(Duration::from_secs(1)) {
            None => continue,
            // A topic that is not there yet will be; the client reconnects by itself.
            Some(Err(error)) => {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
                    eprintln!("kafka: {error}");
                }
                continue;
            }
            Some(Ok(message)) => message,
        };
        let Some(change) = Change::read(&message) else {
            eprintln!(
                "not a record of Tailwater at {}/{}",
                message.topic(),
                message.offset()
            );
            continue;
        };
        let document = (
            change.stream.to_owned(),
            message.key().unwrap_or_default().to_vec(),
        );
        if last_seen
            .get(&document)
            .is_some_and(|seen| change.seq <= *seen)
        {
            continue;
        }
        print(&change)?;
        last_seen.insert(document, change.seq);
    }
}

/// What a record says.
struct Change<'a> {
    seq: u64,
    stream: &'a str,
    operation: &'a str,
    namespace: &'a str,
    topic: &'a str,
    /// `_id` as relaxed Extended JSON.
    id: Value,
    /// The envelope; null for a tombstone.
    envelope: Value,
}

impl<'a> Change<'a> {
    fn read(message: &'a BorrowedMessage<'a>) -> Option<Self> {
        let headers = message.headers()?;
        let header = |name| {
            let header = headers.iter().find(|header| header.key == name)?;
            std::str::from_utf8(header.value?).ok()
        };
        let key: Value = serde_json::from_slice(message.key()?).ok()?;
        Some(Self {
            seq: header("tw-seq")?.parse().ok()?,
            stream: header("tw-stream")?,
            operation: header("tw-op")?,
            namespace: header("tw-ns")?,
            topic: message.topic(),
            id: key.get("_id").cloned().unwrap_or_default(),
            envelope: match message.payload() {
                Some(payload) => serde_json::from_slice(payload).ok()?,
                None => Value::Null,
            },
        })
    }
}

/// One line: time, topic, operation, namespace, `_id`, the beginning of what is new.
fn print(change: &Change<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let time = change.envelope["timestamp"]
        .as_str()
        .and_then(|time| time.get(11..23));
    let news = match change.operation {
        "update" => &change.envelope["updateDescription"]["updatedFields"],
        _ => &change.envelope["fullDocument"],
    };
    let coloured = out.is_terminal() || std::env::var_os("CLICOLOR_FORCE").is_some();
    let (colour, plain) = match (coloured, change.operation) {
        (false, _) => ("", ""),
        (true, "insert") => ("\x1b[32m", "\x1b[0m"),
        (true, "update") => ("\x1b[33m", "\x1b[0m"),
        (true, "replace") => ("\x1b[36m", "\x1b[0m"),
        (true, "delete") => ("\x1b[31m", "\x1b[0m"),
        (true, _) => ("\x1b[35m", "\x1b[0m"),
    };
    writeln!(
        out,
        "{time:12}  {topic:16} {colour}{operation:8}{plain} {namespace:24} {id}  {news}",
        time = time.unwrap_or(""),
        topic = change.topic,
        operation = change.operation,
        namespace = change.namespace,
        id = match &change.id {
            Value::Object(id) if id.contains_key("$oid") => shortened(&id["$oid"], 24),
            id => shortened(id, 24),
        },
        news = if news.is_null() {
            String::new()
        } else {
            shortened(news, 80)
        },
    )?;
    out.flush()
}

fn shortened(value: &Value, most: usize) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
