//! What the command line prints, word for word: `snapshots/` holds it. After a change that is wanted,
//! `INSTA_UPDATE=always scripts/test snapshots` writes it anew.

use crate::support::{self, PATIENCE, Setup, Tailwater, eventually};
use bson::doc;

/// Compares with the file of that name.
fn assert_printed(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A command line and what it printed, with its exit code.
async fn run(setup: &Setup, args: &[&str]) -> String {
    let exit = setup.clone().args(args).run().await;
    let code = exit.code.unwrap();
    let line = ["tailwater"].iter().chain(args).copied();
    let line = line.collect::<Vec<_>>().join(" ");
    format!("$ {line}\n{}[exit code {code}]\n\n", exit.output)
}

/// Puts a name in the place of what is different each time.
fn steady(text: &str, names: &[(&str, &str)]) -> String {
    let named = names.iter().fold(text.to_owned(), |text, (value, name)| {
        text.replace(value, name)
    });
    let is_end = |c: char| c.is_whitespace() || "\"(),;".contains(c);
    let words = named.split_inclusive(is_end).map(|word| {
        let bare = word.trim_end_matches(is_end);
        let end = &word[bare.len()..];
        let name = match bare {
            time if time.starts_with("20") && time.ends_with('Z') => "<time>",
            number if number.len() > 9 && number.bytes().all(|b| b.is_ascii_digit()) => "<number>",
            source if source.starts_with("replset:") => "<source>",
            instance if is_instance(instance) => "<instance>",
            other => other,
        };
        format!("{name}{end}")
    });
    words.collect()
}

/// `host/pid-random`
fn is_instance(word: &str) -> bool {
    let start = word.rsplit_once('/').map_or("", |(_, start)| start);
    let pid = start.split_once('-').map_or("", |(pid, _)| pid);
    !pid.is_empty() && !word.contains(':') && pid.bytes().all(|b| b.is_ascii_digit())
}

/// Nothing that has to be there.
fn nowhere() -> Setup {
    Setup::empty()
        .env("MONGODB_URI", "mongodb://user:hunter2@127.0.0.1:1/shop")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("HTTP_ADDR", "127.0.0.1:1")
}

#[tokio::test]
async fn the_help_of_every_command() {
    let setup = nowhere();
    let mut text = run(&setup, &["--help"]).await;
    for command in [
        &["run"][..],
        &["check"],
        &["config"],
        &["dlq"],
        &["dlq", "list"],
        &["dlq", "replay"],
        &["health"],
        &["status"],
        &["pause"],
        &["resume"],
        &["streams"],
        &["streams", "move"],
        &["stop"],
        &["log-level"],
        &["token"],
        &["token", "show"],
        &["token", "set"],
        &["token", "from-timestamp"],
        &["token", "reset"],
        &["token", "export"],
        &["token", "import"],
        &["tail"],
        &["topics"],
        &["completions"],
    ] {
        text += &run(&setup, &[command, &["--help"]].concat()).await;
    }
    assert_printed("help", &text);
}

#[tokio::test]
async fn the_configuration_in_force_and_a_wrong_one() {
    let setup = nowhere();
    let text = run(&setup, &["config"]).await;
    assert_printed("config", &text);
    let setup = setup
        .env("BATCH_SIZE", "many")
        .env("KAFKA_BROKERS", "localhost")
        .env("KAFKA_TOPIC_INSRT", "x")
        .env("KAFKA_SASL_PASSWORD", "hunter2");
    let mut text = run(&setup, &["config"]).await;
    text += &run(&setup, &["run"]).await;
    text += &run(&setup, &["tokn"]).await;
    text += &run(&setup, &["--dry-run"]).await;
    assert_printed("wrong", &text);
}

#[tokio::test]
async fn the_questions_where_no_instance_runs() {
    let setup = nowhere();
    let mut text = String::new();
    for command in ["health", "status", "pause", "stop"] {
        text += &run(&setup, &[command]).await;
    }
    text += &run(&setup.env("HTTP_ADDR", "off"), &["status"]).await;
    assert_printed("nobody", &text);
}

#[tokio::test]
async fn what_check_and_topics_say_before_and_after_the_first_start() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("KAFKA_DLQ_TOPIC", db.topic("dead.{collection}"))
        .env("RESUME_TOPIC", db.topic("checkpoints"))
        .env("ON_RECORD_ERROR", "dlq")
        .env("KAFKA_TOPIC_PARTITIONS", 3)
        .env("KAFKA_TOPIC_CONFIG", "max.message.bytes=2000000");
    let mut text = run(&setup, &["check"]).await;
    text += &run(&setup, &["topics"]).await;
    // A warning would come on the other output, at its own pace.
    let refused = setup
        .clone()
        .without("KAFKA_TOPIC_PARTITIONS")
        .without("KAFKA_TOPIC_CONFIG")
        .env("KAFKA_CREATE_TOPICS", "false");
    text += &run(&refused, &["topics"]).await;
    text += &run(&refused, &["topics", "--output", "json"]).await;
    setup.start().await.stop().await;
    db.documents("c").insert_one(doc! {"_id": 1}).await.unwrap();
    text += &run(&setup, &["check"]).await;
    text += &run(&setup, &["topics"]).await;
    let text = steady(
        &text,
        &[(kafka.brokers(), "<brokers>"), (db.name(), "<database>")],
    );
    // How far the oplog reaches, and of what name and version the server is, differs.
    let mut is_oplog = false;
    let lines = text.lines().filter(|line| {
        is_oplog = line.contains("mongodb.oplog") || (is_oplog && line.starts_with("   "));
        !is_oplog && !line.contains("mongodb.reachable") && !line.contains("mongodb.version")
    });
    assert_printed("check", &lines.collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn what_a_running_instance_says_of_itself() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka)
        .env("STREAM_ID", db.topic("stream"))
        .env("EXCLUDE_COLLECTIONS", "sessions")
        .env("KAFKA_DB_CHANGES_TOPIC", &topic);
    let mut text = run(&setup, &["token", "show"]).await;
    text += &run(&setup, &["token", "export"]).await;
    let tailwater = setup.start().await;
    db.documents("c").insert_one(doc! {"_id": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    let asked = setup.env("HTTP_ADDR", tailwater.http_addr().unwrap());
    eventually(PATIENCE, "all is acknowledged", async || {
        let status = tailwater.get("/status").await.json();
        (status["events"] == 1 && status["bufferSize"] == 0).then_some(())
    })
    .await;
    text += &run(&asked, &["health"]).await;
    text += &run(&asked, &["pause"]).await;
    // Paused, nothing in it moves while it is asked.
    text += &run(&asked, &["status"]).await;
    text += &run(&asked, &["health"]).await;
    text += &run(&asked, &["token", "show"]).await;
    text += &run(&asked, &["token", "show", "--output", "json"]).await;
    text += &run(&asked, &["token", "reset", "--force"]).await;
    text += &run(&asked, &["resume"]).await;
    text += &run(&asked, &["log-level", "info"]).await;
    text += &run(&asked, &["stop"]).await;
    let text = steady(&text, &[(db.name(), "<database>")]);
    let lines = text.lines().map(|line| {
        // How fast, how late and how old.
        let head = match line {
            line if line.starts_with("events      1, ") => Some("events      1, <rate>"),
            line if line.starts_with("behind      0.") => {
                Some("behind      <lag> s, 0 records in flight")
            }
            _ => None,
        };
        let age = line
            .strip_suffix(" s old")
            .and_then(|line| line.rsplit_once(' '));
        match (head, age) {
            (Some(head), _) => head.to_owned(),
            (None, Some((line, _))) => format!("{line} <age> s old"),
            (None, None) => line.to_owned(),
        }
    });
    assert_printed("running", &lines.collect::<Vec<_>>().join("\n"));
}
