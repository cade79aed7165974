//! The filter as the server applies it, and the twin that decides in this process.

use crate::support::{self, Database, eventually};
use bson::{Document, RawDocumentBuf, doc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use tailwater::change::event::Event;
use tailwater::config::{FullDocument, PreImages, Scope, Source, StartAt};
use tailwater::source::{Filter, Images, change_stream_options};

fn source(scope: Scope, watch: &[&str], exclude: &[&str]) -> Source {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Source {
        scope,
        watch: texts(watch),
        lease_database: None,
        schedules: None,
        of_workers: Vec::new(),
        listeners: None,
        exclude: texts(exclude),
        operations: Vec::new(),
        full_document: FullDocument::Default,
        pre_images: PreImages::Off,
        user_pipeline: Vec::new(),
        show_expanded_events: false,
        start_at: StartAt::Now,
        batch_bytes: 1 << 20,
    }
}

/// An open stream, read by `getMore`.
struct Stream {
    database: mongodb::Database,
    id: i64,
    collection: String,
}

impl Stream {
    async fn open(client: &mongodb::Client, source: &Source, stages: Vec<Document>) -> Self {
        let database = match &source.scope {
            Scope::Database(name) => client.database(name),
            Scope::Deployment { .. } => client.database("admin"),
        };
        let options = change_stream_options(source, Images::Configured);
        let mut pipeline = vec![doc! {"$changeStream": options}];
        pipeline.extend(stages);
        let command = doc! {"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": 0}};
        let reply = database.run_command(command).await.unwrap();
        let cursor = reply.get_document("cursor").unwrap();
        let collection = cursor
            .get_str("ns")
            .unwrap()
            .split_once('.')
            .unwrap()
            .1
            .to_owned();
        Self {
            id: cursor.get_i64("id").unwrap(),
            database,
            collection,
        }
    }

    /// Reads until the event that tells of `last`, without it; `last` is always watched.
    async fn until(&self, last: &str) -> Vec<Document> {
        let mut events = Vec::new();
        eventually(support::PATIENCE, "the last event comes", async || {
            let reply = self
                .database
                .run_command(doc! {
                    "getMore": self.id, "collection": &self.collection, "maxTimeMS": 200,
                    "batchSize": 10_000,
                })
                .await
                .unwrap();
            let batch = reply
                .get_document("cursor")
                .unwrap()
                .get_array("nextBatch")
                .unwrap();
            for event in batch {
                let event = event.as_document().unwrap().clone();
                if event
                    .get_document("ns")
                    .is_ok_and(|ns| ns.get_str("coll").is_ok_and(|coll| coll == last))
                {
                    return Some(());
                }
                events.push(event);
            }
            None
        })
        .await;
        events
    }
}

fn insert_event(database: &str, collection: &str) -> RawDocumentBuf {
    let event = doc! {
        "_id": {"_data": "82"}, "operationType": "insert",
        "ns": {"db": database, "coll": collection},
    };
    RawDocumentBuf::try_from(&event).unwrap()
}

fn decides(filter: &Filter, raw: &RawDocumentBuf) -> bool {
    filter.matches(&Event::parse(raw.as_bytes()).unwrap())
}

/// Names as they occur, and as they should not: regular expressions, quotes, spaces, other scripts.
fn name() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "a",
        "b",
        "a.b",
        "a_b",
        "aXb",
        "users",
        "users.archive",
        "Users",
        "user",
        "users\n",
        "log_1",
        "log_22",
        "system_x",
        "systems",
        "a.system.b",
        "syst",
        " a",
        "a b",
        "tab\tname",
        "new\nline",
        "quote\"'",
        "back\\slash",
        "(a|b)",
        "[ab]",
        "a+",
        "a?b",
        "^a",
        "a*",
        "{1,2}",
        "\\d",
        "\\Qa\\E",
        "ü",
        "größe",
        "日本語",
        "😀",
        "e\u{301}",
        "#x",
        "a/b",
        "a-b",
        "ⅷ",
        ".*",
    ]);
    prop_oneof![
        4 => odd.prop_map(str::to_owned),
        2 => "[ab.\\\\*+?()\\[\\]{}|^ü\" \n-]{1,6}",
        1 => "[a-z]{200}",
    ]
    .prop_filter("mongodb allows it", |name| {
        !name.contains(['$', '\0'])
            && !name.starts_with('.')
            && !name.ends_with('.')
            && !name.contains("..")
            && !name.starts_with("system.")
    })
}

