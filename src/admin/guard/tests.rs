use super::*;
use axum::http::HeaderValue;

const TOKEN: &str = "0123456789abcdef";

fn guard(address: &str, token: Option<&str>) -> Guard {
    Guard::new(token.map(Secret::new), address.parse().unwrap())
}

fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn refusal(guard: &Guard, uri: &str, given: &[(&'static str, &str)]) -> Option<Refusal> {
    guard.refusal(&Method::GET, &uri.parse().unwrap(), &headers(given))
}

#[test]
fn on_this_machine_only_its_own_names_are_answered() {
    for address in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
        let guard = guard(address, None);
        let of = |host: &str| refusal(&guard, "/metrics", &[("host", host)]);
        for own in [
            "localhost",
            "localhost:3001",
            "LocalHost:8080",
            "localhost.:3001",
            "127.0.0.1:3001",
            "127.1.2.3",
            "[::1]:3001",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(of(own), None, "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:3001",
            "localhost.evil.example",
            "127.0.0.1.evil.example:3001",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "0.0.0.0:3001",
            "[::]:3001",
            "10.0.0.1:3001",
            "2130706433",
            "0x7f.1",
            "localhost evil.example",
            "localhost,evil.example",
            "localhost/evil",
        ] {
            assert_eq!(of(foreign), Some(Refusal::Host), "{foreign}");
        }
    }
    let guard = guard("127.0.0.1", None);
    // HTTP/1.0 as scripts write it.
    assert_eq!(refusal(&guard, "/metrics", &[]), None);
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(refusal(&guard, "/metrics", &two), Some(Refusal::Host));
    let absolute = "http://evil.example/metrics";
    let host = [("host", "localhost")];
    assert_eq!(refusal(&guard, absolute, &host), Some(Refusal::Host));
    assert_eq!(refusal(&guard, "http://localhost/metrics", &host), None);
}

#[test]
fn a_page_is_refused_and_a_person_in_a_browser_is_not() {
    let guard = guard("127.0.0.1", None);
    let with = |name, value| refusal(&guard, "/health", &[("host", "localhost:1"), (name, value)]);
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "whatever comes next"),
    ] {
        assert_eq!(with(name, value), Some(Refusal::Page), "{name}: {value}");
    }
    assert_eq!(with("sec-fetch-site", "none"), None);
    assert_eq!(with("sec-fetch-site", "same-origin"), None);
}

#[test]
fn who_has_the_token_is_answered_under_any_name_and_a_wrong_one_helps_nobody() {
    let guard = guard("127.0.0.1", Some(TOKEN));
    let with = |token: &str| {
        let value = format!("Bearer {token}");
        let given = [
            ("host", "tailwater.example"),
            ("authorization", value.as_str()),
        ];
        refusal(&guard, "/metrics", &given)
    };
    assert_eq!(with(TOKEN), None);
    assert_eq!(with("0123456789abcdeX"), Some(Refusal::Host));
    let none = refusal(&guard, "/metrics", &[("host", "tailwater.example")]);
    assert_eq!(none, Some(Refusal::Host));
}

/// Probes name a pod by its address, Prometheus by whatever its configuration says.
#[test]
fn where_other_machines_may_ask_they_may_under_any_name() {
    for address in ["0.0.0.0", "::", "10.1.2.3"] {
        let guard = guard(address, None);
        for host in ["10.1.2.3:3001", "tailwater:3001", "tailwater.shop.svc"] {
            assert_eq!(refusal(&guard, "/metrics", &[("host", host)]), None);
        }
    }
}

#[test]
fn a_changing_call_needs_the_token_or_a_terminal_on_this_machine() {
    let nothing = HeaderMap::new();
    let open = guard("0.0.0.0", None);
    assert_eq!(open.refusal_to_change(&nothing), Some(Refusal::Unguarded));
    assert_eq!(guard("127.0.0.1", None).refusal_to_change(&nothing), None);
    for address in ["127.0.0.1", "0.0.0.0"] {
        let guarded = guard(address, Some(TOKEN));
        let with = |value: &str| guarded.refusal_to_change(&headers(&[("authorization", value)]));
        assert_eq!(guarded.refusal_to_change(&nothing), Some(Refusal::Token));
        assert_eq!(with("Bearer 0123456789abcdeX"), Some(Refusal::Token));
        assert_eq!(with("Bearer 0123456789abcde"), Some(Refusal::Token));
        assert_eq!(with("Bearer "), Some(Refusal::Token));
        assert_eq!(with("Bearer 0123456789abcdef"), None);
    }
}

#[test]
fn the_page_of_this_server_may_read_and_no_other_and_change_nothing_without_the_token() {
    let guard = guard("127.0.0.1", None);
    let given = |host, origin, site| [("host", host), ("origin", origin), ("sec-fetch-site", site)];
    let own = given("localhost:3001", "http://localhost:3001", "same-origin");
    assert_eq!(refusal(&guard, "/page/main.js", &own), None);
    let changing = guard.refusal(
        &Method::POST,
        &"/api/listeners".parse().unwrap(),
        &headers(&own),
    );
    assert_eq!(changing, Some(Refusal::Page));
    for other in [
        given("localhost:3001", "http://localhost:8080", "same-site"),
        given("localhost:3001", "http://localhost:8080", "same-origin"),
        given("localhost:3001", "http://evil.example", "cross-site"),
        given("localhost:3001", "null", "cross-site"),
    ] {
        assert_eq!(
            refusal(&guard, "/page/main.js", &other),
            Some(Refusal::Page),
            "{other:?}"
        );
    }
    let rebound = given("evil.example", "http://evil.example", "same-origin");
    assert_eq!(
        refusal(&guard, "/page/main.js", &rebound),
        Some(Refusal::Host)
    );
}
