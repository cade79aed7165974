//! Right values, defaults, and where they come from.

use super::*;
use crate::change::position::ResumeToken;
use std::io::Write;

const GENERIC_WATCHER: &str = "\
MONGODB_URI=mongodb://localhost:27017/dashboard
KAFKA_BROKERS=localhost:9092
KAFKA_CLIENT_ID=database-watcher

# Topics
KAFKA_TOPIC_INSERT=database.insert
KAFKA_TOPIC_UPDATE=database.update
KAFKA_TOPIC_DELETE=database.delete

WATCH_COLLECTIONS=users,organizations,projects
EXCLUDE_COLLECTIONS=sessions,migrations

LOG_LEVEL=info
BATCH_SIZE=50
";

fn from_file(text: &str, vars: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let vars = vars
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::from_sources(vars, Some(file.path()))
}

fn origin(loaded: &Loaded, name: &str) -> Origin {
    let setting = loaded
        .settings
        .iter()
        .find(|setting| setting.variable == name);
    setting.unwrap().origin.clone()
}

#[test]
fn the_env_file_of_the_generic_database_watcher_works_as_it_is() {
    let loaded = from_file(GENERIC_WATCHER, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(
        config.streams[0].source.scope,
        Scope::Database("dashboard".into())
    );
    assert_eq!(
        config.mongo.uri.expose(),
        "mongodb://localhost:27017/dashboard"
    );
    assert_eq!(
        config.streams[0].source.watch,
        ["users", "organizations", "projects"]
    );
    assert_eq!(config.streams[0].source.exclude, ["sessions", "migrations"]);
    assert_eq!(config.kafka.brokers, "localhost:9092");
    assert_eq!(config.kafka.client_id, "database-watcher");
    assert_eq!(config.streams[0].id, "database-watcher:dashboard");
    assert_eq!(config.streams[0].pipeline.batching.events, 50);
    let topics = &config.streams[0].sink.topics;
    assert_eq!(
        [
            &topics.insert,
            &topics.update,
            &topics.replace,
            &topics.delete
        ],
        [
            "database.insert",
            "database.update",
            "database.update",
            "database.delete"
        ]
    );
}

#[test]
fn only_the_two_servers_must_be_named() {
    let config = config(&[]);
    let batching = config.streams[0].pipeline.batching;
    assert_eq!(
        (batching.events, batching.bytes, batching.timeout),
        (50, 1 << 20, Duration::from_millis(20))
    );
    assert_eq!(config.max_in_flight_bytes, 32 << 20);
    assert_eq!(
        config.streams[0].pipeline.commit_interval,
        Duration::from_secs(1)
    );
    assert_eq!(config.streams[0].pipeline.json_mode, JsonMode::Simple);
    assert_eq!(
        config.streams[0].pipeline.on_record_error,
        OnRecordError::Stop
    );
    assert_eq!(
        config.streams[0].pipeline.on_history_lost,
        OnHistoryLost::Stop
    );
    assert_eq!(config.streams[0].source.batch_bytes, 1 << 20);
    assert_eq!(
        config.streams[0].source.full_document,
        FullDocument::UpdateLookup
    );
    assert_eq!(config.streams[0].source.pre_images, PreImages::Off);
    assert_eq!(config.streams[0].source.start_at, StartAt::Now);
    assert_eq!(config.mongo.retry.first, Duration::from_secs(1));
    assert_eq!(config.mongo.retry.most, 0);
    assert!(
        config.streams[0].source.watch.is_empty() && config.streams[0].source.operations.is_empty()
    );
    assert_eq!(
        config.streams[0].sink.record_timestamp,
        RecordTimestamp::Change
    );
    assert_eq!(config.streams[0].sink.delivery, Delivery::AtLeastOnce);
    assert_eq!(config.kafka.security_protocol, SecurityProtocol::Plaintext);
    assert!(config.kafka.creation.enabled && !config.streams[0].sink.tombstones);
    assert_eq!(config.kafka.creation.partitions, None);
    assert_eq!(config.streams[0].id, "tailwater:dashboard");
    let checkpoints = ResumeBackend::Kafka {
        topic: "tailwater.checkpoints".into(),
    };
    assert_eq!(config.streams[0].resume.backend, checkpoints);
    assert_eq!(
        config.http,
        Http::Default("127.0.0.1:3001".parse().unwrap())
    );
    assert_eq!(
        config.log,
        Log {
            level: tracing::Level::INFO,
            format: LogFormat::Text
        }
    );
    assert_eq!(config.status_interval, Duration::from_secs(30));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(8));
    assert!(config.enabled);
}

