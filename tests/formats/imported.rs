//! The `.env` that `tailwater import` makes: decided by hand, then used by other commands as it is.

use crate::support::Setup;

const CONNECTOR: &str = r#"{"name": "inventory", "config": {
    "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
    "mongodb.connection.string": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200",
    "topic.prefix": "inventory", "database.include.list": "shop"
}}"#;

#[tokio::test]
async fn decisions_are_made_once_and_every_command_takes_the_file() {
    let setup = Setup::empty().env("KAFKA_BROKERS", "127.0.0.1:1");
    let file = |name| setup.folder().join(name);
    std::fs::write(file("connector.json"), CONNECTOR).unwrap();
    let import = ["import", "debezium", "--config", "connector.json"];
    let configuration = [&import[..], &["--configuration-only"]].concat();
    let exit = setup.clone().args(&configuration).run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains("needs a decision:"), "{}", exit.output);
    let open = "open decisions in .env: key.converter, value.converter";
    assert!(exit.output.contains(open), "{}", exit.output);

    // What is open stands in the way of a checkpoint, and is named again.
    let token = [&import[..], &["--token", "82"]].concat();
    let exit = setup.clone().args(&token).run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    let open = "open decisions (key.converter, value.converter)";
    assert!(exit.output.contains(open), "{}", exit.output);

    let made = std::fs::read_to_string(file(".env")).unwrap();
    let decided = made.lines().filter(|line| !line.starts_with("# decide"));
    let decided = decided.collect::<Vec<_>>().join("\n") + "\nDEBEZIUM_SCHEMAS=false\n";
    std::fs::write(file(".env"), decided).unwrap();
    let exit = setup.clone().args(&configuration).run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains("is used as it is"), "{}", exit.output);
    for told in ["decision", "taken:"] {
        assert!(!exit.output.contains(told), "{told}: {}", exit.output);
    }

    // Topics are compared whatever format the stream writes: only Kafka is missing here.
    let compare = [
        "compare",
        "--a",
        "one",
        "--b",
        "two",
        "--format-a",
        "debezium",
    ];
    let exit = setup.clone().args(&compare).run().await;
    assert_eq!(exit.code, Some(12), "{}", exit.output);
}
