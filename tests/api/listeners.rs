//! `/api/listeners`.

use super::{TOKEN, call, call_with, header, listening, problem, topic};
use crate::support::{self, PATIENCE, eventually};
use bson::{Bson, doc};
use serde_json::json;

#[tokio::test]
async fn a_listener_that_is_created_changed_and_deleted_takes_effect() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let jobs = topic(&db, "a");
    let tailwater = listening(&db, kafka).start().await;
    let listener = json!({
        "collection": "batches", "jobName": "a", "topic": jobs, "operationType": ["insert"],
        "filter": {"status": "received", "at": {"$gt": {"$date": "2026-01-01T00:00:00Z"}}},
    });
    let created = call(&tailwater, "POST", "/api/listeners", &listener.to_string()).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let path = header(&created, "location").to_owned();
    let stored = db.contents("listeners").await;
    let filter = stored[0].get_document("filter").unwrap();
    let at = filter.get_document("at").unwrap().get("$gt");
    assert!(matches!(at, Some(Bson::DateTime(_))), "{stored:?}");
    assert_eq!(
        created.json()["filter"],
        listener["filter"],
        "{}",
        created.body
    );

    let now = bson::DateTime::now();
    let insert = async |id: i32, status: &str| {
        let document = doc! {"_id": id, "status": status, "at": now};
        db.documents("batches").insert_one(document).await.unwrap();
    };
    // In force once its status is told.
    let active = async || {
        let reply = call(&tailwater, "GET", &path, "").await;
        let streams = reply.json()["status"]["streams"].clone();
        let state = |of: &serde_json::Value| of["state"].as_str().map(str::to_owned);
        streams.as_object()?.values().find_map(state)
    };
    eventually(PATIENCE, "it is active", async || {
        active().await.filter(|state| state == "active")
    })
    .await;
    insert(1, "received").await;
    insert(2, "done").await;
    let records = kafka.wait_for_records(&[&jobs], 1).await;
    assert_eq!(records[0].value["documentKey"]["_id"], 1);

    let patched = call(
        &tailwater,
        "PATCH",
        &path,
        r#"{"filter": {"status": "done"}}"#,
    )
    .await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    assert_eq!(patched.json()["filter"]["status"], "done");
    assert_eq!(
        patched.json()["filter"]["at"],
        listener["filter"]["at"],
        "merged"
    );
    insert(3, "received").await;
    insert(4, "done").await;
    let records = kafka.wait_for_records(&[&jobs], 2).await;
    assert_eq!(records[1].value["documentKey"]["_id"], 4);

    let gone = call(&tailwater, "DELETE", &path, "").await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    problem(&call(&tailwater, "GET", &path, "").await, 404, "not_found");
    problem(
        &call(&tailwater, "DELETE", &path, "").await,
        404,
        "not_found",
    );
    insert(5, "done").await;
    let history = format!(
        "/api/listener-changes?listener={}",
        &path["/api/listeners/".len()..]
    );
    let changes = eventually(PATIENCE, "its end is told", async || {
        let told = call(&tailwater, "GET", &history, "").await.json();
        let changes = told["changes"].as_array()?.clone();
        (changes.len() == 3).then_some(changes)
    })
    .await;
    let kinds: Vec<_> = changes.iter().map(|one| one["change"].as_str()).collect();
    assert_eq!(kinds, [Some("deleted"), Some("changed"), Some("created")]);
    let fields = &changes[1]["fields"];
    assert_eq!(fields.as_array().unwrap().len(), 1, "{fields}");
    assert_eq!(fields[0]["field"], "filter", "{fields}");
    assert_eq!(fields[0]["before"], listener["filter"], "{fields}");
    assert_eq!(fields[0]["after"]["status"], "done", "{fields}");
    let other = call(
        &tailwater,
        "GET",
        "/api/listener-changes?listener=other",
        "",
    )
    .await;
    assert_eq!(other.json()["changes"], json!([]), "{}", other.body);
    tailwater.stop().await;
    assert_eq!(kafka.wait_for_records(&[&jobs], 2).await.len(), 2);
}

