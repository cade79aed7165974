//! The support itself: servers that may be broken and come back, and a network that may be cut.

use crate::support::{self, Direction, Kafka, Mongo, PATIENCE, Proxy, eventually};
use bson::{Document, bson, doc};
use mongodb::Client;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn tests_of_one_run_share_servers_but_neither_databases_nor_topics() {
    let (one, other) = (support::database().await, support::database().await);
    assert_ne!(one.name(), other.name());
    assert_ne!(one.topic("changes"), other.topic("changes"));
    one.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    assert_eq!(one.contents("users").await, [doc! {"_id": 1}]);
    assert!(other.contents("users").await.is_empty());
}

#[tokio::test]
async fn a_topic_is_read_to_its_end_whether_it_exists_or_not() {
    let kafka = support::kafka().await;
    let (topic, missing) = (support::unique("topic"), support::unique("missing"));
    kafka
        .create_topic(&topic, 3, &[("cleanup.policy", "compact")])
        .await;
    assert!(kafka.records(&[&topic, &missing]).await.is_empty());

    for n in 0..10 {
        kafka
            .produce(&topic, &n.to_string(), &format!("{{\"n\":{n}}}"))
            .await;
    }
    let records = kafka.wait_for_records(&[&missing, &topic], 10).await;
    let mut seen: Vec<_> = records
        .iter()
        .map(|record| record.value["n"].as_i64())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..10).map(Some).collect::<Vec<_>>());
    assert_eq!(kafka.committed_records(&[&topic, &missing]).await.len(), 10);
    assert_eq!(kafka.partitions(&topic).await, Some(3));
    assert_eq!(
        kafka.partitions(&missing).await,
        None,
        "asking must not create it"
    );
}

#[tokio::test]
async fn a_mongodb_that_was_killed_comes_back_with_its_data() {
    let mut mongo = Mongo::dedicated(&[]).await;
    let db = mongo.database().await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    mongo.kill9();
    mongo.restart().await;
    assert_eq!(db.contents("users").await, [doc! {"_id": 1}]);
}

#[tokio::test]
async fn a_mongodb_with_users_tells_them_apart() {
    let mongo = Mongo::with_auth().await;
    mongo
        .add_user("reader", "pw", bson!([{"role": "read", "db": "one"}]))
        .await;
    mongo
        .database_named("one")
        .await
        .documents("users")
        .insert_one(doc! {})
        .await
        .unwrap();

    let reader = Client::with_uri_str(mongo.uri_as("reader", "pw", "one"))
        .await
        .unwrap();
    let users = |database| reader.database(database).collection::<Document>("users");
    assert_eq!(users("one").count_documents(doc! {}).await.unwrap(), 1);
    assert!(users("other").count_documents(doc! {}).await.is_err());
    assert!(users("one").insert_one(doc! {}).await.is_err());
}

#[tokio::test]
async fn a_kafka_that_was_killed_comes_back_with_its_records_and_is_reached_past_the_cut_proxy() {
    let (mut kafka, proxy) = Kafka::behind_proxy(&["num.partitions=2"]).await;
    kafka.create_topic("kept", 1, &[]).await;
    kafka.produce("kept", "key", "{}").await;
    proxy.cut();
    kafka.kill9();
    kafka.restart().await;
    assert_eq!(kafka.records(&["kept"]).await.len(), 1);
    assert!(TcpStream::connect(proxy.addr()).await.is_err());
    proxy.heal();
    eventually(PATIENCE, "the healed proxy accepts", async || {
        TcpStream::connect(proxy.addr()).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_proxy_passes_stalls_and_cuts() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(server.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();

    assert_eq!(
        carried(&mut client, &mut accepted, b"hello").await,
        b"hello"
    );

    proxy.stall(Direction::ToServer);
    client.write_all(b"later").await.unwrap();
    assert_eq!(
        carried(&mut accepted, &mut client, b"back").await,
        b"back",
        "the other way is open"
    );
    let mut byte = [0];
    let stalled = tokio::time::timeout(Duration::from_millis(100), accepted.read(&mut byte)).await;
    assert!(stalled.is_err(), "nothing gets through");
    proxy.heal();
    let mut late = [0; 5];
    accepted.read_exact(&mut late).await.unwrap();
    assert_eq!(&late, b"later", "nothing is lost");

    proxy.cut();
    assert_eq!(
        client.read(&mut byte).await.unwrap_or(0),
        0,
        "the connection is closed"
    );
}

#[tokio::test]
async fn a_half_open_proxy_swallows_and_starts_afresh_when_healed() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(server.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    assert_eq!(carried(&mut client, &mut accepted, b"1").await, b"1");

    proxy.half_open(Direction::Both);
    client.write_all(b"lost").await.unwrap();
    proxy.heal();
    let mut rest = Vec::new();
    let _ = accepted.read_to_end(&mut rest).await;
    assert!(rest.is_empty() || rest == b"lost", "no garbage: {rest:?}");

    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    assert_eq!(carried(&mut client, &mut accepted, b"2").await, b"2");
}

async fn carried(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    from.write_all(bytes).await.unwrap();
    let mut arrived = vec![0; bytes.len()];
    to.read_exact(&mut arrived).await.unwrap();
    arrived
}
