//! Who may call.

use super::{TOKEN, header, problem, raw};
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

/// A call of the document.
struct Documented {
    method: String,
    path: String,
    needs_token: bool,
}

async fn calls(tailwater: &Tailwater) -> Vec<Documented> {
    let document = raw(tailwater, "GET", "/api/openapi.json", "", "").await;
    let mut calls = Vec::new();
    for (path, methods) in document.json()["paths"].as_object().unwrap() {
        // Those of health and of `/admin` have their own form.
        let is_api = path.starts_with("/api/") && !path.starts_with("/api/health");
        if !is_api && path != "/graphql" {
            continue;
        }
        for (method, call) in methods.as_object().unwrap() {
            if method != "parameters" {
                calls.push(Documented {
                    method: method.to_uppercase(),
                    path: path.replace(['{', '}'], ""),
                    needs_token: call["security"].is_null(),
                });
            }
        }
    }
    let open = calls.iter().filter(|call| !call.needs_token).count();
    assert!(open == 6 && calls.len() > 15, "{open} of {}", calls.len());
    calls
}

#[tokio::test]
async fn without_the_token_only_calls_that_show_how_it_is_are_answered() {
    let tailwater = idle(Some(TOKEN)).await;
    for call in calls(&tailwater).await {
        let Documented {
            method,
            path,
            needs_token,
        } = call;
        for wrong in [
            "",
            "authorization: Bearer wrong-wrong-wrong\r\n",
            "cookie: token=0123456789abcdef\r\n",
        ] {
            let reply = raw(&tailwater, &method, &path, wrong, "{}").await;
            if !needs_token {
                assert_ne!(reply.status, 401, "{method} {path}");
                continue;
            }
            let said = problem(&reply, 401, "refused");
            assert!(said.contains("ADMIN_TOKEN"), "{said}");
        }
        let reply = super::call(&tailwater, &method, &path, "{}").await;
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
    for Documented { method, path, .. } in calls(&tailwater).await {
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
