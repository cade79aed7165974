//! The documents: about 700 bytes of BSON, of the kinds of fields that applications store.

use crate::Fallible;
use bson::{DateTime, Document, doc, oid::ObjectId};
use futures_util::future::try_join_all;
use mongodb::{Client, Collection};

/// The database and collection of every measurement.
pub const DATABASE: &str = "bench";
pub const COLLECTION: &str = "orders";

const BULK: usize = 1_000;

/// The collection.
pub fn collection(client: &Client) -> Collection<Document> {
    client.database(DATABASE).collection(COLLECTION)
}

/// Document number `n`; the same `n` gives the same document, but for its id and date.
pub fn document(n: u64) -> Document {
    let pick = |of: &[&'static str]| of[usize::try_from(n).unwrap_or(0) % of.len()];
    let i = i64::try_from(n).unwrap_or(0);
    doc! {
        "_id": ObjectId::new(),
        "probe": format!("probe={n:012};"),
        "customer": { "id": i % 9_973, "name": pick(&["Ada Lovelace", "Grace Hopper", "Edsger Dijkstra"]),
            "email": format!("customer{}@example.com", n % 9_973), "vip": n.is_multiple_of(7) },
        "createdAt": DateTime::now(),
        "status": pick(&["open", "paid", "shipped", "returned"]),
        "total": (n % 100_000) as f64 / 100.0,
        "currency": "EUR",
        "lines": [
            { "sku": format!("SKU-{:06}", n % 77_777), "quantity": 2, "price": 12.5, "title": "Stainless steel bottle, 750 ml" },
            { "sku": format!("SKU-{:06}", n % 55_555), "quantity": 1, "price": 149.0, "title": "Noise cancelling headphones" },
        ],
        "address": { "street": "Rue de la Gare 12", "city": "Zürich", "zip": "8001", "country": "CH" },
        "tags": ["web", "newsletter", "gift"],
        "notes": "Please leave the parcel with the neighbour on the second floor; the bell \"Müller\" works.",
        "version": 1_i64,
        "discount": null,
    }
}

/// Puts `events` changes into the oplog, of which `updates` in a hundred are updates.
///
/// # Errors
/// The server's.
pub async fn fill(client: &Client, events: u64, updates: u64) -> Fallible {
    let collection = collection(client);
    let inserts = events - events * updates / 100;
    let mut ids = Vec::new();
    let mut n = 0;
    while n < inserts {
        let end = inserts.min(n + BULK as u64);
        let bulk: Vec<Document> = (n..end).map(document).collect();
        if ids.len() < 100_000 && updates > 0 {
            ids.extend(bulk.iter().filter_map(|d| d.get_object_id("_id").ok()));
        }
        collection.insert_many(bulk).await?;
        n = end;
    }
    let mut left = usize::try_from(events - inserts)?;
    let mut turn = 0_i64;
    while left > 0 {
        turn += 1;
        let now = &ids[..left.min(ids.len())];
        for some in now.chunks(16) {
            let updating = some.iter().map(|id| {
                let change = doc! { "$set": { "status": "changed", "version": turn + 1 } };
                let collection = &collection;
                async move { collection.update_one(doc! { "_id": *id }, change).await }
            });
            try_join_all(updating).await?;
        }
        left -= now.len();
    }
    Ok(())
}
