//! Who may call.

use super::{TOKEN, call, header, problem, raw};
use crate::support::{Setup, Tailwater};

async fn idle(token: Option<&str>) -> Tailwater {
    let mut setup = Setup::empty()
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/none")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("ENABLE_CHANGE_STREAMS", "false")
        .env("LISTENERS_COLLECTION", "none.listeners");
    if let Some(token) = token {
        setup = setup.env("ADMIN_TOKEN", token);
    }
    let mut tailwater = setup.spawn();
    tailwater.wait_for_event("nothing_watched").await;
    tailwater
}

/// Path and method of each call in the document.
async fn calls(tailwater: &Tailwater) -> Vec<(String, String)> {
    let document = call(tailwater, "GET", "/api/openapi.json", "").await.json();
    let mut calls = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            // Those of health need no token, and those of `/admin` have their own form.
            let is_here = call["security"].is_null() && !path.starts_with("/admin/");
            if method != "parameters" && is_here {
                calls.push((method.to_uppercase(), path.replace(['{', '}'], "")));
            }
        }
    }
    assert!(calls.len() > 8, "{calls:?}");
    calls
}

#[tokio::test]
async fn without_the_token_no_call_is_answered() {
    let tailwater = idle(Some(TOKEN)).await;
    for (method, path) in calls(&tailwater).await {
        for wrong in [
            "",
            "authorization: Bearer wrong-wrong-wrong\r\n",
            "cookie: token=0123456789abcdef\r\n",
        ] {
            let reply = raw(&tailwater, &method, &path, wrong, "{}").await;
            let said = problem(&reply, 401, "refused");
            assert!(said.contains("ADMIN_TOKEN"), "{said}");
        }
        let reply = call(&tailwater, &method, &path, "{}").await;
        assert_ne!(reply.status, 401, "{method} {path}");
        assert_ne!(reply.status, 405, "{method} {path}");
        assert!(!reply.body.contains(TOKEN), "{method} {path}");
        if reply.status >= 400 {
            assert_eq!(
                header(&reply, "content-type"),
                "application/problem+json",
                "{method} {path}"
            );
        }
    }
    tailwater.stop().await;
}

/// Without a token a terminal on this machine may call, and no page in a browser.
#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let tailwater = idle(None).await;
    for (method, path) in calls(&tailwater).await {
        for page in [
            "origin: http://evil.example\r\n",
            "origin: null\r\n",
            "sec-fetch-site: cross-site\r\n",
            "host: evil.example\r\n",
        ] {
            let reply = raw(&tailwater, &method, &path, page, "{}").await;
            problem(&reply, 403, "refused");
        }
    }
    let found = raw(&tailwater, "GET", "/api/nowhere", "", "").await;
    problem(&found, 404, "not_found");
    tailwater.stop().await;
}
