//! Topics: made when missing, waited for when forbidden, never blamed on an event.

use crate::support::{self, Kafka, Operation, PATIENCE, Resource, Setup, eventually};
use std::net::TcpListener;
use std::sync::Arc;
use tailwater::change::namespace::Namespace;
use tailwater::config::{Config, OnMissingTopic};
use tailwater::error::Code;
use tailwater::preflight::{Finding, Severity};
use tailwater::route::{Router, Topic};
use tailwater::sink::topics::{Ahead, TopicProblem, Topics, check};
use tailwater::status::waiting::Waits;

fn config(brokers: &str, vars: &[(&str, &str)]) -> Config {
    let mut all = vec![
        ("MONGODB_URI", "mongodb://localhost/shop"),
        ("KAFKA_BROKERS", brokers),
    ];
    all.extend(vars);
    Config::from_vars(all)
        .unwrap_or_else(|errors| panic!("{errors:?}"))
        .config
}

fn topics_of(config: &Config) -> Vec<Arc<Topic>> {
    Router::new(&config.streams[0].sink.topics, &[])
        .unwrap()
        .table()
        .all()
}

async fn checked(config: &Config) -> Vec<Finding> {
    let findings = check(&config.kafka, &config.streams[0], None).await;
    findings.iter().for_each(|finding| println!("{finding}"));
    findings
}

fn errors(findings: &[Finding]) -> Vec<&Finding> {
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect()
}

#[tokio::test]
async fn missing_topics_are_made_as_configured_and_their_limits_learned() {
    let kafka = support::kafka().await;
    let (insert, update, delete) = (
        support::unique("insert"),
        support::unique("update"),
        support::unique("delete"),
    );
    kafka
        .create_topic(&update, 1, &[("max.message.bytes", "2000000")])
        .await;
    let config = config(
        kafka.brokers(),
        &[
            ("KAFKA_TOPIC_INSERT", &insert),
            ("KAFKA_TOPIC_UPDATE", &update),
            ("KAFKA_TOPIC_DELETE", &delete),
            ("KAFKA_TOPIC_PARTITIONS", "3"),
            (
                "KAFKA_TOPIC_CONFIG",
                "max.message.bytes=3000000,retention.ms=60000",
            ),
        ],
    );

    // A check only looks.
    let findings = checked(&config).await;
    assert!(errors(&findings).is_empty());
    let later = findings.iter().filter(|f| {
        f.sentence
            .contains("does not exist yet and will be created;")
    });
    assert_eq!(later.count(), 2);
    assert_eq!(kafka.partitions(&insert).await, None);

    let topics = Topics::new(&config.kafka).unwrap();
    let of = topics_of(&config);
    for _ in 0..2 {
        let findings = topics.ensure(&of).await;
        assert!(errors(&findings).is_empty(), "{findings:?}");
        let learned: Vec<_> = of
            .iter()
            .map(|topic| (topic.name(), topic.partitions(), topic.max_message_bytes()))
            .collect();
        assert_eq!(
            learned,
            [
                (insert.as_str(), Some(3), Some(3_000_000)),
                (update.as_str(), Some(1), Some(2_000_000)),
                (delete.as_str(), Some(3), Some(3_000_000)),
            ]
        );
    }
    assert_eq!(kafka.partitions(&insert).await, Some(3));
    assert!(errors(&checked(&config).await).is_empty());
}

#[tokio::test]
async fn two_instances_that_make_the_same_topics_at_once_both_succeed() {
    let kafka = support::kafka().await;
    let topic = support::unique("shared");
    let config = config(kafka.brokers(), &[("KAFKA_DB_CHANGES_TOPIC", &topic)]);
    let (one, other) = (
        Topics::new(&config.kafka).unwrap(),
        Topics::new(&config.kafka).unwrap(),
    );
    let (one, other) = tokio::join!(one.ensure_one(&topic), other.ensure_one(&topic));
    assert_eq!(one.unwrap(), other.unwrap());
}

