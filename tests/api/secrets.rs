//! Secrets of handlers: they can be written, and are never shown.

use super::{call, call_with, header, listening, problem};
use crate::support;
use serde_json::json;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test]
async fn what_is_secret_of_a_handler_is_written_kept_and_never_shown() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = listening(&db, kafka);
    let tailwater = setup.start().await;
    let listener = json!({
        "collection": "users", "jobName": "mail", "operationType": "insert",
        "handler": {
            "url": "https://example.com/hooks?token=hunter2", "secret": SECRET,
            "headers": {"authorization": "Bearer hunter2"}, "retries": 2,
        },
    });
    let created = call(&tailwater, "POST", "/api/listeners", &listener.to_string()).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let path = header(&created, "location").to_owned();
    let shown = call(&tailwater, "GET", &path, "").await;
    let listed = call(&tailwater, "GET", "/api/listeners", "").await;
    assert_eq!(
        shown.json()["handler"]["url"],
        "https://example.com/hooks?***"
    );
    assert_eq!(shown.json()["handler"]["headers"]["authorization"], "***");

    // What was not shown is sent back as it was shown, and stays.
    let mut wanted = shown.json();
    wanted["handler"]["retries"] = 5.into();
    let put = call_with(
        &tailwater,
        "PUT",
        &path,
        "if-match: *\r\n",
        &wanted.to_string(),
    )
    .await;
    assert_eq!(put.status, 200, "{}", put.body);
    let stored = db.contents("listeners").await;
    let handler = stored[0].get_document("handler").unwrap();
    assert_eq!(handler.get_str("secret").unwrap(), SECRET);
    assert_eq!(
        handler.get_str("url").unwrap(),
        "https://example.com/hooks?token=hunter2"
    );
    let headers = handler.get_document("headers").unwrap();
    assert_eq!(headers.get_str("authorization").unwrap(), "Bearer hunter2");
    assert_ne!(handler.get("retries"), Some(&bson::Bson::Int32(2)));

    let mut said = vec![created.body, shown.body, listed.body, put.body];
    for (fields, expected) in [
        (json!({"exec": ["rm"]}), "WORKER_HANDLERS"),
        (
            json!({"url": "https://example.com", "secret": "***"}),
            "nothing that this could stand for",
        ),
        (
            json!({"url": "https://example.com", "secret": "hunter2"}),
            "whsec_",
        ),
        (
            json!({"url": "https://example.com", "retrys": 1}),
            "retrys is not a field",
        ),
    ] {
        let wrong = json!({"collection": "users", "jobName": "x", "handler": fields});
        let refused = call(&tailwater, "POST", "/api/listeners", &wrong.to_string()).await;
        let detail = problem(&refused, 422, "invalid_listener");
        assert!(detail.contains(expected), "{detail}");
        said.push(refused.body);
    }
    let file = setup.folder().join("listeners.json");
    for args in [
        &["export", "--json"][..],
        &["export"],
        &["list", "--output", "json"],
    ] {
        let args = [&["listeners"][..], args].concat();
        let exit = setup.clone().args(&args).run().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        if args[1..] == ["export", "--json"] {
            std::fs::write(&file, &exit.output[exit.output.find('{').unwrap()..]).unwrap();
        }
        said.push(exit.output);
    }
    // An export is applied again without a change.
    let path = file.display().to_string();
    let plan = async || {
        let asked = setup.clone().args(&["listeners", "plan", "--file", &path]);
        asked.run().await
    };
    let planned = plan().await;
    assert!(planned.output.contains("0 to change"), "{}", planned.output);
    let mut fresh = listener.clone();
    fresh["jobName"] = "fresh".into();
    fresh["handler"]["secret"] = "***".into();
    std::fs::write(&file, json!([fresh]).to_string()).unwrap();
    let planned = plan().await;
    assert!(
        planned.output.contains("nothing that this could stand for"),
        "{}",
        planned.output
    );
    let mut other = listener;
    other["handler"]["secret"] = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into();
    std::fs::write(&file, json!([other]).to_string()).unwrap();
    let planned = plan().await;
    assert!(planned.output.contains("1 to change"), "{}", planned.output);
    said.extend([planned.output, tailwater.stop().await.output]);
    for text in &said {
        let is_secret = text.contains("hunter2\"")
            || text.contains("token=hunter2")
            || text.contains("Bearer hunter2")
            || text.contains(&SECRET[..12])
            || text.contains("whsec_C2");
        assert!(!is_secret, "{text}");
    }
}

#[tokio::test]
async fn in_graphql_a_handler_is_written_and_its_secrets_are_not_shown() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = listening(&db, kafka).start().await;
    let ask = async |query: &str, variables: serde_json::Value| {
        let body = json!({"query": query, "variables": variables}).to_string();
        let reply = call(&tailwater, "POST", "/graphql", &body).await;
        assert!(!reply.body.contains("hunter2"), "{}", reply.body);
        assert!(!reply.body.contains(&SECRET[..12]), "{}", reply.body);
        reply.json()
    };
    let create = r#"mutation ($handler: JSON) {
        createListener(collection: "users", jobName: "graphqlMail", handler: $handler) { id handler etag }
    }"#;
    let handler =
        json!({"url": "https://example.com/a?token=hunter2", "secret": SECRET, "retries": 2});
    let created = ask(create, json!({"handler": handler})).await;
    let created = &created["data"]["createListener"];
    let shown = json!({"url": "https://example.com/a?***", "secret": "***", "retries": 2});
    assert_eq!(created["handler"], shown);

    // Sent back as it was shown, it stays as it is, but for what is changed.
    let update = r#"mutation ($id: String!, $handler: JSON) { updateListener(id: $id, handler: $handler) { handler } }"#;
    let mut wanted = shown;
    wanted["retries"] = 7.into();
    let id = &created["id"];
    let changed = ask(update, json!({"id": id, "handler": wanted})).await;
    assert_eq!(changed["data"]["updateListener"]["handler"], wanted);
    let stored = db.contents("listeners").await;
    let kept = stored[0].get_document("handler").unwrap();
    assert_eq!(kept.get_str("secret").unwrap(), SECRET);
    let url = kept.get_str("url").unwrap();
    assert_eq!(url, "https://example.com/a?token=hunter2");

    let exec = json!({"id": id, "handler": {"exec": ["true"]}});
    let refused = ask(update, exec).await;
    let error = &refused["errors"][0];
    assert_eq!(error["extensions"]["code"], "invalid_listener");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("WORKER_HANDLERS"),
        "{error}"
    );
    let gone = ask(update, json!({"id": id, "handler": null})).await;
    assert_eq!(
        gone["data"]["updateListener"]["handler"],
        serde_json::Value::Null
    );
    tailwater.stop().await;
}