#[test]
fn every_variable_reaches_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("here.json");
    let config = config(&[
        ("WATCH_OPERATIONS", "Insert, delete"),
        ("FULL_DOCUMENT", "WHENAVAILABLE"),
        ("FULL_DOCUMENT_BEFORE_CHANGE", "required"),
        (
            "CHANGE_STREAM_PIPELINE",
            r#"[{"$match":{"fullDocument.a":1}}]"#,
        ),
        ("SHOW_EXPANDED_EVENTS", "yes"),
        ("START_AT", "2024-01-31T12:00:00+01:00"),
        ("SOURCE_BATCH_BYTES", "512KiB"),
        ("RECONNECT_DELAY_MS", "250"),
        ("RECONNECT_MAX_RETRIES", "7"),
        ("KAFKA_BROKERS", "one:9092, two:9093,[::1]:9094"),
        ("KAFKA_DB_CHANGES_TOPIC", "changes.{database}"),
        ("KAFKA_TOPIC_DDL", "ddl"),
        ("KAFKA_DLQ_TOPIC", "dead"),
        ("KAFKA_TOPIC_PARTITIONS", "6"),
        ("KAFKA_TOPIC_REPLICATION", "3"),
        (
            "KAFKA_TOPIC_CONFIG",
            "cleanup.policy=compact,delete, retention.ms=5",
        ),
        ("KAFKA_PROP_COMPRESSION_TYPE", "zstd"),
        ("KAFKA_PROP_MAX_IN_FLIGHT", "2"),
        ("JSON_MODE", "canonical"),
        ("TOMBSTONES", "true"),
        ("RECORD_TIMESTAMP", "now"),
        ("BATCH_SIZE", "10"),
        ("BATCH_BYTES", "2 MB"),
        ("BATCH_TIMEOUT_MS", "0"),
        ("MAX_IN_FLIGHT_BYTES", "1GiB"),
        ("ON_RECORD_ERROR", "dlq"),
        ("ON_MISSING_TOPIC", "record_error"),
        ("ON_HISTORY_LOST", "latest"),
        ("RESUME_STORE", "file"),
        ("RESUME_FILE", checkpoint.to_str().unwrap()),
        ("STREAM_ID", "mine"),
        ("COMMIT_INTERVAL_MS", "50"),
        ("ENABLE_CHANGE_STREAMS", "false"),
        ("HTTP_ADDR", "0.0.0.0:8080"),
        ("ADMIN_TOKEN", "0123456789abcdef"),
        ("LOG_LEVEL", "warn"),
        ("LOG_FORMAT", "json"),
        ("STATUS_INTERVAL_SECONDS", "5"),
        ("SHUTDOWN_TIMEOUT_MS", "20000"),
    ]);
    let Config {
        mongo,
        kafka,
        streams,
        ..
    } = &config;
    let StreamSpec {
        source,
        sink,
        pipeline,
        ..
    } = &streams[0];
    assert_eq!(source.operations, ["insert", "delete"]);
    assert_eq!(source.full_document, FullDocument::WhenAvailable);
    assert_eq!(source.pre_images, PreImages::Required);
    assert_eq!(
        source.user_pipeline,
        [bson::doc! {"$match": {"fullDocument.a": 1}}]
    );
    assert!(source.show_expanded_events);
    assert_eq!(source.start_at, StartAt::Time(1_706_698_800));
    assert_eq!(source.batch_bytes, 512 << 10);
    assert_eq!(mongo.retry.first, Duration::from_millis(250));
    assert_eq!(mongo.retry.most, 7);
    assert_eq!(kafka.brokers, "one:9092,two:9093,[::1]:9094");
    assert_eq!(sink.topics.delete, "changes.{database}");
    assert_eq!(sink.topics.ddl.as_deref(), Some("ddl"));
    assert_eq!(sink.topics.dead_letter.as_deref(), Some("dead"));
    assert_eq!(
        (kafka.creation.partitions, kafka.creation.replication),
        (Some(6), Some(3))
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        kafka.creation.config,
        [
            pair("cleanup.policy", "compact,delete"),
            pair("retention.ms", "5")
        ]
    );
    assert_eq!(
        kafka.properties,
        [pair("compression.type", "zstd"), pair("max.in.flight", "2")]
    );
    assert!(sink.tombstones);
    assert_eq!(sink.record_timestamp, RecordTimestamp::Now);
    assert_eq!(pipeline.json_mode, JsonMode::Canonical);
    let batching = Batching {
        events: 10,
        bytes: 2_000_000,
        timeout: Duration::ZERO,
    };
    assert_eq!(pipeline.batching, batching);
    assert_eq!(config.max_in_flight_bytes, 1 << 30);
    assert_eq!(pipeline.on_record_error, OnRecordError::DeadLetter);
    assert_eq!(pipeline.on_missing_topic, OnMissingTopic::RecordError);
    assert_eq!(pipeline.on_history_lost, OnHistoryLost::Latest);
    assert_eq!(pipeline.commit_interval, Duration::from_millis(50));
    assert_eq!(
        config.streams[0].resume.backend,
        ResumeBackend::File { path: checkpoint }
    );
    assert_eq!(config.streams[0].id, "mine");
    assert!(!config.enabled);
    assert_eq!(config.http, Http::Asked("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(config.admin_token, Some(Secret::new("0123456789abcdef")));
    assert_eq!(
        config.log,
        Log {
            level: tracing::Level::WARN,
            format: LogFormat::Json
        }
    );
    assert_eq!(config.status_interval, Duration::from_secs(5));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(20));
}

