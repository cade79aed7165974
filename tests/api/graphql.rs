//! `/graphql`.

use super::{TOKEN, call, listening, problem, raw, topic};
use crate::support::{self, Tailwater};
use bson::{Bson, doc};
use serde_json::{Value, json};

async fn ask(tailwater: &Tailwater, query: &str, variables: Value) -> Value {
    let body = json!({"query": query, "variables": variables}).to_string();
    let reply = call(tailwater, "POST", "/graphql", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

#[tokio::test]
async fn a_listener_is_created_changed_and_deleted() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let jobs = topic(&db, "a");
    let tailwater = listening(&db, kafka).start().await;
    let created = ask(
        &tailwater,
        r#"mutation($filter: JSON, $topic: String) {
            createListener(collection: "batches", filter: $filter, operationType: [INSERT, UPDATE], jobName: "a",
                isActive: true, topic: $topic, metadata: {owner: "me"}) {id collection jobName isActive etag}
        }"#,
        json!({"filter": {"status": "received", "at": {"$gt": {"$date": "2026-01-01T00:00:00Z"}}}, "topic": jobs}),
    )
    .await;
    let listener = &created["data"]["createListener"];
    assert_eq!(listener["isActive"], true, "{created}");
    let id = listener["id"].as_str().unwrap();
    let stored = db.contents("listeners").await;
    assert_eq!(
        stored[0].get("operationType").unwrap().to_string(),
        r#"["insert", "update"]"#
    );
    let at = stored[0]
        .get_document("filter")
        .unwrap()
        .get_document("at")
        .unwrap()
        .get("$gt");
    assert!(matches!(at, Some(Bson::DateTime(_))), "{stored:?}");

    let change = r#"mutation($id: String!, $etag: String) {
        updateListener(id: $id, filter: "{\"status\": {\"$in\": [\"done\"]}}", topic: null, metadata: null, etag: $etag) {
            filter topic operationType metadata
        }
    }"#;
    let changed = ask(
        &tailwater,
        change,
        json!({"id": id, "etag": listener["etag"]}),
    )
    .await;
    let wanted = json!({
        "filter": {"status": {"$in": ["done"]}}, "topic": null, "operationType": ["INSERT", "UPDATE"], "metadata": null,
    });
    assert_eq!(changed["data"]["updateListener"], wanted, "{changed}");
    // What was read is not there any more.
    let late = r#"mutation($id: String!, $etag: String) {updateListener(id: $id, priority: 1, etag: $etag) {id}}"#;
    let late = ask(
        &tailwater,
        late,
        json!({"id": id, "etag": listener["etag"]}),
    )
    .await;
    assert_eq!(
        late["errors"][0]["extensions"]["code"], "changed_meanwhile",
        "{late}"
    );

    let listed = ask(
        &tailwater,
        "{listeners(collection: \"batches\") {id state reason}}",
        json!({}),
    )
    .await;
    assert_eq!(
        listed["data"]["listeners"][0]["state"], "active",
        "{listed}"
    );
    let none = ask(&tailwater, "{listeners(isActive: false) {id}}", json!({})).await;
    assert_eq!(none["data"]["listeners"], json!([]), "{none}");

    let delete = "mutation($id: String!) {deleteListener(id: $id) {success}}";
    let deleted = ask(&tailwater, delete, json!({"id": id})).await;
    assert_eq!(
        deleted["data"]["deleteListener"]["success"], true,
        "{deleted}"
    );
    let again = ask(&tailwater, delete, json!({"id": id})).await;
    assert_eq!(
        again["errors"][0]["extensions"]["code"], "not_found",
        "{again}"
    );
    let wrong = ask(
        &tailwater,
        r#"mutation {createListener(collection: "a", jobName: "a", topic: "x y") {id}}"#,
        json!({}),
    )
    .await;
    assert_eq!(
        wrong["errors"][0]["extensions"]["code"], "invalid_listener",
        "{wrong}"
    );
    let message = wrong["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("topic: Kafka allows no ' '"), "{message}");
    assert!(db.contents("listeners").await.is_empty());
    tailwater.stop().await;
}

#[tokio::test]
async fn depth_and_complexity_are_limited_and_the_schema_is_for_those_with_the_token() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = listening(&db, kafka).start().await;
    db.documents("listeners")
        .insert_one(doc! {"_id": "a", "collection": "c", "jobName": "a"})
        .await
        .unwrap();
    let refused = async |query: &str, why: &str| {
        let said = ask(&tailwater, query, json!({})).await;
        assert!(said["data"].is_null(), "{said}");
        let message = said["errors"][0]["message"].as_str().unwrap();
        assert!(message.to_lowercase().contains(why), "{message}");
    };
    let deep = format!(
        "{{__schema {{types {{{} }} }} }}",
        "fields {type {".repeat(10) + "name" + &"}}".repeat(10)
    );
    refused(&deep, "too deep").await;
    let many: String = (0..50)
        .map(|n| format!("a{n}: listeners(limit: 1000) {{id}} "))
        .collect();
    refused(&format!("{{ {many} }}"), "complex").await;
    let many: String = (0..50)
        .map(|n| format!("a{n}: deleteListener(id: \"a\") {{success}} "))
        .collect();
    refused(&format!("mutation {{ {many} }}"), "complex").await;
    refused("{listeners(limit: 5000) {id}}", "1000").await;
    refused("{listeners {nowhere}}", "nowhere").await;
    assert_eq!(db.contents("listeners").await.len(), 1);
    let schema = ask(&tailwater, "{__schema {queryType {name}}}", json!({})).await;
    assert_eq!(
        schema["data"]["__schema"]["queryType"]["name"], "Query",
        "{schema}"
    );
    for body in ["", "{", "[]", "{\"query\": 7}"] {
        problem(
            &call(&tailwater, "POST", "/graphql", body).await,
            400,
            "malformed",
        );
    }
    let page = call(&tailwater, "GET", "/graphql", "").await;
    problem(&page, 405, "method_not_allowed");
    let without = raw(&tailwater, "POST", "/graphql", "", "{}").await;
    problem(&without, 401, "refused");
    assert!(!tailwater.log().contains(TOKEN));
    tailwater.stop().await;

    // A terminal on this machine needs no token, and is not told the schema.
    let open = listening(&db, kafka).without("ADMIN_TOKEN").start().await;
    let query = |query: &str| json!({"query": query}).to_string();
    let listed = raw(&open, "POST", "/graphql", "", &query("{listeners {id}}")).await;
    assert_eq!(
        listed.json()["data"]["listeners"][0]["id"],
        "a",
        "{}",
        listed.body
    );
    let schema = raw(
        &open,
        "POST",
        "/graphql",
        "",
        &query("{__schema {queryType {name}}}"),
    )
    .await;
    assert!(
        schema.json()["data"]["__schema"].is_null(),
        "{}",
        schema.body
    );
    open.stop().await;
}
