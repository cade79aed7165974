//! The measurements in which events wait in the oplog: what is varied, and who takes part.

use crate::connector::Connector;
use crate::load::{self, Changes, DATABASE, Waiting};
use crate::settings::Settings;
use crate::subject::{Subject, Variant};
use std::time::Duration;

/// Events that wait, and the subjects that bring them to Kafka.
pub struct Case {
    pub name: String,
    pub waiting: Waiting,
    pub subjects: Vec<Subject>,
    /// Through the proxy, which holds back what the broker answers for so long.
    pub ack_delay: Option<Duration>,
    /// Of the topic.
    pub partitions: i32,
}

impl Case {
    fn new(name: impl Into<String>, waiting: Waiting, subjects: Vec<Subject>) -> Self {
        Self {
            name: name.into(),
            waiting,
            subjects,
            ack_delay: None,
            partitions: 1,
        }
    }
}

fn tailwater() -> Subject {
    Subject::Tailwater(Variant::default())
}

fn variant(name: &str, variables: &[(&str, &str)]) -> Subject {
    Subject::Tailwater(Variant::with(&format!("Tailwater, {name}"), variables))
}

/// All subjects; some of the events may be updates.
pub fn drain(settings: &Settings) -> Vec<Case> {
    let mut waiting = Waiting::inserts(DATABASE, settings.events(300_000, 40_000));
    let mut name = "inserts".to_owned();
    if settings.updates > 0 {
        waiting.changes = Changes::Updates(settings.updates);
        name = format!("{} % updates", settings.updates);
    }
    let mut subjects = vec![Subject::Raw, Subject::RawProduce, tailwater()];
    subjects.extend(Variant::beside(settings));
    if settings.peers.is_some() {
        subjects.extend(Connector::ALL.map(Subject::Peer));
    }
    vec![Case::new(name, waiting, subjects)]
}

/// Documents from small to large: about as many bytes of each, but no more than so many events.
pub fn sizes(settings: &Settings) -> Vec<Case> {
    let (bytes, most) = if settings.short {
        (20_000_000, 20_000)
    } else {
        (150_000_000, 150_000)
    };
    let sizes = [
        ("250 B", 250),
        ("1 KB", 1_000),
        ("10 KB", 10_000),
        ("100 KB", 100_000),
        ("250 KB", 250_000),
    ];
    let case = |(name, size): (&str, usize)| {
        let events = settings.events.unwrap_or(most.min(bytes / size as u64));
        let mut waiting = Waiting::inserts(format!("size{size}"), events);
        waiting.bytes = size;
        Case::new(
            name,
            waiting,
            vec![Subject::Raw, Subject::RawProduce, tailwater()],
        )
    };
    sizes.map(case).into()
}

/// One collection to many, as a whole database and by their names.
pub fn collections(settings: &Settings) -> Vec<Case> {
    let events = settings.events(100_000, 20_000);
    let numbers: &[u64] = if settings.short {
        &[1, 500]
    } else {
        &[1, 10, 100, 500]
    };
    let case = |number: &u64| {
        let mut waiting = Waiting::inserts(format!("collections{number}"), events);
        waiting.collections = *number;
        let names: Vec<String> = (0..*number).map(|n| load::name(n, *number)).collect();
        let named = variant("by name", &[("WATCH_COLLECTIONS", &names.join(","))]);
        let subjects = vec![Subject::Raw, tailwater(), named];
        Case::new(format!("{number}"), waiting, subjects)
    };
    numbers.iter().map(case).collect()
}

/// Updates of few documents to many.
pub fn keys(settings: &Settings) -> Vec<Case> {
    let numbers: &[u64] = if settings.short {
        &[10, 10_000]
    } else {
        &[10, 1_000, 100_000, 1_000_000]
    };
    let case = |keys: &u64| {
        let events = settings.events(200_000, 20_000).max(*keys);
        let mut waiting = Waiting::inserts(format!("keys{keys}"), events);
        waiting.bytes = 250;
        waiting.changes = Changes::OfKeys(*keys);
        Case::new(format!("{keys}"), waiting, vec![tailwater()])
    };
    numbers.iter().map(case).collect()
}

/// Acknowledgements that come late, all through the same proxy.
pub fn acks(settings: &Settings) -> Vec<Case> {
    let waiting = Waiting::inserts(DATABASE, settings.events(100_000, 20_000));
    let late = |millis: u64| Case {
        ack_delay: Some(Duration::from_millis(millis)),
        ..Case::new(
            format!("{millis} ms"),
            waiting.clone(),
            vec![Subject::RawProduce, tailwater()],
        )
    };
    [0, 10, 100].map(late).into()
}