#[tokio::test]
async fn with_creation_off_all_missing_topics_are_named_at_once_and_none_is_made() {
    let kafka = support::kafka().await;
    let prefix = support::unique("off");
    let (insert, there) = (format!("{prefix}.insert"), format!("{prefix}.there"));
    kafka.create_topic(&there, 1, &[]).await;
    let config = config(
        kafka.brokers(),
        &[
            ("KAFKA_TOPIC_INSERT", &insert),
            ("KAFKA_TOPIC_UPDATE", &there),
            ("KAFKA_TOPIC_DELETE", &format!("{prefix}.delete")),
            ("KAFKA_CREATE_TOPICS", "false"),
        ],
    );
    let topics = Topics::new(&config.kafka).unwrap();
    for findings in [
        checked(&config).await,
        topics.ensure(&topics_of(&config)).await,
    ] {
        let errors = errors(&findings);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(
            (errors[0].code, errors[0].is_transient),
            (Some(Code::SinkRefused), false)
        );
        assert!(
            errors[0]
                .sentence
                .contains(&format!("{insert}, {prefix}.delete")),
            "{}",
            errors[0]
        );
        assert!(
            errors[0]
                .remedy
                .as_ref()
                .unwrap()
                .contains("kafka-topics.sh"),
            "{}",
            errors[0]
        );
    }
    assert_eq!(kafka.partitions(&insert).await, None);
}

#[tokio::test]
async fn a_missing_topic_is_waited_for_and_found_when_somebody_makes_it() {
    let kafka = support::kafka().await;
    let name = support::unique("later");
    let vars = [
        ("KAFKA_DB_CHANGES_TOPIC", name.as_str()),
        ("KAFKA_CREATE_TOPICS", "false"),
    ];
    let config = config(kafka.brokers(), &vars);
    let topics = Topics::new(&config.kafka).unwrap();
    let topic = Arc::clone(&topics_of(&config)[0]);
    let waits = Arc::new(Waits::default());
    let waiting = tokio::spawn({
        let (topics, topic, waits) = (topics, Arc::clone(&topic), Arc::clone(&waits));
        async move {
            let policy = OnMissingTopic::Wait;
            topics.wait_for(&topic, policy, &waits).await.unwrap();
        }
    });
    let reason = eventually(PATIENCE, "the wait is reported", async || {
        let waits = waits.all();
        let wait = waits.first().filter(|wait| wait.why.is_some())?;
        Some(wait.sentence())
    })
    .await;
    assert!(
        reason.contains(&name) && reason.contains("does not exist"),
        "{reason}"
    );
    assert!(!waiting.is_finished());
    kafka.create_topic(&name, 2, &[]).await;
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(topic.partitions(), Some(2));
    assert!(waits.all().is_empty());
}

#[tokio::test]
async fn settings_the_broker_refuses_come_back_as_sentences() {
    let kafka = support::kafka().await;
    for (variable, value, says, heals) in [
        (
            "KAFKA_TOPIC_CONFIG",
            "retention.ms=never",
            "retention.ms=never",
            false,
        ),
        (
            "KAFKA_TOPIC_REPLICATION",
            "3",
            "KAFKA_TOPIC_REPLICATION (3)",
            true,
        ),
    ] {
        let topic = support::unique("refused");
        let vars = [
            ("KAFKA_DB_CHANGES_TOPIC", topic.as_str()),
            (variable, value),
        ];
        let config = config(kafka.brokers(), &vars);
        let topics = Topics::new(&config.kafka).unwrap();
        for findings in [
            checked(&config).await,
            topics.ensure(&topics_of(&config)).await,
        ] {
            let errors = errors(&findings);
            assert_eq!(errors.len(), 1, "{findings:?}");
            assert!(errors[0].sentence.contains(says), "{}", errors[0]);
            assert_eq!(errors[0].is_transient, heals, "{}", errors[0]);
        }
    }
}

