//! `STREAMS`: which streams there are, and what each of them watches.

use super::*;

const HOST: (&str, &str) = ("MONGODB_URI", "mongodb://localhost:27017");

fn streams(value: &str, more: &[(&str, &str)]) -> Vec<StreamSpec> {
    config(&[&[HOST, ("STREAMS", value)], more].concat()).streams
}

fn refused(value: &str, more: &[(&str, &str)]) -> String {
    errors(&[&[HOST, ("STREAMS", value)], more].concat())
}

fn deployment(databases: &[&str]) -> Scope {
    Scope::Deployment {
        databases: databases.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
fn each_entry_is_a_stream_with_a_scope_and_an_id() {
    let streams = streams(
        " dashboard, analytics=reports ,tenants=workspace_*|demo",
        &[("KAFKA_CLIENT_ID", "watcher")],
    );
    let told: Vec<_> = streams
        .iter()
        .map(|stream| (stream.name(), stream.id.as_str(), &stream.source.scope))
        .collect();
    assert_eq!(
        told,
        [
            // The id of a single stream of that database, so that its checkpoint is found.
            (
                "dashboard",
                "watcher:dashboard",
                &Scope::Database("dashboard".into())
            ),
            (
                "analytics",
                "watcher:analytics",
                &Scope::Database("reports".into())
            ),
            (
                "tenants",
                "watcher:tenants",
                &deployment(&["workspace_*", "demo"])
            ),
        ]
    );
    let alone = config(&[("KAFKA_CLIENT_ID", "watcher")]);
    assert_eq!(alone.streams[0].id, "watcher:dashboard");
    assert_eq!(alone.streams[0].given_name, None);
}

#[test]
fn the_lists_are_told_apart_by_their_databases() {
    let streams = streams(
        "shop,tenants=work_*",
        &[
            ("WATCH_COLLECTIONS", "shop.orders,*.users,work_1.log"),
            ("EXCLUDE_COLLECTIONS", "shop.tmp_*,work_9.*"),
        ],
    );
    assert_eq!(streams[0].source.watch, ["orders", "users"]);
    assert_eq!(streams[0].source.exclude, ["tmp_*"]);
    assert_eq!(streams[1].source.watch, ["*.users", "work_1.log"]);
    assert_eq!(streams[1].source.exclude, ["work_9.*"]);
}

#[test]
fn what_no_stream_has_is_warned_of_and_a_stream_without_a_collection_is_refused() {
    let vars = [
        HOST,
        ("STREAMS", "shop"),
        ("EXCLUDE_COLLECTIONS", "other.x"),
    ];
    let said = warnings(&vars);
    assert!(
        said.contains("other.x is in none of the databases of STREAMS"),
        "{said}"
    );
    let said = refused("shop,other", &[("WATCH_COLLECTIONS", "shop.orders")]);
    assert!(
        said.contains("of the stream other; add some, as in other.*"),
        "{said}"
    );
}

#[test]
fn two_streams_never_watch_one_database() {
    for (value, said) in [
        ("shop,shop", "given twice"),
        ("shop,other=shop", "the database shop"),
        ("shop,other=sh*", "that both shop and sh* match"),
        ("a=x*,b=*y", "that both x* and *y match"),
        ("a=one,a=two", "the name a is given twice"),
    ] {
        let errors = refused(value, &[]);
        assert!(errors.contains(said), "{value}: {errors}");
    }
    assert_eq!(streams("a=x*,b=y*", &[]).len(), 2);
}

#[test]
fn what_belongs_to_a_single_stream_is_refused_beside_several() {
    for (name, value) in [
        ("STREAM_ID", "mine"),
        ("MONGODB_DATABASE", "shop"),
        ("WATCH_DATABASES", "shop,other"),
    ] {
        let errors = refused("shop,other", &[(name, value)]);
        assert!(errors.contains("STREAMS is set too"), "{errors}");
    }
    let errors = refused("shop,other", &[("RESUME_STORE", "file")]);
    assert!(errors.contains("set it to kafka or mongodb"), "{errors}");
    // One stream has one file, whatever it is called.
    assert_eq!(streams("shop", &[("RESUME_STORE", "file")]).len(), 1);
    // The URI's path may be there for the log-in.
    let uri = ("MONGODB_URI", "mongodb://localhost/shop");
    assert_eq!(config(&[uri, ("STREAMS", "shop,other")]).streams.len(), 2);
}

#[test]
fn what_is_wrong_for_each_stream_is_told_once() {
    let said = refused("a,b,c", &[("KAFKA_TOPIC_INSERT", "no spaces")]);
    assert_eq!(said.matches("KAFKA_TOPIC_INSERT").count(), 1, "{said}");
}

#[test]
fn a_stream_is_found_by_its_name_and_by_its_id() {
    let config = config(&[HOST, ("STREAMS", "shop,other"), ("KAFKA_CLIENT_ID", "w")]);
    assert_eq!(config.stream(Some("other")).unwrap().id, "w:other");
    assert_eq!(config.stream(Some("w:shop")).unwrap().name(), "shop");
    let error = config.stream(Some("shops")).unwrap_err();
    assert!(error.detail.contains("shop, other"), "{error}");
    assert_eq!(error.code, Code::Config);
    let error = config.stream(None).unwrap_err();
    assert!(error.detail.contains("--stream"), "{error}");
    assert_eq!(config.chosen(None).unwrap().len(), 2);
}