/// Patterns made of names, with `*` put in, in front or behind.
fn pattern() -> impl Strategy<Value = String> {
    (name(), 0..4, 0..200_usize).prop_map(|(name, kind, at)| {
        let mut chars: Vec<char> = name.chars().collect();
        let at = at % (chars.len() + 1);
        match kind {
            0 => {}
            1 => chars.insert(at, '*'),
            2 => chars.truncate(at.max(1)),
            _ => chars.drain(..at).for_each(drop),
        }
        let star = if kind >= 2 { "*" } else { "" };
        match kind {
            3 => format!("{star}{}", chars.iter().collect::<String>()),
            _ => format!("{}{star}", chars.iter().collect::<String>()),
        }
    })
}

async fn fill(db: &Database, names: &BTreeSet<String>, last: &str) {
    for name in names.iter().map(String::as_str).chain([last]) {
        db.documents(name)
            .insert_one(doc! {})
            .await
            .unwrap_or_else(|e| panic!("{name:?}: {e}"));
    }
}

/// The server's `$match` and our own decision agree, for whatever names and patterns.
#[tokio::test]
async fn the_servers_filter_and_its_twin_agree() {
    const LAST: &str = "the last one";
    let mut runner = TestRunner::deterministic();
    let names = prop::collection::vec(name(), 100)
        .new_tree(&mut runner)
        .unwrap()
        .current();
    let names: BTreeSet<String> = names.into_iter().collect();
    let lists = prop::collection::vec(pattern(), 0..6);
    let db = support::database().await;

    let mut cases = Vec::new();
    for round in 0..40 {
        let mut watch = lists.new_tree(&mut runner).unwrap().current();
        let exclude = lists.new_tree(&mut runner).unwrap().current();
        if !watch.is_empty() || round % 2 == 0 {
            watch.push(LAST.into());
        }
        if round % 4 == 0 {
            watch.retain(|pattern| !pattern.contains('*'));
            watch.extend(names.iter().take(3 * round / 4).cloned());
        }
        let exclude: Vec<&str> = exclude
            .iter()
            .map(String::as_str)
            .filter(|pattern| !tailwater::source::pattern::Pattern::new(pattern).matches(LAST))
            .collect();
        let watch: Vec<&str> = watch.iter().map(String::as_str).collect();
        let config = source(Scope::Database(db.name().into()), &watch, &exclude);
        let own = [(db.name().to_owned(), "users".to_owned())];
        let filter = Filter::new(&config, if round % 3 == 0 { &own } else { &[] });
        let stream = Stream::open(&db.client, &config, filter.stages()).await;
        cases.push((filter, stream));
    }
    fill(&db, &names, LAST).await;

    let (mut wanted, mut unwanted) = (0, 0);
    for (filter, stream) in &cases {
        let sent: BTreeSet<String> = stream
            .until(LAST)
            .await
            .iter()
            .map(|event| {
                event
                    .get_document("ns")
                    .unwrap()
                    .get_str("coll")
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let expected: BTreeSet<String> = names
            .iter()
            .filter(|name| decides(filter, &insert_event(db.name(), name)))
            .cloned()
            .collect();
        assert_eq!(sent, expected, "{:?}", filter.stages());
        wanted += sent.len();
        unwanted += names.len() - sent.len();
    }
    assert!(wanted > 100 && unwanted > 100, "{wanted} {unwanted}");
}

#[tokio::test]
async fn a_stream_of_the_deployment_sees_the_databases_and_collections_it_names() {
    let mongo_server = support::mongo().await;
    let (one, two) = (mongo_server.database().await, mongo_server.database().await);
    let (a, b) = (one.name().to_owned(), two.name().to_owned());
    let last = support::unique("last");
    let cases = [
        source(
            Scope::Deployment {
                databases: vec![a.clone(), b.clone()],
            },
            &[&format!("{a}.x"), &format!("{b}.*"), &format!("*.{last}")],
            &[&format!("{b}.z*")],
        ),
        source(
            Scope::Deployment {
                databases: vec![a.clone()],
            },
            &[],
            &["*.x"],
        ),
        source(
            Scope::Deployment {
                databases: vec!["*".into()],
            },
            &[
                &format!("{a}.x"),
                &format!("{a}.y"),
                &format!("{b}.x"),
                &format!("{b}.y"),
                &format!("{a}.{last}"),
            ],
            &[],
        ),
    ];
    let mut streams = Vec::new();
    for config in cases {
        let filter = Filter::new(&config, &[(b.clone(), "y".to_owned())]);
        streams.push((
            Stream::open(&one.client, &config, filter.stages()).await,
            filter,
        ));
    }
    let names = ["x", "y", "z", "zz", "a.b"];
    for name in names {
        one.documents(name).insert_one(doc! {}).await.unwrap();
        two.documents(name).insert_one(doc! {}).await.unwrap();
    }
    one.documents(&last).insert_one(doc! {}).await.unwrap();

    for (stream, filter) in streams {
        let sent: BTreeSet<(String, String)> = stream
            .until(&last)
            .await
            .iter()
            .map(|event| event.get_document("ns").unwrap())
            .map(|ns| {
                (
                    ns.get_str("db").unwrap().into(),
                    ns.get_str("coll").unwrap().into(),
                )
            })
            .collect();
        let expected: BTreeSet<(String, String)> = [&a, &b]
            .into_iter()
            .flat_map(|db| names.map(|name| (db.clone(), name.to_owned())))
            .filter(|(db, name)| decides(&filter, &insert_event(db, name)))
            .collect();
        assert_eq!(sent, expected, "{:?}", filter.stages());
        assert!(!sent.is_empty() && sent.len() < 10);
    }
}

/// Renames in all directions, drops, and the drop of the database: told or not told alike.
#[tokio::test]
async fn what_happens_to_watched_collections_is_seen_and_to_others_not() {
    let db = support::database().await;
    let mut config = source(
        Scope::Database(db.name().into()),
        &["in*", "last"],
        &["in_not"],
    );
    config.operations = vec!["insert".into()];
    let filter = Filter::new(&config, &[]);
    let all = Stream::open(&db.client, &config, Vec::new()).await;
    let some = Stream::open(&db.client, &config, filter.stages()).await;

    let rename = async |from: &str, to: &str| {
        let (from, to) = (
            format!("{}.{from}", db.name()),
            format!("{}.{to}", db.name()),
        );
        let command = doc! {"renameCollection": from, "to": to};
        db.client
            .database("admin")
            .run_command(command)
            .await
            .unwrap();
    };
    for name in ["in", "in_not", "out", "in_dropped", "out_dropped"] {
        db.documents(name)
            .insert_one(doc! {"_id": 1})
            .await
            .unwrap();
        db.documents(name)
            .update_one(doc! {}, doc! {"$set": {"a": 1}})
            .await
            .unwrap();
        db.documents(name)
            .replace_one(doc! {}, doc! {"b": 1})
            .await
            .unwrap();
        db.documents(name).delete_one(doc! {}).await.unwrap();
    }
    rename("in", "out_from_in").await;
    rename("out", "in_from_out").await;
    rename("in_not", "out_from_in_not").await;
    rename("out_from_in", "in_again").await;
    db.documents("in_dropped").drop().await.unwrap();
    db.documents("out_dropped").drop().await.unwrap();
    db.documents("last").insert_one(doc! {}).await.unwrap();

    let (all, some) = (all.until("last").await, some.until("last").await);
    let expected: Vec<&Document> = all
        .iter()
        .filter(|event| decides(&filter, &RawDocumentBuf::try_from(*event).unwrap()))
        .collect();
    let tokens = |events: &mut dyn Iterator<Item = &Document>| -> Vec<Document> {
        events
            .map(|event| event.get_document("_id").unwrap().clone())
            .collect()
    };
    assert_eq!(tokens(&mut some.iter()), tokens(&mut expected.into_iter()));
    let kinds: Vec<&str> = some
        .iter()
        .map(|e| e.get_str("operationType").unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["insert", "insert", "rename", "rename", "rename", "drop"]
    );
}

#[tokio::test]
async fn the_drop_of_the_database_ends_the_stream_whatever_is_watched() {
    let db = support::database().await;
    for watch in [&["only"][..], &["on*"], &[]] {
        db.documents("only").insert_one(doc! {}).await.unwrap();
        let mut config = source(Scope::Database(db.name().into()), watch, &[]);
        config.operations = vec!["delete".into()];
        let filter = Filter::new(&config, &[]);
        let stream = Stream::open(&db.client, &config, filter.stages()).await;
        db.drop().await.unwrap();
        let mut kinds = Vec::new();
        eventually(support::PATIENCE, "invalidate comes", async || {
            let command =
                doc! {"getMore": stream.id, "collection": &stream.collection, "maxTimeMS": 200};
            let reply = stream.database.run_command(command).await.unwrap();
            let cursor = reply.get_document("cursor").unwrap();
            for event in cursor.get_array("nextBatch").unwrap() {
                kinds.push(
                    event
                        .as_document()
                        .unwrap()
                        .get_str("operationType")
                        .unwrap()
                        .to_owned(),
                );
            }
            (kinds.last()? == "invalidate").then_some(())
        })
        .await;
        assert_eq!(
            kinds[kinds.len() - 2..],
            ["dropDatabase", "invalidate"],
            "{watch:?}"
        );
    }
}