#[test]
fn checkpoints_in_mongodb_take_their_names() {
    let config = config(&[
        ("RESUME_STORE", "mongodb"),
        ("RESUME_DATABASE", "tailwater"),
        ("RESUME_TTL_DAYS", "2"),
    ]);
    assert_eq!(
        config.streams[0].resume.backend,
        ResumeBackend::MongoDb {
            database: "tailwater".into(),
            collection: "changeStreamResumeTokens".into(),
            ttl: Some(Duration::from_secs(172_800)),
        }
    );
}

#[test]
fn a_log_in_is_taken_with_all_its_parts() {
    let config = config(&[
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "scram-sha-512"),
        ("KAFKA_SASL_USERNAME", "user"),
        ("KAFKA_SASL_PASSWORD", " with spaces "),
    ]);
    assert_eq!(config.kafka.security_protocol, SecurityProtocol::SaslSsl);
    let sasl = config.kafka.sasl.unwrap();
    assert_eq!(
        (sasl.mechanism.as_str(), sasl.username.as_str()),
        ("SCRAM-SHA-512", "user")
    );
    assert_eq!(sasl.password.expose(), " with spaces ");
}

#[test]
fn the_database_comes_from_the_path_or_from_its_own_variable() {
    let scope = |vars: &[(&str, &str)]| config(vars).streams[0].source.scope.clone();
    let named = |name: &str| Scope::Database(name.into());
    assert_eq!(
        scope(&[(
            "MONGODB_URI",
            "mongodb+srv://u:p@cluster.example.com/shop?w=1"
        )]),
        named("shop")
    );
    assert_eq!(
        scope(&[
            ("MONGODB_URI", "mongodb://u:p@h/admin"),
            ("MONGODB_DATABASE", "shop")
        ]),
        named("shop")
    );
    assert_eq!(
        scope(&[
            ("MONGODB_URI", "mongodb://a,b:27018/?replicaSet=rs0"),
            ("WATCH_DATABASES", "shop, tenant_*, shop"),
            ("WATCH_COLLECTIONS", "shop.users,tenant_*.audit"),
        ]),
        Scope::Deployment {
            databases: vec!["shop".into(), "tenant_*".into()]
        }
    );
}

