use super::*;
use crate::live::position::Place;

const AT: Place = Place {
    topic: 0,
    partition: 0,
};

fn grant(claims: &Value) -> Arc<Grant> {
    Arc::new(Grant::of_claims(claims.as_object().unwrap(), None, JsonMode::Simple).unwrap())
}

fn asked(filter: Value) -> Asked {
    Asked {
        collection: Some("msgs".into()),
        filter: Some(filter),
        ..Asked::default()
    }
}

fn update(before: Value, after: Value) -> Change {
    let value = json!({
        "operationType": "update", "database": "chat", "collection": "msgs", "documentKey": {"_id": 1, "shard": 2},
        "fullDocument": after, "updateDescription": {"updatedFields": {}}, "fullDocumentBeforeChange": before,
    });
    Change::of_value(AT, 0, &value)
}

fn read(shown: Shown) -> Value {
    match shown {
        Shown::Narrowed(text) | Shown::Leave(text) => serde_json::from_slice(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_room_shows_what_is_in_it_and_tells_of_what_leaves() {
    let everything = Arc::new(Grant::everything());
    let room = Selection::new(asked(json!({"room": "r1"})), everything, JsonMode::Simple).unwrap();
    let (inside, outside) = (json!({"room": "r1"}), json!({"room": "r2"}));
    let judge = |before: &Value, after: &Value| room.judge(&update(before.clone(), after.clone()));
    assert_eq!(judge(&inside, &inside), Shown::Whole);
    assert_eq!(judge(&outside, &inside), Shown::Whole);
    assert_eq!(judge(&Value::Null, &inside), Shown::Whole);
    assert_eq!(judge(&outside, &outside), Shown::Nothing);
    assert_eq!(judge(&Value::Null, &outside), Shown::Nothing);
    assert_eq!(judge(&inside, &Value::Null), Shown::Whole);
    let left = read(judge(&inside, &outside));
    assert_eq!(left["documentKey"], json!({"_id": 1}));
    assert!(left.get("fullDocument").is_none() && left.get("updateDescription").is_none());
    let delete = |before: Value| {
        let value = json!({
            "operationType": "delete", "database": "chat", "collection": "msgs", "documentKey": {"_id": 1},
            "fullDocumentBeforeChange": before,
        });
        room.judge(&Change::of_value(AT, 0, &value))
    };
    assert_eq!(delete(inside), Shown::Whole);
    assert_eq!(delete(outside), Shown::Nothing);
    assert_eq!(delete(Value::Null), Shown::Nothing);
}

#[test]
fn a_token_shows_no_image_that_it_does_not_allow() {
    let grant = grant(&json!({"where": {"userId": "$sub"}, "sub": "u1"}));
    let own = Selection::new(asked(json!({"open": true})), grant, JsonMode::Simple).unwrap();
    let mine = |open: bool| json!({"userId": "u1", "open": open});
    let theirs = || json!({"userId": "u2", "open": true});
    assert_eq!(own.judge(&update(mine(true), mine(true))), Shown::Whole);
    assert_eq!(own.judge(&update(mine(false), mine(true))), Shown::Whole);
    assert_eq!(own.judge(&update(theirs(), theirs())), Shown::Nothing);
    // It was another's: how it was, and what has changed, is not told.
    let taken = read(own.judge(&update(theirs(), mine(true))));
    assert_eq!(taken["fullDocument"], mine(true));
    assert!(
        taken.get("fullDocumentBeforeChange").is_none() && taken.get("updateDescription").is_none()
    );
    let unknown = read(own.judge(&update(Value::Null, mine(true))));
    assert!(unknown.get("updateDescription").is_none());
    // It has become another's.
    let given = read(own.judge(&update(mine(true), theirs())));
    assert_eq!(given["documentKey"], json!({"_id": 1}));
    assert!(given.get("fullDocument").is_none());
    // Another's is not told of by the query either.
    assert_eq!(own.judge(&update(theirs(), mine(false))), Shown::Nothing);
}

#[test]
fn a_query_narrows_and_never_widens() {
    let grant = grant(&json!({"databases": ["chat"], "collections": ["msgs", "chat.news"]}));
    let ask = |database: Option<&str>, collection: Option<&str>| {
        let asked = Asked {
            database: database.map(str::to_owned),
            collection: collection.map(str::to_owned),
            ..Asked::default()
        };
        Selection::new(asked, Arc::clone(&grant), JsonMode::Simple)
    };
    for (database, collection) in [
        (Some("bank"), None),
        (None, Some("users")),
        (Some("chat"), Some("users")),
    ] {
        assert!(
            matches!(ask(database, collection), Err(Refused::Forbidden(_))),
            "{database:?} {collection:?}"
        );
    }
    let all = ask(None, None).unwrap();
    let insert = |database: &str, collection: &str| {
        let value = json!({"operationType": "insert", "database": database, "collection": collection, "documentKey": {"_id": 1}});
        all.judge(&Change::of_value(AT, 0, &value))
    };
    assert_eq!(insert("chat", "msgs"), Shown::Whole);
    assert_eq!(insert("chat", "news"), Shown::Whole);
    assert_eq!(insert("chat", "users"), Shown::Nothing);
    assert_eq!(insert("bank", "msgs"), Shown::Nothing);
}

#[test]
fn events_about_collections_come_only_when_asked_for_and_hide_what_may_not_be_seen() {
    let rename = json!({
        "operationType": "rename", "database": "chat", "collection": "msgs", "to": {"database": "chat", "collection": "secret"},
    });
    let rename = Change::of_value(AT, 0, &rename);
    let ask = |operation: Option<&str>, grant: Arc<Grant>| {
        let asked = Asked {
            operation: operation.map(str::to_owned),
            ..Asked::default()
        };
        Selection::new(asked, grant, JsonMode::Simple)
            .unwrap()
            .judge(&rename)
    };
    let everything = || Arc::new(Grant::everything());
    assert_eq!(ask(None, everything()), Shown::Nothing);
    assert_eq!(ask(Some("ddl"), everything()), Shown::Whole);
    let told = read(ask(
        Some("ddl,insert"),
        grant(&json!({"collections": ["msgs"]})),
    ));
    assert_eq!(
        told,
        json!({"operationType": "rename", "database": "chat", "collection": "msgs"})
    );
    let told = read(ask(Some("ddl"), grant(&json!({"collections": ["secret"]}))));
    assert_eq!(told["to"]["collection"], "secret");
    assert!(told.get("collection").is_none());
    assert_eq!(
        ask(Some("ddl"), grant(&json!({"collections": ["other"]}))),
        Shown::Nothing
    );
}

/// Rows of snapshots and what newer servers may send hold documents: no way around the rights of a token.
#[test]
fn whatever_is_about_a_document_is_judged_as_one() {
    let own = grant(&json!({"where": {"room": "r1"}}));
    let judge = |operation: &str, name: &str, room: &str| {
        let value = json!({
            "operationType": name, "database": "chat", "collection": "msgs", "documentKey": {"_id": 1},
            "fullDocument": {"_id": 1, "room": room},
        });
        let asked = Asked {
            operation: Some(operation.into()),
            ..Asked::default()
        };
        let selection = Selection::new(asked, Arc::clone(&own), JsonMode::Simple).unwrap();
        selection.judge(&Change::of_value(AT, 0, &value))
    };
    for (operation, name) in [("read", "read"), ("ddl", "read"), ("ddl", "teleport")] {
        assert_eq!(
            judge(operation, name, "r2"),
            Shown::Nothing,
            "{operation} {name}"
        );
    }
    assert_ne!(judge("read", "read", "r1"), Shown::Nothing);
    assert_eq!(judge("insert", "read", "r1"), Shown::Nothing);
}

#[test]
fn one_document_is_found_by_its_id_as_the_topic_writes_it() {
    let is_shown = |id: &str, key: Value, mode| {
        let asked = Asked {
            id: Some(id.into()),
            ..Asked::default()
        };
        let selection = Selection::new(asked, Arc::new(Grant::everything()), mode).unwrap();
        let value = json!({"operationType": "insert", "database": "d", "collection": "c", "documentKey": {"_id": key}});
        selection.judge(&Change::of_value(AT, 0, &value)) == Shown::Whole
    };
    use JsonMode::{Canonical, Relaxed, Simple};
    let hex = "65bc9fb6c485f419a7a877fe";
    assert!(is_shown(hex, json!(hex), Simple));
    assert!(is_shown(hex, json!({"$oid": hex}), Relaxed));
    assert!(is_shown("7", json!(7), Simple) && is_shown("7", json!("7"), Simple));
    assert!(is_shown("7", json!({"$numberInt": "7"}), Canonical));
    assert!(is_shown("\"7\"", json!("7"), Simple) && !is_shown("\"7\"", json!(7), Simple));
    assert!(is_shown("{\"a\":1}", json!({"a": 1}), Simple));
    assert!(!is_shown("8", json!(7), Simple));
}

#[test]
fn a_wrong_question_is_told_what_is_wrong() {
    let ask =
        |asked| Selection::new(asked, Arc::new(Grant::everything()), JsonMode::Simple).unwrap_err();
    let wrong = Asked {
        operation: Some("upsert".into()),
        ..Asked::default()
    };
    assert!(matches!(ask(wrong), Refused::Wrong(sentence) if sentence.contains("ddl")));
    assert!(
        matches!(ask(asked(json!({"a": {"$type": 1}}))), Refused::Wrong(sentence) if sentence.contains("JSON_MODE"))
    );
}
