//! What is asked about schedules and done with them, over HTTP and on the command line.

use super::{committed, put, schedule, scheduling, status, topic};
use crate::support::{self, PATIENCE, Reply, eventually, http};
use bson::doc;
use serde_json::json;
use std::net::SocketAddr;

#[tokio::test]
async fn schedules_are_listed_made_changed_run_and_deleted_over_http_and_by_commands() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    put(
        &db,
        schedule(
            &db,
            "yearly",
            doc! {"cron": "0 9 1 1 *", "timezone": "Europe/Berlin", "payload": 5},
        ),
    )
    .await;
    put(&db, schedule(&db, "wrong", doc! {"cron": "x"})).await;
    let setup = scheduling(&db, kafka);
    let mut process = setup.start().await;
    let told = status(&db, "yearly", "active").await;
    let addr = process.http_addr().unwrap();
    let list = process.get("/api/schedules?times=3").await.json();
    assert_eq!(list["state"], "running", "{list}");
    let row = &list["schedules"][1];
    assert_eq!(
        (&row["name"], &row["state"]),
        (&json!("yearly"), &json!("active")),
        "{list}"
    );
    let times = row["times"].as_array().unwrap();
    assert_eq!(times.len(), 3);
    assert!(
        times
            .iter()
            .all(|time| time.as_str().unwrap().ends_with("-01-01T08:00:00.000Z")),
        "{row}"
    );
    let next = told.get_datetime("nextAt").unwrap().timestamp_millis();
    assert_eq!(
        times[0]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_millisecond(),
        next
    );
    assert!(
        list["schedules"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("cron"),
        "{list}"
    );

    // Now, by a command: when it is due stays as it is.
    let at = |args: &[&str]| setup.clone().env("HTTP_ADDR", addr).args(args);
    let ran = at(&["schedules", "run", "yearly"]).run().await;
    assert_eq!(ran.code, Some(0), "{}", ran.output);
    let records = committed(kafka, &topic(&db, "yearly"), 1).await;
    assert!(
        ran.output.contains(records[0].header("tw-id")),
        "{}",
        ran.output
    );
    assert_eq!(records[0].value["fullDocument"], 5);
    let listed = at(&["schedules", "list"]).run().await;
    for part in [
        "yearly: active, cron 0 9 1 1 * Europe/Berlin",
        "wrong: invalid",
        "such as 0 9 * * 1-5",
    ] {
        assert!(listed.output.contains(part), "{part}: {}", listed.output);
    }
    let next = at(&["schedules", "next", "yearly", "--count", "2"])
        .run()
        .await;
    assert_eq!(next.output.lines().count(), 2, "{}", next.output);
    for (name, told) in [
        ("nobody", "there is no schedule of the name nobody"),
        ("wrong", "the schedule wrong is invalid: cron: "),
    ] {
        let refused = at(&["schedules", "run", name]).run().await;
        assert!(
            refused.code == Some(1) && refused.output.contains(told),
            "{}",
            refused.output
        );
    }

    let sent = json!({"name": "new", "every": "1s", "jobName": "new", "topic": topic(&db, "new")});
    let made = send(addr, "POST", "/api/schedules", &[], &sent.to_string())
        .await
        .unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    committed(kafka, &topic(&db, "new"), 2).await;
    let twice = send(addr, "POST", "/api/schedules", &[], &sent.to_string())
        .await
        .unwrap();
    assert_eq!(twice.status, 409, "{}", twice.body);
    let wrong = json!({"name": "x", "every": "1x"}).to_string();
    let wrong = send(addr, "POST", "/api/schedules", &[], &wrong)
        .await
        .unwrap();
    assert_eq!(
        (wrong.status, &wrong.json()["code"]),
        (422, &json!("invalid_schedule")),
        "{}",
        wrong.body
    );
    assert_eq!(
        wrong.json()["errors"].as_array().unwrap().len(),
        2,
        "{}",
        wrong.body
    );

    let read = process.get("/api/schedules/new").await;
    let tag = header(&read, "etag");
    let off = json!({"name": "new", "every": "1s", "jobName": "new", "topic": topic(&db, "new"), "isActive": false});
    let stale = send(
        addr,
        "PUT",
        "/api/schedules/new",
        &[("If-Match", "\"x\"")],
        &off.to_string(),
    )
    .await
    .unwrap();
    assert_eq!(stale.status, 412, "{}", stale.body);
    let put = send(
        addr,
        "PUT",
        "/api/schedules/new",
        &[("If-Match", &tag)],
        &off.to_string(),
    )
    .await
    .unwrap();
    assert_eq!(put.status, 200, "{}", put.body);
    status(&db, "new", "disabled").await;
    patched(addr, &put).await;
    let graphql = async |query: &str| {
        let body = json!({"query": query}).to_string();
        send(addr, "POST", "/graphql", &[], &body)
            .await
            .unwrap()
            .json()
    };
    let asked =
        graphql("{ schedules(name: \"new\", times: 2) { name state times document } }").await;
    assert_eq!(
        asked["data"]["schedules"][0]["state"], "disabled",
        "{asked}"
    );
    let made = graphql(
        "mutation { createSchedule(document: {name: \"g\", every: \"1h\", jobName: \"x\"}) }",
    )
    .await;
    assert!(
        made["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("LISTENERS_TOPICS"),
        "{made}"
    );
    let ran = graphql("mutation { runSchedule(name: \"yearly\") }").await;
    assert!(
        ran["data"]["runSchedule"]
            .as_str()
            .unwrap()
            .contains("/schedules/yearly@"),
        "{ran}"
    );
    let gone = send(addr, "DELETE", "/api/schedules/new", &[], "")
        .await
        .unwrap();
    assert_eq!(gone.status, 204);
    assert_eq!(process.get("/api/schedules/new").await.status, 404);
    eventually(PATIENCE, "it is no more", async || {
        let list = process.get("/api/schedules").await.json();
        (list["schedules"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    process.signal(rustix::process::Signal::TERM);
    process.wait_exit(PATIENCE).await;
}

/// Some fields of a schedule are changed, and the others stay.
async fn patched(addr: SocketAddr, before: &Reply) {
    let path = "/api/schedules/new";
    let patch = async |tag: &str, body: &str| {
        send(addr, "PATCH", path, &[("If-Match", tag)], body)
            .await
            .unwrap()
    };
    let tag = header(before, "etag");
    let with = patch(&tag, r#"{"payload": {"a": 1, "b": 2}, "status": "mine"}"#).await;
    assert_eq!(with.status, 200, "{}", with.body);
    let stale = patch(&tag, r#"{"every": "2h"}"#).await;
    assert_eq!(stale.status, 412, "{}", stale.body);
    let tag = header(&with, "etag");
    let merged = patch(&tag, r#"{"every": "1h", "payload": {"b": null, "c": 3}}"#).await;
    let (merged, before) = (merged.json(), before.json());
    assert_eq!(merged["payload"], json!({"a": 1, "c": 3}));
    assert_eq!(merged["every"], "1h");
    for kept in ["name", "jobName", "topic", "isActive", "createdAt"] {
        assert_eq!(merged[kept], before[kept], "{kept}");
    }
    assert_ne!(merged["status"], "mine");
    let wrong = patch("*", r#"{"every": null}"#).await;
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    assert!(
        wrong.body.contains("says not when it is due"),
        "{}",
        wrong.body
    );
}

async fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Reply> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    http::send(addr, &request).await
}

fn header(reply: &Reply, name: &str) -> String {
    let found = reply
        .headers
        .iter()
        .find(|(it, _)| it.eq_ignore_ascii_case(name));
    found.unwrap().1.clone()
}
