use super::*;
use crate::config::{FullDocument, PreImages, StartAt};
use crate::source::watch::{Images, change_stream_options};
use bson::RawDocumentBuf;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) fn source(watch: &[&str], exclude: &[&str], operations: &[&str]) -> Source {
    Source {
        scope: Scope::Database("shop".into()),
        watch: texts(watch),
        exclude: texts(exclude),
        lease_database: None,
        schedules: None,
        of_workers: Vec::new(),
        listeners: None,
        operations: texts(operations),
        full_document: FullDocument::UpdateLookup,
        pre_images: PreImages::Off,
        user_pipeline: Vec::new(),
        show_expanded_events: false,
        start_at: StartAt::Now,
        batch_bytes: 1 << 20,
    }
}

pub(crate) fn deployment(databases: &[&str], watch: &[&str]) -> Source {
    let scope = Scope::Deployment {
        databases: texts(databases),
    };
    Source {
        scope,
        ..source(watch, &[], &[])
    }
}

pub(crate) fn own() -> Vec<(String, String)> {
    vec![("shop".into(), "changeStreamResumeTokens".into())]
}

fn event(document: Document) -> RawDocumentBuf {
    let mut event = doc! {"_id": {"_data": "82"}};
    event.extend(document);
    RawDocumentBuf::try_from(&event).unwrap()
}

fn wants(filter: &Filter, document: Document) -> bool {
    let raw = event(document);
    filter.matches(&Event::parse(raw.as_bytes()).unwrap())
}

fn wants_insert(filter: &Filter, db: &str, coll: &str) -> bool {
    wants(
        filter,
        doc! {"operationType": "insert", "ns": {"db": db, "coll": coll}},
    )
}

#[test]
fn exclude_beats_watch_and_system_and_own_collections_never_count() {
    let filter = Filter::new(&source(&["*"], &["tmp_*", "secret"], &[]), &own());
    for (name, wanted) in [
        ("users", true),
        ("tmp_x", false),
        ("secret", false),
        ("secret2", true),
        ("system.views", false),
        ("systems", true),
        ("a.system.b", true),
        ("changeStreamResumeTokens", false),
    ] {
        assert_eq!(wants_insert(&filter, "shop", name), wanted, "{name}");
    }
    let named = Filter::new(
        &source(&["a", "changeStreamResumeTokens"], &[], &[]),
        &own(),
    );
    assert!(!wants_insert(&named, "shop", "changeStreamResumeTokens"));
}

#[test]
fn the_checkpoints_are_excluded_wherever_they_are_configured_to_live() {
    let in_mongodb = |database: &str, collection: &str| Resume {
        backend: ResumeBackend::MongoDb {
            database: database.into(),
            collection: collection.into(),
            ttl: None,
        },
    };
    let wanted = |source: &Source, resume: &Resume, db: &str, coll: &str| {
        wants_insert(&Filter::new(source, &own_collections(resume)), db, coll)
    };
    let one = source(&[], &[], &[]);
    assert!(!wanted(
        &one,
        &in_mongodb("shop", "tokens"),
        "shop",
        "tokens"
    ));
    assert!(wanted(&one, &in_mongodb("ops", "tokens"), "shop", "tokens"));
    let all = deployment(&["*"], &[]);
    assert!(!wanted(&all, &in_mongodb("ops", "tokens"), "ops", "tokens"));
    let kafka = ResumeBackend::Kafka {
        topic: "tokens".into(),
    };
    assert!(own_collections(&Resume { backend: kafka }).is_empty());
}

#[test]
fn own_collections_of_another_database_are_no_matter_to_this_stream() {
    let elsewhere = [("ops".to_owned(), "tokens".to_owned())];
    assert!(wants_insert(
        &Filter::new(&source(&[], &[], &[]), &elsewhere),
        "shop",
        "tokens"
    ));
    let all = Filter::new(&deployment(&["*"], &[]), &elsewhere);
    assert!(wants_insert(&all, "shop", "tokens") && !wants_insert(&all, "ops", "tokens"));
}

#[test]
fn a_list_of_names_that_are_all_excluded_watches_nothing_and_not_everything() {
    for filter in [
        Filter::new(&source(&["a", "b"], &["*"], &[]), &[]),
        Filter::new(
            &Source {
                exclude: texts(&["x.*"]),
                ..deployment(&["x"], &["x.a"])
            },
            &[],
        ),
    ] {
        assert!(filter.watches_nothing());
        assert!(!wants_insert(&filter, "x", "a") && !wants_insert(&filter, "x", "c"));
    }
    assert!(!Filter::new(&source(&["a"], &["b"], &[]), &[]).watches_nothing());
}

#[test]
fn what_is_no_document_operation_passes_whatever_operations_are_watched() {
    let filter = Filter::new(&source(&["a"], &[], &["insert"]), &[]);
    let ns = doc! {"db": "shop", "coll": "a"};
    for (operation, wanted) in [
        ("insert", true),
        ("update", false),
        ("replace", false),
        ("delete", false),
        ("drop", true),
    ] {
        let document = doc! {"operationType": operation, "ns": ns.clone()};
        assert_eq!(wants(&filter, document), wanted, "{operation}");
    }
    assert!(wants(
        &filter,
        doc! {"operationType": "dropDatabase", "ns": {"db": "shop"}}
    ));
    assert!(wants(&filter, doc! {"operationType": "invalidate"}));
}

#[test]
fn a_rename_into_or_out_of_a_watched_collection_is_seen() {
    let filter = Filter::new(&source(&["a"], &[], &["insert"]), &[]);
    let rename = |from: &str, to: &str| {
        let document = doc! {
            "operationType": "rename",
            "ns": {"db": "shop", "coll": from}, "to": {"db": "shop", "coll": to},
        };
        wants(&filter, document)
    };
    assert!(rename("a", "z") && rename("z", "a") && !rename("y", "z"));
}

