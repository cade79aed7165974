//! Filters of listeners against `find`: each of some thousands at random finds the same documents.
//!
//! `TAILWATER_TEST_SEED` repeats a run, `TAILWATER_TEST_FILTERS` says how many filters it tries.

mod deviations;
mod generate;

use crate::support::{self, Database};
use bson::{Document, RawDocumentBuf, doc};
use deviations::Deviation;
use futures_util::{StreamExt, TryStreamExt, stream};
use generate::Generate;
use tailwater::listener::filter::Filter;

const DOCUMENTS: usize = 300;
const FILTERS: u64 = 3_000;
const COLLECTION: &str = "things";

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn compile(filter: &Document) -> Filter {
    Filter::compile(&raw(filter)).unwrap_or_else(|error| panic!("{filter}: {error}"))
}

/// Which documents the server finds, by their `_id`; `None` if it does not have the operator.
async fn found(db: &Database, filter: &Document) -> Option<Vec<bool>> {
    let things = db.documents(COLLECTION);
    let find = things
        .find(filter.clone())
        .projection(doc! {"_id": 1})
        .await;
    let documents: Result<Vec<Document>, _> = match find {
        Ok(cursor) => cursor.try_collect().await,
        Err(error) => Err(error),
    };
    let documents = match documents {
        Ok(documents) => documents,
        // The stand-in's own words; MongoDB refuses none of these filters.
        Err(error)
            if error
                .to_string()
                .contains("the Rust server does not support") =>
        {
            return None;
        }
        Err(error) => panic!("{filter}: {error}"),
    };
    let mut found = vec![false; DOCUMENTS];
    for document in documents {
        found[document.get_i32("_id").unwrap() as usize] = true;
    }
    Some(found)
}

/// Where the server that the tests have is wrong; nowhere, if it is MongoDB.
async fn deviations(db: &Database) -> Vec<Deviation> {
    let hello = db.run_command(doc! {"hello": 1}).await.unwrap();
    match hello.get_str("setName") {
        Ok("secantus") => deviations::all(),
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_at_random_match_what_find_finds() {
    let seed = setting("TAILWATER_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let count = setting("TAILWATER_TEST_FILTERS").unwrap_or(FILTERS);
    println!("TAILWATER_TEST_SEED={seed}");
    let mut generate = Generate::new(seed);
    let documents: Vec<Document> = (0..DOCUMENTS)
        .map(|id| generate.document(id as i32))
        .collect();
    let raw: Vec<_> = documents.iter().map(raw).collect();
    let filters = (0..count).map(|_| generate.filter(&documents, 2));
    let filters: Vec<Document> = filters.collect();

    let db = support::database().await;
    let things = db.documents(COLLECTION);
    things.insert_many(&documents).await.unwrap();
    let deviations = deviations(&db).await;
    let mut answers = stream::iter(&filters)
        .map(async |filter| (filter, found(&db, filter).await))
        .buffered(4);
    let (mut telling, mut unknown, mut wrong) = (0, 0, Vec::new());
    let mut deviating = vec![0; deviations.len()];
    while let Some((filter, theirs)) = answers.next().await {
        let compiled = compile(filter);
        let Some(theirs) = theirs else {
            unknown += 1;
            continue;
        };
        let ours: Vec<bool> = raw.iter().map(|it| compiled.matches(it)).collect();
        telling += u64::from(ours.contains(&true) && ours.contains(&false));
        for (document, (ours, theirs)) in documents.iter().zip(ours.iter().zip(&theirs)) {
            if ours == theirs {
                continue;
            }
            let mut concerned = deviations.iter();
            match concerned.position(|it| (it.concerns)(filter, document)) {
                Some(deviation) => deviating[deviation] += 1,
                None => wrong.push(format!("{filter}\n  here {ours} for {document}")),
            }
        }
    }
    println!(
        "of {count} filters {telling} tell documents apart, {unknown} are unknown to the server; \
         {deviating:?} pairs deviate"
    );
    // The shortest ones are the easiest to understand.
    wrong.sort_by_key(String::len);
    wrong.truncate(20);
    assert!(wrong.is_empty(), "with {seed}:\n{}", wrong.join("\n"));
    assert!(telling > count / 4, "the filters are too much alike");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_stand_in_deviates_the_rule_of_mongodb_holds() {
    let db = support::database().await;
    let is_stand_in = !deviations(&db).await.is_empty();
    for deviation in deviations::all() {
        let Deviation {
            rule,
            filter,
            document,
            is_found,
            concerns,
        } = deviation;
        assert_eq!(
            compile(&filter).matches(&raw(&document)),
            is_found,
            "{rule}"
        );
        assert!(concerns(&filter, &document), "{rule}");
        let things = db.documents(COLLECTION);
        things.delete_many(doc! {}).await.unwrap();
        let mut stored = document;
        stored.insert("_id", 0);
        things.insert_one(stored).await.unwrap();
        // A stand-in that deviates no more needs no entry any more.
        let expected = is_found != is_stand_in;
        let found = found(&db, &filter).await.expect("known to the server");
        assert_eq!(found[0], expected, "{rule}");
    }
}