/// Metrics that are asked for, and no HTTP at all.
pub fn metrics(settings: &Settings) -> Vec<Case> {
    let waiting = Waiting::inserts(DATABASE, settings.events(300_000, 40_000));
    let scraped = Subject::Tailwater(Variant {
        scrape: Some(Duration::from_secs(1)),
        ..Variant::with("Tailwater, scraped every second", &[])
    });
    vec![Case::new("inserts", waiting, vec![tailwater(), scraped])]
}

/// Both delivery modes.
pub fn exactly_once(settings: &Settings) -> Vec<Case> {
    let waiting = Waiting::inserts(DATABASE, settings.events(300_000, 100_000));
    let exactly_once = variant("exactly once", &[("DELIVERY", "exactly_once")]);
    vec![Case::new(
        "inserts",
        waiting,
        vec![tailwater(), exactly_once],
    )]
}

/// Exactly once into a topic of few and of many partitions, each of which a transaction must add and end in.
pub fn partitions(settings: &Settings) -> Vec<Case> {
    let waiting = Waiting::inserts(DATABASE, settings.events(300_000, 100_000));
    let exactly_once = || variant("exactly once", &[("DELIVERY", "exactly_once")]);
    let of = |partitions: i32| Case {
        partitions,
        ..Case::new(
            format!("{partitions}"),
            waiting.clone(),
            vec![tailwater(), exactly_once()],
        )
    };
    let numbers: &[i32] = match settings.partitions.as_slice() {
        [] if settings.short => &[1, 900],
        [] => &[1, 10, 100, 900],
        given => given,
    };
    numbers.iter().copied().map(of).collect()
}

/// Every kind of compression.
pub fn compression(settings: &Settings) -> Vec<Case> {
    let waiting = Waiting::inserts(DATABASE, settings.events(200_000, 40_000));
    let of = |kind| variant(kind, &[("KAFKA_PROP_COMPRESSION_TYPE", kind)]);
    let subjects = ["none", "lz4", "snappy", "zstd"].map(of);
    vec![Case::new("inserts", waiting, subjects.into())]
}

/// Each format and serialization beside the connector whose format it is.
pub fn formats(settings: &Settings) -> Vec<Case> {
    let waiting = Waiting::inserts(DATABASE, settings.events(200_000, 20_000));
    let registry = settings.schema_registry.as_deref();
    let url = registry.map(|address| format!("{address}/apis/ccompat/v7"));
    let mut subjects = vec![tailwater()];
    let mut add = |name: &str, serialization: Option<&str>, variables: &[(&str, &str)]| {
        let mut variables = variables.to_vec();
        if let Some(serialization) = serialization {
            let Some(url) = &url else { return };
            variables.push(("SERIALIZATION", serialization));
            variables.push(("SCHEMA_REGISTRY_URL", url));
            // Subjects of one topic for all, which each turn has anew.
            variables.push(("SCHEMA_SUBJECT", "topic_record"));
        }
        subjects.push(variant(name, &variables));
    };
    let debezium = [("FORMAT", "debezium"), ("KAFKA_TOPIC_PREFIX", "bench")];
    let mongo_kafka = ("FORMAT", "mongo-kafka");
    let cloudevents = ("FORMAT", "cloudevents");
    let document = ("FORMAT", "document");
    add("Avro", Some("avro"), &[]);
    add("JSON Schema", Some("json_schema"), &[]);
    add("Protobuf", Some("protobuf"), &[]);
    add("document", None, &[document]);
    add("document, Avro", Some("avro"), &[document]);
    add("cloudevents, structured", None, &[cloudevents]);
    add(
        "cloudevents, binary",
        None,
        &[cloudevents, ("CLOUDEVENTS_MODE", "binary")],
    );
    add(
        "cloudevents, binary, Avro",
        Some("avro"),
        &[cloudevents, ("CLOUDEVENTS_MODE", "binary")],
    );
    add("mongo-kafka", None, &[mongo_kafka]);
    add(
        "mongo-kafka, Avro",
        Some("avro"),
        &[mongo_kafka, ("MONGO_KAFKA_VALUE", "infer")],
    );
    add("debezium", None, &debezium);
    add(
        "debezium, schemas.enable",
        None,
        &[debezium[0], debezium[1], ("DEBEZIUM_SCHEMAS", "true")],
    );
    add("debezium, Avro", Some("avro"), &debezium);
    if settings.peers.is_some() {
        subjects.extend(Connector::ALL.map(Subject::Peer));
        if registry.is_some() {
            let in_avro = [Connector::MongoKafkaAvro, Connector::DebeziumAvro];
            subjects.extend(in_avro.map(Subject::Peer));
        }
    }
    vec![Case::new("inserts", waiting, subjects)]
}
