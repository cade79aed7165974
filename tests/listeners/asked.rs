//! What the server is asked for follows what listeners want, and leads to the same records.

use super::random;
use super::{ids, listener, listening, records};
use crate::support::wire::{self, Wire};
use crate::support::{self, PATIENCE, eventually, mongo, with_real_tokens};
use bson::{Bson, Document, doc};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The collections that the newest change stream asks for by name.
fn asked(wire: &Wire) -> Arc<Mutex<String>> {
    let newest = Arc::<Mutex<String>>::default();
    let seen = Arc::clone(&newest);
    wire.refuse_if(move |command| {
        if wire::change_stream(command).is_some() {
            let stages = command.get_array("pipeline").unwrap();
            *seen.lock().unwrap() = format!("{:?}", &stages[1..]);
        }
        None
    });
    newest
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_asked_only_for_what_is_wanted() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    let asked = asked(&wire);
    let asks = |name: &str| asked.lock().unwrap().contains(&format!("String({name:?})"));
    let listeners = db.documents("listeners");
    let first = listener(&db, "first", "apples", doc! {});
    listeners.insert_one(first).await.unwrap();
    let setup = listening(&db, kafka).env("MONGODB_URI", wire.uri_of(db.name()));
    let process = setup.start().await;
    db.documents("apples")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    records(&db, kafka, "first", 1).await;
    assert!(asks("apples") && !asks("pears"));

    // More: at once, from the listener's own place on.
    let second = listener(&db, "second", "pears", doc! {});
    listeners.insert_one(second).await.unwrap();
    db.documents("pears")
        .insert_one(doc! {"_id": 2})
        .await
        .unwrap();
    assert_eq!(ids(&records(&db, kafka, "second", 1).await), [2]);
    assert!(asks("apples") && asks("pears"));

    // Less: once the listeners have rested for a while.
    listeners.delete_one(doc! {"_id": "first"}).await.unwrap();
    let mut id = 3;
    eventually(PATIENCE, "a narrower filter", async || {
        db.documents("pears")
            .insert_one(doc! {"_id": id})
            .await
            .unwrap();
        id += 1;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        (!asks("apples") && asks("pears")).then_some(())
    })
    .await;
    db.documents("pears")
        .insert_one(doc! {"_id": id})
        .await
        .unwrap();
    let expected = Vec::from_iter(2..=id);
    let of = records(&db, kafka, "second", expected.len()).await;
    assert_eq!(ids(&of), expected);
    process.stop().await;
}

/// From 6.0 on, servers find no token of an event that the filter of now hides: they answer 280.
async fn hiding() -> (Wire, Arc<AtomicUsize>) {
    let wire = with_real_tokens(mongo().await).await;
    let events = Arc::<Mutex<HashMap<String, String>>>::default();
    let seen = Arc::clone(&events);
    wire.alter(move |_, reply: &mut Document| {
        let Ok(cursor) = reply.get_document_mut("cursor") else {
            return;
        };
        let mut last = None;
        for batch in ["firstBatch", "nextBatch"] {
            let batch = cursor.get_array(batch).into_iter().flatten();
            for event in batch.filter_map(Bson::as_document) {
                let Ok(token) = event.get_document("_id") else {
                    continue;
                };
                let collection = event.get_document("ns").and_then(|ns| ns.get_str("coll"));
                if let (Ok(data), Ok(collection)) = (token.get_str("_data"), collection) {
                    let mut seen = seen.lock().unwrap();
                    seen.insert(data.to_owned(), collection.to_owned());
                }
                last = Some(token.clone());
            }
        }
        // As where a batch was full: there is nothing known behind its last event.
        // And as long as nothing follows, nothing is known of what is behind it.
        match last {
            Some(last) => {
                cursor.insert("postBatchResumeToken", last);
            }
            None if cursor.contains_key("nextBatch") => {
                cursor.remove("postBatchResumeToken");
            }
            None => {}
        }
    });
    let hidden = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&hidden);
    wire.refuse_if(move |command| {
        let token = wire::change_stream(command)?
            .get_document("startAfter")
            .ok()?;
        let events = events.lock().unwrap();
        let collection = events.get(token.get_str("_data").ok()?)?;
        let stages = command.get_array("pipeline").ok()?;
        let stages = format!("{:?}", &stages[1..]);
        let is_hidden = stages.contains("operationType")
            && !stages.contains(&format!("String({collection:?})"));
        is_hidden.then(|| {
            count.fetch_add(1, Ordering::Relaxed);
            wire::error(280, &["NonResumableChangeStreamError"])
        })
    });
    (wire, hidden)
}

/// The checkpoint is at an event that came for a listener which is gone by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_hidden_since_its_listener_is_gone_is_got_over() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (wire, hidden) = hiding().await;
    let (apples, pears) = (db.documents("apples"), db.documents("pears"));
    let listeners = db.documents("listeners");
    let kept = listener(&db, "kept", "apples", doc! {});
    listeners.insert_one(kept).await.unwrap();
    let setup = listening(&db, kafka).env("MONGODB_URI", wire.uri_of(db.name()));
    let mut process = setup.start().await;
    let mut id = 1;
    // The last event before the stop may be another one than that of the pear, or the filter may
    // be narrower by then: each attempt begins with a listener to the pears.
    while hidden.load(Ordering::Relaxed) == 0 {
        assert!(id < 20, "no token was ever hidden");
        let gone = listener(&db, &format!("gone{id}"), "pears", doc! {});
        listeners.insert_one(gone).await.unwrap();
        pears.insert_one(doc! {"_id": -id}).await.unwrap();
        records(&db, kafka, &format!("gone{id}"), 1).await;
        listeners
            .delete_one(doc! {"_id": format!("gone{id}")})
            .await
            .unwrap();
        apples.insert_one(doc! {"_id": id}).await.unwrap();
        pears.insert_one(doc! {"_id": id}).await.unwrap();
        records(&db, kafka, "kept", usize::try_from(id).unwrap()).await;
        id += 1;
        process.stop().await;
        process = setup.start().await;
    }
    apples.insert_one(doc! {"_id": id}).await.unwrap();
    let expected = Vec::from_iter(1..=id);
    let of = eventually(PATIENCE, "the last record", async || {
        let of = records(&db, kafka, "kept", 1).await;
        ids(&of).contains(&id).then_some(of)
    })
    .await;
    assert_eq!(ids(&of), expected);
    let exit = process.stop().await;
    assert!(!exit.output.contains("history lost"), "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_before_a_server_that_finds_no_hidden_token() {
    let (wire, _) = hiding().await;
    random::run(4, 300, &[], Some(&wire), random::Killed::Often).await;
}