#[test]
fn a_deployment_is_a_star_in_the_streams_id() {
    let config = config(&[("MONGODB_URI", "mongodb://h"), ("WATCH_DATABASES", "a,b")]);
    assert_eq!(config.streams[0].id, "tailwater:*");
}

#[test]
fn a_stream_can_start_at_a_token() {
    let config = config(&[("START_AT", "token:8265A1B2C3000000012B0229296E04")]);
    let token = ResumeToken::from_data("8265A1B2C3000000012B0229296E04");
    assert_eq!(config.streams[0].source.start_at, StartAt::Token(token));
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let config = config(&[
        ("BATCH_SIZE", ""),
        ("KAFKA_DB_CHANGES_TOPIC", "  "),
        ("KAFKA_SASL_PASSWORD", ""),
        ("ADMIN_TOKEN_FILE", ""),
        ("KAFKA_PROP_LINGER_MS", " "),
    ]);
    assert_eq!(config.streams[0].pipeline.batching.events, 50);
    assert_eq!(config.streams[0].sink.topics.insert, "database.insert");
    assert!(config.kafka.properties.is_empty());
}

#[test]
fn values_are_trimmed() {
    let config = config(&[
        ("BATCH_SIZE", " 7 "),
        ("WATCH_COLLECTIONS", " a b , c ,, a b "),
    ]);
    assert_eq!(config.streams[0].pipeline.batching.events, 7);
    assert_eq!(config.streams[0].source.watch, ["a b", "c"]);
}

#[test]
fn debug_adds_to_the_log_and_never_takes_away() {
    let level = |vars: &[(&str, &str)]| config(vars).log.level;
    assert_eq!(level(&[("DEBUG", "true")]), tracing::Level::DEBUG);
    assert_eq!(
        level(&[("DEBUG", "1"), ("LOG_LEVEL", "trace")]),
        tracing::Level::TRACE
    );
    assert_eq!(
        level(&[("DEBUG", "false"), ("LOG_LEVEL", "WARN")]),
        tracing::Level::WARN
    );
}

/// A `.env` file that is shared with a Node program sets what that program's loggers read.
#[test]
fn levels_and_debug_of_other_programs_are_a_warning() {
    let read = |vars: &[(&str, &str)]| {
        let loaded = load(vars).unwrap();
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        (loaded.config.log.level, warnings.join("\n"))
    };
    for (given, level) in [
        ("http", tracing::Level::INFO),
        ("VERBOSE", tracing::Level::DEBUG),
        ("silly", tracing::Level::TRACE),
        ("fatal", tracing::Level::ERROR),
        ("warning", tracing::Level::WARN),
    ] {
        let (taken, warnings) = read(&[("LOG_LEVEL", given)]);
        assert_eq!(taken, level, "{given}");
        let name = level.as_str().to_ascii_lowercase();
        assert!(
            warnings.contains(&format!("is taken for {name}")),
            "{warnings}"
        );
    }
    let (level, warnings) = read(&[("DEBUG", "app:*,-app:secret")]);
    assert_eq!(level, tracing::Level::INFO);
    assert!(
        warnings.contains("DEBUG: is neither true nor false"),
        "{warnings}"
    );
    assert!(!warnings.contains("secret"), "{warnings}");
    assert_eq!(read(&[("DEBUG", "false"), ("LOG_LEVEL", "info")]).1, "");
}