/// Kafka refuses `a_b` beside `a.b`; which of the two came first, another run may have decided.
#[tokio::test]
async fn a_topic_that_clashes_with_one_of_the_cluster_is_said_to() {
    let kafka = support::kafka().await;
    let name = support::unique("clash");
    kafka.create_topic(&format!("{name}.b"), 1, &[]).await;
    let clash = format!("{name}_b");
    let config = config(kafka.brokers(), &[("KAFKA_DB_CHANGES_TOPIC", &clash)]);
    let problem = Topics::new(&config.kafka)
        .unwrap()
        .ensure_one(&clash)
        .await
        .unwrap_err();
    let there = TopicProblem::Clash {
        name: clash,
        other: format!("{name}.b"),
    };
    assert_eq!(problem, there);
    assert!(problem.is_for_good());
    assert!(!problem.is_transient());
}

/// Refused, clashing and missing topics side by side: one request, and each has what is right for it.
#[tokio::test]
async fn of_many_topics_a_refused_one_stops_no_other() {
    let kafka = Kafka::with_acls(&["tailwater"], &[]).await;
    for operation in [
        Operation::Create,
        Operation::Describe,
        Operation::DescribeConfigs,
    ] {
        for name in ["a.one", "a.two", "a.there", "a.x_y", "a.x.y"] {
            kafka
                .allow("tailwater", Resource::Topic(name), operation)
                .await;
        }
    }
    kafka.create_topic("a.there", 2, &[]).await;
    let setup = Setup::empty().logged_in_as(&kafka, "tailwater").vars();
    let mut vars: Vec<_> = setup
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    vars.push(("KAFKA_DB_CHANGES_TOPIC", "a.{collection}"));
    let config = config(kafka.users_brokers(), &vars);
    let topics = Topics::new(&config.kafka).unwrap();
    let collections =
        ["one", "forbidden", "there", "two", "x_y", "x.y"].map(|collection| Namespace {
            database: "shop".into(),
            collection: collection.into(),
        });
    let of = Router::of(&config.streams[0])
        .unwrap()
        .topics_of(&collections, &["insert"], 100);
    let made = Ahead {
        present: 1,
        created: 2,
        refused: 1,
        requests: 1,
    };
    assert_eq!(topics.make_ahead(&of).await, made);
    let known: Vec<_> = of.iter().map(|topic| topic.partitions()).collect();
    assert_eq!(known, [Some(1), None, Some(2), Some(1), None, None]);
    assert!(of[0].max_message_bytes().is_some());
    let again = Ahead {
        present: 3,
        created: 0,
        ..made
    };
    assert_eq!(topics.make_ahead(&of).await, again);
}

#[tokio::test]
async fn a_topic_that_grows_is_noticed() {
    let kafka = support::kafka().await;
    let name = support::unique("grows");
    kafka.create_topic(&name, 1, &[]).await;
    let config = config(kafka.brokers(), &[("KAFKA_DB_CHANGES_TOPIC", &name)]);
    let topics = Topics::new(&config.kafka).unwrap();
    let of = topics_of(&config);
    topics.ensure(&of).await;
    assert!(topics.refresh(&of).await.is_empty());

    let more = rdkafka::admin::NewPartitions::new(&name, 4);
    let options = rdkafka::admin::AdminOptions::new();
    kafka
        .admin()
        .create_partitions([&more], &options)
        .await
        .unwrap()[0]
        .as_ref()
        .unwrap();
    let notices = eventually(PATIENCE, "the growth is noticed", async || {
        let notices = topics.refresh(&of).await;
        (!notices.is_empty()).then_some(notices)
    })
    .await;
    assert!(
        notices[0].contains("had 1 partitions and now has 4"),
        "{notices:?}"
    );
    assert_eq!(of[0].partitions(), Some(4));
}

