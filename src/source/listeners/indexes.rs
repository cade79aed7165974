//! The index that keeps listeners apart.

use super::collection::{collection, is_of_rights, told};
use crate::change::namespace::Namespace;
use crate::mongo::describe::describe;
use crate::mongo::errors::is_duplicate;
use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::options::IndexOptions;
use mongodb::{Client, IndexModel};
use std::time::Duration;

/// What the index is called.
pub const NAME: &str = "tailwater_identity";

/// How long making it may take: a stream does without.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many duplicates are named.
const NAMED: i32 = 5;

/// Makes the unique index on database, collection, jobName and documentKey where it is missing; says what keeps it
/// from being made. Settings of databases are not in it.
///
/// # Errors
/// What keeps it from being made.
pub async fn ensure(client: &Client, at: &Namespace) -> Result<(), NotMade> {
    let collection = collection(client, at);
    let options = IndexOptions::builder()
        .name(NAME.to_owned())
        .unique(true)
        .partial_filter_expression(doc! {"jobName": {"$exists": true}})
        .build();
    // By the job first, which is what people look for.
    let keys = doc! {"jobName": 1, "collection": 1, "database": 1, "documentKey": 1};
    let index = IndexModel::builder().keys(keys).options(options).build();
    let made = async { collection.create_index(index).await };
    match tokio::time::timeout(PATIENCE, made).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if is_duplicate(&error) => {
            let named = duplicates(client, at).await;
            let named = match named.is_empty() {
                true => describe(&error),
                false => named.join("; "),
            };
            Err(NotMade::of(format!(
                "there are listeners with the same database, collection, jobName and documentKey: {named}; remove \
                 one of each"
            )))
        }
        Ok(Err(error)) => Err(NotMade {
            sentence: told("createIndex", at, &error),
            is_of_rights: is_of_rights(&error),
        }),
        Err(_elapsed) => Err(NotMade::of(format!(
            "the server has not made it in {} s",
            PATIENCE.as_secs()
        ))),
    }
}

/// Why the index is not made.
#[derive(Debug)]
pub struct NotMade {
    pub sentence: String,
    /// Whether the user may not make it.
    pub is_of_rights: bool,
}

impl NotMade {
    fn of(sentence: String) -> Self {
        Self {
            sentence,
            is_of_rights: false,
        }
    }
}

/// Which listeners are the same, by their ids.
async fn duplicates(client: &Client, at: &Namespace) -> Vec<String> {
    let same = doc! {
        "database": "$database", "collection": "$collection", "jobName": "$jobName", "documentKey": "$documentKey",
    };
    let pipeline = [
        doc! {"$match": {"jobName": {"$exists": true}}},
        doc! {"$group": {"_id": same, "ids": {"$push": "$_id"}, "count": {"$sum": 1}}},
        doc! {"$match": {"count": {"$gt": 1}}},
        doc! {"$limit": NAMED},
    ];
    let asked = async {
        let cursor = collection(client, at).aggregate(pipeline).await?;
        cursor.try_collect::<Vec<Document>>().await
    };
    let Ok(Ok(groups)) = tokio::time::timeout(PATIENCE, asked).await else {
        return Vec::new();
    };
    let name = |group: &Document| {
        let of = group.get_document("_id").ok()?;
        let job = of.get_str("jobName").unwrap_or("?");
        let collection = of.get_str("collection").unwrap_or("?");
        let ids = group
            .get_array("ids")
            .ok()?
            .iter()
            .map(crate::listener::document::id_text);
        Some(format!(
            "{collection} -> {job} (_id {})",
            Vec::from_iter(ids).join(", ")
        ))
    };
    groups.iter().filter_map(name).collect()
}
