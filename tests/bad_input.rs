//! Servers that are not there, not ready or not willing, ports that are taken, and stops that are
//! meant: what is said, what goes on, and the exit code of what does not.

use crate::support::{self, Kafka, Mongo, PATIENCE, Setup, Tailwater, eventually, unique};
use bson::{bson, doc};
use futures_util::future::{join, join_all};
use rustix::process::Signal;
use std::net::TcpListener;
use std::time::Duration;

/// Nothing listens there, and nobody is given it either.
const NOWHERE: &str = "127.0.0.1:1";

async fn to(uri: &str) -> Setup {
    Setup::empty()
        .env("MONGODB_URI", uri)
        .env("KAFKA_BROKERS", support::kafka().await.brokers())
        .env("KAFKA_CLIENT_ID", unique("tailwater"))
        .env("KAFKA_DB_CHANGES_TOPIC", unique("changes"))
        .env("RECONNECT_DELAY_MS", 50)
}

fn nowhere(database: &str) -> String {
    format!("mongodb://{NOWHERE}/{database}?replicaSet=rs0&serverSelectionTimeoutMS=200")
}

/// It lives, it is not ready, and it ends well when asked to.
async fn waits(mut tailwater: Tailwater, server: &str) {
    let line = tailwater.wait_for_event("server_awaited").await;
    assert!(line.contains(&format!("server=\"{server}\"")), "{line}");
    assert!(line.contains(NOWHERE), "{line}");
    assert_eq!(tailwater.get("/health/live").await.status, 200);
    let ready = tailwater.get("/health/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["state"], "starting");
    // Who asks for its health is told why, as the log is.
    let reason = tailwater.get("/health").await.json()["reason"].clone();
    let reason = reason.as_str().unwrap();
    assert!(reason.starts_with("starting: waiting for "), "{reason}");
    assert!(
        reason.contains(server) && reason.contains(NOWHERE),
        "{reason}"
    );
    let exit = tailwater.stop().await;
    let said = exit.output.matches("not ready yet").count();
    assert_eq!(said, 1, "the same is said once:\n{}", exit.output);
}

#[tokio::test]
async fn a_mongodb_that_is_not_there_is_waited_for_as_long_as_configured() {
    let setup = to(&nowhere("shop")).await;
    let impatient = setup.clone().env("RECONNECT_MAX_RETRIES", 2);
    let ((), exit) = join(waits(setup.spawn(), "mongodb"), impatient.run()).await;
    assert_eq!(exit.code, Some(11), "{}", exit.output);
    assert!(exit.output.contains("source_unavailable"));
    assert!(exit.output.contains(NOWHERE), "{}", exit.output);
}

#[tokio::test]
async fn a_kafka_that_is_not_there_is_waited_for_as_long_as_configured() {
    let db = support::database().await;
    let setup = to(db.uri()).await.env("KAFKA_BROKERS", NOWHERE);
    let impatient = setup.clone().env("RECONNECT_MAX_RETRIES", 1);
    let ((), exit) = join(waits(setup.spawn(), "kafka"), impatient.run()).await;
    assert_eq!(exit.code, Some(12), "{}", exit.output);
    assert!(exit.output.contains("sink_unavailable"));
    assert!(exit.output.contains(NOWHERE), "{}", exit.output);
}

#[tokio::test]
async fn a_limit_on_open_files_that_leaves_no_connection_has_a_code_of_its_own() {
    let db = support::database().await;
    let setup = to(db.uri()).await;
    // With each of them it is another connection that can no longer be made.
    let limited = [8, 12, 16, 20, 22].map(|most| setup.clone().descriptors(most));
    for exit in join_all(limited.iter().map(Setup::run)).await {
        assert_eq!(exit.code, Some(14), "{}", exit.output);
        assert!(exit.output.contains("ulimit -n"), "{}", exit.output);
    }
}

/// A port is easily mistaken for another one.
#[tokio::test]
async fn what_is_no_mongodb_is_said_to_be_none() {
    let kafka = support::kafka().await.brokers();
    let mut idle = Setup::empty()
        .env("MONGODB_URI", nowhere("shop"))
        .env("KAFKA_BROKERS", kafka)
        .env("ENABLE_CHANGE_STREAMS", "false")
        .spawn();
    idle.wait_for_event("nothing_watched").await;
    let http = idle.http_addr().unwrap().to_string();
    for (address, said) in [
        (kafka, "it is no MongoDB"),
        (&http, "an HTTP server answers"),
    ] {
        let setup = to(&format!("mongodb://{address}/shop")).await;
        let mut tailwater = setup.spawn();
        let line = tailwater.wait_for_event("server_awaited").await;
        assert!(line.contains(said), "{line}");
        let health = tailwater.get("/health").await.json();
        assert!(
            health["reason"].as_str().unwrap().contains(said),
            "{health}"
        );
        tailwater.stop().await;
        let exit = setup.args(&["check"]).run().await;
        assert!(exit.output.contains(said), "{}", exit.output);
    }
    idle.stop().await;
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_waited_for_as_long_as_configured() {
    let setup = to("mongodb+srv://nowhere.tailwater.invalid/shop").await;
    let impatient = setup.clone().env("RECONNECT_MAX_RETRIES", 1);
    let waits = async {
        let mut tailwater = setup.spawn();
        tailwater.wait_for_log("DNS resolution").await;
        assert_eq!(tailwater.get("/health/live").await.status, 200);
        assert_eq!(tailwater.get("/health/ready").await.status, 503);
        let health = tailwater.get("/health").await.json();
        assert!(
            health["reason"].as_str().unwrap().contains("DNS"),
            "{health}"
        );
        tailwater.stop().await;
    };
    let ((), exit) = join(waits, impatient.run()).await;
    assert_eq!(exit.code, Some(11), "{}", exit.output);
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_json_where_the_log_is() {
    let setup = to(&nowhere("shop"))
        .await
        .env("LOG_FORMAT", "json")
        .env("BATCH_SIZE", -1)
        .env("BATCH_SIZES", 1);
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    let lines = exit.output.lines().map(serde_json::from_str);
    let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().unwrap();
    let about = |name: &str, level: &str| {
        let is_it = |line: &&serde_json::Value| line["variable"] == name && line["level"] == level;
        lines
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("{name} in {lines:?}"))
    };
    assert_eq!(about("BATCH_SIZE", "error")["code"], "config");
    about("BATCH_SIZES", "warn");
}

/// Both ways to look at it: the checks alone, and a run.
async fn is_refused(setup: &Setup, code: i32, sentences: &[&str]) {
    for args in [&["check"], &["run"]] {
        let exit = setup.clone().args(args).run().await;
        assert_eq!(exit.code, Some(code), "{args:?}: {}", exit.output);
        for sentence in sentences {
            let said = &exit.output;
            assert!(
                said.contains(sentence),
                "{args:?}: {sentence:?} in:\n{said}"
            );
        }
        assert!(!exit.output.contains("hunter2"), "{}", exit.output);
    }
}

#[tokio::test]
async fn a_standalone_server_is_refused_with_what_makes_it_a_replica_set() {
    let server = Mongo::dedicated(&["--standalone"]).await;
    let setup = to(&server.uri_of("shop")).await;
    is_refused(&setup, 3, &["--replSet", "rs.initiate()"]).await;
}

#[tokio::test]
async fn who_may_not_log_in_or_not_watch_is_told_what_to_grant() {
    let server = Mongo::with_auth().await;
    let roles = bson!([{"role": "read", "db": "elsewhere"}]);
    server.add_user("stranger", "right", roles).await;
    let roles = bson!([{"role": "read", "db": "shop"}]);
    server.add_user("reader", "right", roles).await;

    let uri = server.uri_as("reader", "hunter2", "shop");
    is_refused(
        &to(&uri).await,
        3,
        &["refuses the credentials of user reader"],
    )
    .await;

    let uri = server.uri_as("stranger", "right", "shop");
    let grant = r#"grantRolesToUser("stranger", [{role: "read", db: "shop"}])"#;
    is_refused(&to(&uri).await, 3, &["changeStream and find", grant]).await;

    // No more than reading is needed where checkpoints are in Kafka.
    let uri = server.uri_as("reader", "right", "shop");
    let setup = to(&uri).await;
    let checked = setup.clone().args(&["check"]).run().await;
    assert_eq!(checked.code, Some(0), "{}", checked.output);
    setup.start().await.stop().await;
}

#[tokio::test]
async fn missing_topics_stop_the_start_where_none_may_be_made() {
    let db = support::database().await;
    let names = ["in", "up", "re", "de"].map(|name| db.topic(name));
    let setup = to(db.uri())
        .await
        .without("KAFKA_DB_CHANGES_TOPIC")
        .env("KAFKA_TOPIC_INSERT", &names[0])
        .env("KAFKA_TOPIC_UPDATE", &names[1])
        .env("KAFKA_TOPIC_REPLACE", &names[2])
        .env("KAFKA_TOPIC_DELETE", &names[3])
        // The checkpoint topic of Kafka would have to be there too.
        .env("RESUME_STORE", "mongodb")
        .env("KAFKA_CREATE_TOPICS", false);
    let kafka = support::kafka().await;
    kafka.create_topic(&names[0], 1, &[]).await;
    let missing = names[1..].join(", ");
    is_refused(&setup, 4, &[&missing]).await;
    for name in &names[1..] {
        assert_eq!(kafka.partitions(name).await, None, "{name} was made");
        kafka.create_topic(name, 1, &[]).await;
    }
    setup.start().await.stop().await;
}

#[tokio::test]
async fn what_is_wrong_at_both_ends_is_told_in_one_start() {
    let server = Mongo::dedicated(&["--standalone"]).await;
    let setup = to(&server.uri_of("shop")).await;
    let exit = setup.env("KAFKA_CREATE_TOPICS", false).run().await;
    assert_eq!(exit.code, Some(3), "{}", exit.output);
    for sentence in ["rs.initiate()", "does not exist, and KAFKA_CREATE_TOPICS"] {
        assert!(exit.output.contains(sentence), "{}", exit.output);
    }
}

/// With this patience the first look at MongoDB never ends.
#[tokio::test]
async fn servers_that_are_away_are_spoken_of_while_they_are_still_being_looked_for() {
    let patient = nowhere("shop").replace("TimeoutMS=200", "TimeoutMS=3600000");
    let mut tailwater = to(&patient).await.env("KAFKA_BROKERS", NOWHERE).spawn();
    let connecting = tailwater.wait_for_event("connecting").await;
    assert!(connecting.contains(NOWHERE), "{connecting}");
    for server in ["mongodb", "kafka"] {
        let named = format!("server=\"{server}\"");
        let line = tailwater.wait_for_log(&named).await;
        assert!(line.contains(NOWHERE), "{line}");
    }
    assert_eq!(tailwater.get("/health/ready").await.status, 503);
    assert_eq!(tailwater.stop().await.code, Some(0));
}

#[tokio::test]
async fn the_checks_alone_say_what_they_looked_at_and_change_nothing() {
    let db = support::database().await;
    let topic = db.topic("changes");
    let setup = to(db.uri())
        .await
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .args(&["check"]);
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    for name in [
        "mongodb.reachable",
        "mongodb.version",
        "mongodb.privileges",
        "kafka.reachable",
        "kafka.topics",
    ] {
        let line = exit.output.lines().find(|line| line.contains(name));
        assert!(
            line.is_some_and(|l| l.starts_with("ok ")),
            "{}",
            exit.output
        );
    }
    assert_eq!(support::kafka().await.partitions(&topic).await, None);

    let no_mongodb = setup.clone().env("MONGODB_URI", nowhere("shop"));
    let no_kafka = setup.env("KAFKA_BROKERS", NOWHERE);
    let (no_mongodb, no_kafka) = join(no_mongodb.run(), no_kafka.run()).await;
    for (exit, code) in [(no_mongodb, 11), (no_kafka, 12)] {
        assert_eq!(exit.code, Some(code), "{}", exit.output);
        assert!(exit.output.contains(NOWHERE), "{}", exit.output);
    }
}

#[tokio::test]
async fn one_topic_beside_topics_by_operation_wins_with_a_warning() {
    let db = support::database().await;
    let (topic, unused) = (db.topic("changes"), db.topic("unused"));
    let mut tailwater = to(db.uri())
        .await
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_INSERT", &unused)
        .start()
        .await;
    let warning = tailwater.wait_for_log("KAFKA_TOPIC_INSERT").await;
    assert!(warning.contains("WARN"), "{warning}");
    assert!(warning.contains("KAFKA_DB_CHANGES_TOPIC"), "{warning}");
    db.documents("users").insert_one(doc! {}).await.unwrap();
    let kafka = support::kafka().await;
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
    assert_eq!(kafka.partitions(&unused).await, None);
}

#[tokio::test]
async fn a_taken_http_port_is_done_without_unless_it_was_asked_for() {
    let db = support::database().await;
    // Where somebody else has it, it is taken as well.
    let _default = TcpListener::bind("127.0.0.1:3001");
    let topic = db.topic("changes");
    let setup = to(db.uri()).await.env("KAFKA_DB_CHANGES_TOPIC", &topic);
    let mut tailwater = setup.clone().without("HTTP_ADDR").spawn();
    let warning = tailwater.wait_for_event("http_not_started").await;
    assert!(warning.contains("127.0.0.1:3001"), "{warning}");
    tailwater.wait_for_event("first_start").await;
    db.documents("users").insert_one(doc! {}).await.unwrap();
    support::kafka().await.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let exit = setup.env("HTTP_ADDR", addr).run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    let sentence = format!("HTTP_ADDR={addr} cannot be bound");
    assert!(exit.output.contains(&sentence), "{}", exit.output);
}

#[tokio::test]
async fn switched_off_it_is_alive_and_needs_no_server() {
    let setup = Setup::empty()
        .env("MONGODB_URI", nowhere("shop"))
        .env("KAFKA_BROKERS", NOWHERE)
        .env("ENABLE_CHANGE_STREAMS", false);
    let mut tailwater = setup.spawn();
    tailwater.wait_for_event("nothing_watched").await;
    let live = tailwater.get("/health/live").await;
    assert_eq!(live.status, 200);
    assert_eq!(live.json()["state"], "disabled");
    tailwater.stop().await;
}

/// Records that linger cannot be acknowledged: a stop has to wait.
async fn lingering() -> (support::Database, Setup, String) {
    let db = support::database().await;
    let topic = db.topic("changes");
    let setup = to(db.uri())
        .await
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_PROP_LINGER_MS", 600_000);
    (db, setup, topic)
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once_and_loses_nothing() {
    let (db, setup, topic) = lingering().await;
    let mut tailwater = setup
        .clone()
        .env("SHUTDOWN_TIMEOUT_MS", 600_000)
        .env("STATUS_INTERVAL_SECONDS", 1)
        .start()
        .await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    tailwater.wait_for_log("events=1").await;
    tailwater.signal(Signal::TERM);
    tailwater.wait_for_event("stopping").await;
    // Signals of the first moment are one request, as a supervisor and its group send them.
    let code = eventually(PATIENCE, "a second signal ends it", async || {
        tailwater.signal(Signal::INT);
        let soon = Duration::from_millis(300);
        tokio::time::timeout(soon, tailwater.wait_exit(PATIENCE))
            .await
            .ok()
    })
    .await;
    assert_eq!(code.code, Some(130), "{}", code.output);
    let tailwater = setup.env("KAFKA_PROP_LINGER_MS", 0).start().await;
    support::kafka().await.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_has_its_own_exit_code_and_loses_nothing() {
    let (db, setup, topic) = lingering().await;
    let mut tailwater = setup
        .clone()
        .env("SHUTDOWN_TIMEOUT_MS", 100)
        .env("STATUS_INTERVAL_SECONDS", 1)
        .start()
        .await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    tailwater.wait_for_log("events=1").await;
    tailwater.signal(Signal::TERM);
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(9), "{}", exit.output);
    assert!(
        exit.output.contains("SHUTDOWN_TIMEOUT_MS"),
        "{}",
        exit.output
    );
    let tailwater = setup.env("KAFKA_PROP_LINGER_MS", 0).start().await;
    support::kafka().await.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
}

#[tokio::test]
async fn containers_may_start_in_any_order() {
    let (mut mongo, mut kafka) = (Mongo::dedicated(&[]).await, Kafka::dedicated(&[]).await);
    let db = mongo.database().await;
    let topic = db.topic("changes");
    mongo.kill9();
    kafka.kill9();
    let uri = format!("{}&serverSelectionTimeoutMS=200", db.uri());
    let mut tailwater = Tailwater::on(&db, &kafka)
        .env("MONGODB_URI", uri)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("RECONNECT_DELAY_MS", 100)
        .spawn();
    tailwater.wait_for_log("server=\"mongodb\"").await;
    assert!(!tailwater.is_ready().await);
    mongo.restart().await;
    tailwater.wait_for_log("server=\"kafka\"").await;
    assert!(!tailwater.is_ready().await);
    kafka.restart().await;
    tailwater.wait_ready().await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    let log = tailwater.stop().await.output;
    assert!(!log.contains("ERROR"), "waiting is no error:\n{log}");
}