#[tokio::test]
async fn brokers_that_are_not_up_yet_are_waited_for() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for brokers in [free.as_str(), "no-such-host.invalid:9092"] {
        let findings = checked(&config(brokers, &[])).await;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].code, Some(Code::SinkUnavailable));
        assert!(findings[0].is_transient);
        assert!(findings[0].sentence.contains(brokers), "{}", findings[0]);
    }
}

/// A listener with passwords, and nobody but the administrator allowed to do anything.
#[tokio::test]
async fn log_ins_and_permissions_that_are_refused_are_told_apart_from_a_broker_that_is_down() {
    let (kafka, proxy) = Kafka::behind_proxy(&[
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:SASL_PLAINTEXT",
        "listener.name.proxied.sasl.enabled.mechanisms=PLAIN",
        "listener.name.proxied.plain.sasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required user_tailwater=\"right\";",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users=User:ANONYMOUS",
    ])
    .await;
    let brokers = proxy.addr().to_string();
    kafka.create_topic("there", 1, &[]).await;
    let with = |protocol: &str, password: &str, topic: &str| {
        let login = [
            ("KAFKA_SECURITY_PROTOCOL", protocol),
            ("KAFKA_SASL_MECHANISM", "PLAIN"),
            ("KAFKA_SASL_USERNAME", "tailwater"),
            ("KAFKA_SASL_PASSWORD", password),
        ];
        let mut vars = vec![("KAFKA_DB_CHANGES_TOPIC", topic)];
        if protocol.starts_with("SASL") {
            vars.extend(login);
        } else {
            vars.push(login[0]);
        }
        config(&brokers, &vars)
    };

    let wrong = with("SASL_PLAINTEXT", "hunter2", "there");
    let topics = Topics::new(&wrong.kafka).unwrap();
    for findings in [
        checked(&wrong).await,
        topics.ensure(&topics_of(&wrong)).await,
        topics.ensure(&topics_of(&wrong)).await,
    ] {
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].code, findings[0].is_transient),
            (Some(Code::SinkRefused), false)
        );
        let sentence = &findings[0].sentence;
        assert!(
            sentence.starts_with("Kafka refuses the log-in"),
            "{sentence}"
        );
        assert!(!findings[0].to_string().contains("hunter2"));
    }

    let allowed = with("SASL_PLAINTEXT", "right", "there");
    for topic in ["there", "elsewhere"] {
        let findings = checked(&with("SASL_PLAINTEXT", "right", topic)).await;
        let errors = errors(&findings);
        // The topic itself, and the right to produce at all.
        assert!(errors[0].sentence.contains(topic), "{}", errors[0]);
        for error in errors {
            assert!(!error.is_transient, "{error}");
            let remedy = error.remedy.as_ref().unwrap();
            assert!(remedy.contains("kafka-acls.sh"), "{error}");
        }
    }
    let topics = Topics::new(&allowed.kafka).unwrap();
    let problem = topics.ensure_one("there").await.unwrap_err();
    assert_eq!(
        problem,
        TopicProblem::Forbidden {
            name: "there".into()
        }
    );

    for protocol in ["PLAINTEXT", "SSL"] {
        let findings = checked(&with(protocol, "", "there")).await;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Error);
        assert!(
            findings[0].remedy.as_ref().unwrap().contains("KAFKA_"),
            "{}",
            findings[0]
        );
    }
    drop(kafka);
}

#[test]
fn whether_records_may_shrink_on_the_way_is_known_from_the_properties() {
    let may = |vars: &[(&str, &str)]| {
        Topics::new(&config("localhost:9092", vars).kafka)
            .unwrap()
            .may_compress()
    };
    assert!(!may(&[]));
    assert!(!may(&[("KAFKA_PROP_COMPRESSION_TYPE", "none")]));
    assert!(may(&[("KAFKA_PROP_COMPRESSION_TYPE", "zstd")]));
}