#[test]
fn http_can_be_off_or_on_localhost() {
    assert_eq!(config(&[("HTTP_ADDR", "OFF")]).http, Http::Off);
    let asked = Http::Asked("127.0.0.1:3001".parse().unwrap());
    assert_eq!(config(&[("HTTP_ADDR", "localhost:3001")]).http, asked);
}

#[test]
fn the_real_environment_wins_over_the_env_file() {
    let loaded = from_file(GENERIC_WATCHER, &[("BATCH_SIZE", "7"), ("LOG_LEVEL", "")]).unwrap();
    assert_eq!(loaded.config.streams[0].pipeline.batching.events, 7);
    assert_eq!(origin(&loaded, "BATCH_SIZE"), Origin::Environment);
    assert_eq!(origin(&loaded, "KAFKA_BROKERS"), Origin::DotEnv);
    assert_eq!(
        origin(&loaded, "LOG_LEVEL"),
        Origin::DotEnv,
        "an empty variable is unset"
    );
    assert_eq!(origin(&loaded, "BATCH_BYTES"), Origin::Default);
    assert_eq!(origin(&loaded, "STREAM_ID"), Origin::Derived);
}

#[test]
fn an_env_file_that_is_not_there_is_no_error() {
    let vars = REQUIRED.map(|(name, value)| (name.into(), value.into()));
    assert!(Config::from_sources(vars, Some(Path::new("/nonexistent/.env"))).is_ok());
}

#[test]
fn an_env_file_may_quote_and_comment() {
    let text = "\u{feff}# first\nexport MONGODB_URI='mongodb://h/d' # trailing\nKAFKA_BROKERS=\"h:1\"\n\
                CHANGE_STREAM_PIPELINE='[{\"$match\":{\"fullDocument.a\":\"b\"}}]'\n";
    let config = from_file(text, &[]).unwrap().config;
    assert_eq!(config.streams[0].source.user_pipeline.len(), 1);
    assert_eq!(config.kafka.brokers, "h:1");
}

#[test]
fn a_format_brings_its_topics_and_tombstones() {
    let sink = |vars: &[(&str, &str)]| config(vars).streams[0].sink.clone();
    let debezium = [("FORMAT", "debezium"), ("KAFKA_TOPIC_PREFIX", "shop")];
    let of_debezium = sink(&debezium);
    assert_eq!(of_debezium.topics.delete, "shop.{database}.{collection}");
    assert_eq!(of_debezium.topics.ddl, None);
    assert!(of_debezium.tombstones);
    assert!(!sink(&[&debezium[..], &[("TOMBSTONES", "false")]].concat()).tombstones);
    let named = [&debezium[..], &[("KAFKA_DB_CHANGES_TOPIC", "all")]].concat();
    assert_eq!(sink(&named).topics.insert, "all");

    let mongo = [
        ("FORMAT", "mongo-kafka"),
        ("KAFKA_TOPIC_SUFFIX", "cdc"),
        ("KAFKA_TOPIC_SEPARATOR", "-"),
    ];
    let of_mongo = sink(&mongo);
    assert_eq!(of_mongo.topics.update, "{database}-{collection}-cdc");
    assert_eq!(of_mongo.topics.ddl, Some(of_mongo.topics.update.clone()));
    let told = warnings(&[&debezium[..], &[("KAFKA_TOPIC_INSERT", "inserts")]].concat());
    assert!(
        told.contains("without effect: KAFKA_TOPIC_INSERT"),
        "{told}"
    );
    let told = warnings(&[("MONGO_KAFKA_JSON", "extended")]);
    assert!(
        told.contains("has no effect with FORMAT=tailwater"),
        "{told}"
    );
    assert!(errors(&[("FORMAT", "debezium")]).contains("KAFKA_TOPIC_PREFIX: is not set"));
}