#[test]
fn the_servers_own_databases_are_never_watched() {
    let filter = Filter::new(&deployment(&["*"], &[]), &[]);
    for database in INTERNAL {
        assert!(!wants_insert(&filter, database, "a"));
    }
    assert!(wants_insert(&filter, "shop", "a"));
}

#[test]
fn plain_names_become_one_list_that_is_cheap_for_the_server() {
    let filter = Filter::new(&source(&["b", "a", "c"], &["c", "d*"], &[]), &own());
    assert_eq!(
        filter.stages(),
        [doc! {"$match": {"$or": [
            {"ns.coll": {"$in": ["a", "b"]}},
            {"operationType": "rename", "ns.coll": {"$not": pattern::system()}, "to.coll": {"$in": ["a", "b"]}},
            {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
        ]}}]
    );
    let filter = Filter::new(&source(&[], &[], &["insert"]), &[]);
    assert_eq!(
        filter.stages(),
        [doc! {"$match": {
            "operationType": {"$nin": ["delete", "replace", "update"]},
            "ns.coll": {"$not": pattern::system()},
        }}]
    );
}

#[test]
fn a_whole_database_costs_the_server_no_stage_unless_something_is_left_out() {
    let everything = source(&[], &[], &[]);
    assert_eq!(
        Filter::new(&everything, &[]).stages(),
        Vec::<Document>::new()
    );
    assert_eq!(Filter::new(&everything, &own()).stages().len(), 1);
    assert_eq!(
        Filter::new(&source(&[], &["a"], &[]), &[]).stages().len(),
        1
    );
    assert_eq!(
        Filter::new(&source(&[], &[], &["insert"]), &[])
            .stages()
            .len(),
        1
    );
    let expanded = Source {
        show_expanded_events: true,
        ..source(&[], &[], &[])
    };
    assert_eq!(Filter::new(&expanded, &[]).stages().len(), 1);
}

#[test]
fn databases_with_the_same_collections_share_one_alternative() {
    let watch = ["a.x", "a.y", "b.y", "b.x", "c.z"];
    let stages = Filter::new(&deployment(&["*"], &watch), &[]).stages();
    let branches = stages[0]
        .get_document("$match")
        .unwrap()
        .get_array("$or")
        .unwrap();
    assert_eq!(
        branches[0].as_document().unwrap(),
        &doc! {"$or": [
            {"ns.db": {"$in": ["a", "b"]}, "ns.coll": {"$in": ["x", "y"]}},
            {"ns.db": {"$in": ["c"]}, "ns.coll": {"$in": ["z"]}},
        ]}
    );
}

#[test]
fn the_users_stages_come_after_the_filter() {
    let stage = doc! {"$unset": "fullDocument.a"};
    let filter = Filter::new(
        &Source {
            user_pipeline: vec![stage.clone()],
            ..source(&[], &[], &[])
        },
        &[],
    );
    let stages = filter.stages();
    assert_eq!((stages.len(), &stages[1]), (2, &stage));
}

#[test]
fn only_options_that_differ_from_the_servers_own_are_sent() {
    let mut config = source(&[], &[], &[]);
    let options = |config: &Source, images| change_stream_options(config, images);
    assert_eq!(
        options(&config, Images::Configured),
        doc! {"fullDocument": "updateLookup"}
    );
    config.pre_images = PreImages::Required;
    config.full_document = FullDocument::WhenAvailable;
    assert_eq!(
        options(&config, Images::Configured),
        doc! {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "required"}
    );
    config.show_expanded_events = true;
    config.scope = Scope::Deployment {
        databases: texts(&["*"]),
    };
    assert_eq!(
        options(&config, Images::Without),
        doc! {"showExpandedEvents": true, "allChangesForCluster": true}
    );
}

#[test]
fn a_match_of_the_users_own_never_hides_an_invalidate_or_a_drop() {
    let mut source = source(&[], &[], &[]);
    source.user_pipeline = vec![
        doc! {"$match": {"fullDocument.plan": "team"}},
        doc! {"$unset": "fullDocument.secret"},
    ];
    let stages = Filter::new(&source, &[]).stages();
    let always = doc! {"operationType": {"$in": ["invalidate", "drop", "rename", "dropDatabase"]}};
    let theirs = doc! {"fullDocument.plan": "team"};
    assert_eq!(stages[1], doc! {"$match": {"$or": [always, theirs]}});
    assert_eq!(stages[2], doc! {"$unset": "fullDocument.secret"});
}

/// Their heartbeats would come back as changes; and a checkpoint made before there were leases stays that of the
/// same filter.
#[test]
fn the_database_with_the_leases_is_left_out_and_the_fingerprint_stays() {
    let mut watched = deployment(&["*"], &[]);
    let without = Filter::new(&watched, &[]);
    watched.lease_database = Some("tailwater".into());
    let filter = Filter::new(&watched, &[]);
    assert_eq!(filter.identity(), without.identity());
    assert!(without.watches("tailwater", "leases") && !filter.watches("tailwater", "leases"));
    assert!(!wants_insert(&filter, "tailwater", "leases"));
    assert!(wants_insert(&filter, "shop", "leases"));
    let told = |filter: &Filter| format!("{:?}", filter.stages());
    assert!(told(&filter).contains("tailwater") && !told(&without).contains("tailwater"));
    let heartbeat = event(doc! {
        "operationType": "update", "ns": {"db": "tailwater", "coll": "leases"},
    });
    assert!(filter.leaves_out(&Event::parse(heartbeat.as_bytes()).unwrap()));
}