#[tokio::test]
async fn of_two_writers_the_second_is_told_and_overwrites_nothing() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = listening(&db, kafka).start().await;
    let listeners = db.documents("listeners");
    let listener = doc! {"_id": "a", "collection": "c", "jobName": "a"};
    listeners.insert_one(listener).await.unwrap();
    let path = "/api/listeners/a";
    let read = call(&tailwater, "GET", path, "").await;
    let tag = header(&read, "etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");

    // What Tailwater writes is nobody's change.
    eventually(PATIENCE, "it has a status", async || {
        let reply = call(&tailwater, "GET", path, "").await;
        assert_eq!(header(&reply, "etag"), tag);
        reply.json().get("status").cloned()
    })
    .await;
    let known = format!("if-none-match: {tag}\r\n");
    let again = call_with(&tailwater, "GET", path, &known, "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));

    let whole = |priority: i32| {
        json!({"collection": "c", "jobName": "a", "priority": priority}).to_string()
    };
    problem(
        &call(&tailwater, "PUT", path, &whole(1)).await,
        428,
        "if_match_required",
    );
    let seen = format!("if-match: {tag}\r\n");
    let first = call_with(&tailwater, "PUT", path, &seen, &whole(1)).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_ne!(header(&first, "etag"), tag);
    for (method, body) in [
        ("PUT", whole(2)),
        ("PATCH", r#"{"priority": 2}"#.to_owned()),
        ("DELETE", String::new()),
    ] {
        let second = call_with(&tailwater, method, path, &seen, &body).await;
        problem(&second, 412, "changed_meanwhile");
    }
    // At once, too: exactly one of them has changed what all have read.
    let tag = header(&first, "etag").to_owned();
    let seen = format!("if-match: {tag}\r\n");
    let all = (10..18).map(|priority| {
        let (tailwater, seen) = (&tailwater, &seen);
        async move {
            call_with(tailwater, "PUT", path, seen, &whole(priority))
                .await
                .status
        }
    });
    let mut answers = futures_util::future::join_all(all).await;
    answers.sort_unstable();
    assert_eq!(answers, [200, 412, 412, 412, 412, 412, 412, 412]);
    // Without a tag each does what it says, on whatever is there.
    let all = (0..5).map(|number| {
        let (tailwater, body) = (&tailwater, json!({"metadata": {number.to_string(): 1}}));
        async move {
            call(tailwater, "PATCH", path, &body.to_string())
                .await
                .status
        }
    });
    for status in futures_util::future::join_all(all).await {
        assert_eq!(status, 200);
    }
    let merged = call(&tailwater, "GET", path, "").await.json();
    assert_eq!(merged["metadata"].as_object().unwrap().len(), 5, "{merged}");
    tailwater.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_by_field_and_nothing_is_stored() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = listening(&db, kafka).start().await;
    let post = async |body: &str| call(&tailwater, "POST", "/api/listeners", body).await;
    for body in ["", "{", "[]", "7", "null", r#"{"a": {"$date": "x"}}"#] {
        problem(&post(body).await, 400, "malformed");
    }
    let reply = post(
        r#"{"colection": "a", "operationType": "upsert", "filter": {"$where": "1"}, "topic": "x y"}"#,
    )
    .await;
    let said = problem(&reply, 422, "invalid_listener");
    for part in [
        "did you mean collection",
        "jobName: is missing",
        "upsert",
        "$where",
        "allows no",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let fields: Vec<_> = reply.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect();
    assert!(fields.contains(&"jobName".to_owned()), "{fields:?}");
    let other = r#"{"collection": "a", "jobName": "a", "topic": "tailwater.checkpoints"}"#;
    let said = problem(&post(other).await, 422, "invalid_listener");
    assert!(said.contains("LISTENERS_TOPICS allows jobs.*"), "{said}");
    let large = json!({"collection": "a", "jobName": "a", "filter": {"a": "x".repeat(200_000)}});
    problem(&post(&large.to_string()).await, 422, "invalid_listener");
    let huge = json!({"collection": "a", "jobName": "a", "metadata": {"a": "x".repeat(2_000_000)}});
    problem(&post(&huge.to_string()).await, 413, "too_large");
    assert!(db.contents("listeners").await.is_empty());

    let right = r#"{"collection": "a", "jobName": "a", "topic": "jobs.a"}"#;
    assert_eq!(post(right).await.status, 201);
    problem(&post(right).await, 409, "exists");
    let page = call(&tailwater, "GET", "/api/listeners?collection=a", "")
        .await
        .json();
    let id = page["listeners"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(page["total"], 1);
    let path = format!("/api/listeners/{id}");
    for (patch, status) in [
        (r#"{"jobName": null}"#, 422),
        (r#"{"_id": 7}"#, 422),
        (r#"{"filter": {"$expr": {}}}"#, 422),
        ("[1]", 400),
    ] {
        let reply = call(&tailwater, "PATCH", &path, patch).await;
        assert_eq!(reply.status, status, "{patch}: {}", reply.body);
    }
    for query in ["limit=0", "limit=9999", "nowhere=1", "offset=x"] {
        let reply = call(&tailwater, "GET", &format!("/api/listeners?{query}"), "").await;
        problem(&reply, 400, "malformed");
    }
    let wrong = call(&tailwater, "PUT", "/api/listeners", "{}").await;
    problem(&wrong, 405, "method_not_allowed");
    assert!(!tailwater.log().contains(TOKEN));
    tailwater.stop().await;
}

#[tokio::test]
async fn ids_of_every_type_have_a_path() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = listening(&db, kafka).start().await;
    let ids = [
        Bson::ObjectId(bson::oid::ObjectId::new()),
        "a/b c?".into(),
        "test".into(),
        7.into(),
        doc! {"z": 1, "a": 2}.into(),
    ];
    for (number, id) in ids.iter().enumerate() {
        let document = doc! {"_id": id, "collection": "c", "jobName": number.to_string()};
        db.documents("listeners")
            .insert_one(document)
            .await
            .unwrap();
    }
    for (number, path) in [
        "",
        "a%2Fb%20c%3F",
        "%74est",
        "7",
        "%7B%22z%22%3A1%2C%22a%22%3A2%7D",
    ]
    .into_iter()
    .enumerate()
    {
        let path = match &ids[number] {
            Bson::ObjectId(id) => id.to_hex(),
            _ => path.to_owned(),
        };
        let reply = call(&tailwater, "GET", &format!("/api/listeners/{path}"), "").await;
        assert_eq!(
            reply.json()["jobName"],
            number.to_string(),
            "{path}: {}",
            reply.body
        );
    }
    tailwater.stop().await;
}

#[tokio::test]
async fn a_filter_is_tried_on_documents_and_on_the_newest_records() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let changes = db.topic("changes");
    let setup = listening(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &changes)
        .env("JSON_MODE", "relaxed");
    let tailwater = setup.start().await;
    for number in 0..5 {
        let document = doc! {"_id": number, "n": number, "secret": "hunter2"};
        db.documents("batches").insert_one(document).await.unwrap();
    }
    db.documents("other")
        .insert_one(doc! {"_id": 9, "n": 9})
        .await
        .unwrap();
    kafka.wait_for_records(&[&changes], 6).await;
    let listener = json!({"collection": "batches", "jobName": "a", "filter": {"n": {"$gte": 3}}});
    let test = async |tailwater: &support::Tailwater, body: serde_json::Value| {
        call(tailwater, "POST", "/api/listeners/test", &body.to_string()).await
    };
    let given = test(
        &tailwater,
        json!({"listener": listener, "documents": [{"_id": 1, "n": 3}, {"_id": 2, "n": 2}]}),
    )
    .await
    .json();
    assert_eq!(
        (&given["tried"], &given["matched"]),
        (&json!(2), &json!(1)),
        "{given}"
    );
    assert_eq!(given["results"][0]["topic"], "jobs.a");
    assert_eq!(
        given["results"][1]["reasons"],
        json!(["the filter does not match the document"])
    );
    let read = test(&tailwater, json!({"listener": listener})).await;
    assert!(!read.body.contains("hunter2"), "{}", read.body);
    let read = read.json();
    assert_eq!(read["topic"], changes.as_str(), "{read}");
    assert_eq!(
        (&read["tried"], &read["matched"]),
        (&json!(6), &json!(2)),
        "{read}"
    );
    let last = test(&tailwater, json!({"listener": listener, "last": 2}))
        .await
        .json();
    assert_eq!(
        (&last["tried"], &last["matched"]),
        (&json!(2), &json!(1)),
        "{last}"
    );
    for wrong in [
        json!({}),
        json!({"listener": listener, "id": "a"}),
        json!({"listener": listener, "last": 5000}),
        json!({"listener": listener, "nowhere": 1}),
    ] {
        problem(&test(&tailwater, wrong).await, 400, "malformed");
    }
    problem(
        &test(&tailwater, json!({"listener": {}})).await,
        422,
        "invalid_listener",
    );
    problem(
        &test(&tailwater, json!({"id": "nobody"})).await,
        404,
        "not_found",
    );
    let nowhere = test(
        &tailwater,
        json!({"listener": listener, "topic": "no.such.topic"}),
    )
    .await;
    problem(&nowhere, 502, "sink_refused");
    tailwater.stop().await;

    let showing = setup.env("ADMIN_SHOW_DOCUMENTS", "true").start().await;
    let read = test(&showing, json!({"listener": listener})).await;
    assert!(read.body.contains("hunter2"), "{}", read.body);
    showing.stop().await;
}
