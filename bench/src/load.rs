//! What is written: documents of the kinds of fields that applications store, and their changes, ahead
//! of a measurement or at a steady rate.

use crate::error::Fallible;
use crate::stream;
use bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use mongodb::{Client, Collection};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The database of measurements that need only one.
pub const DATABASE: &str = "bench";
/// The collection, or the beginning of its name where there are many.
pub const COLLECTION: &str = "orders";
/// The size of a document where none is asked for: about 700 bytes, 1.1 KB as a record.
pub const USUAL: usize = 700;

/// Bytes of one command to the server, and most documents of one.
const BULK_BYTES: usize = 4_000_000;
const BULK: usize = 1_000;
/// Inserts that run side by side where they come at a rate; at 1,000/s two would do.
const SENDERS: u64 = 8;

/// Events that are put into the oplog before subjects start.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub database: String,
    pub events: u64,
    /// About how large a document is.
    pub bytes: usize,
    /// Over how many collections inserts are spread.
    pub collections: u64,
    pub changes: Changes,
}

#[derive(Debug, Clone, Copy)]
pub enum Changes {
    Inserts,
    /// So many of a hundred events are updates of what was inserted.
    Updates(u64),
    /// Updates alone, in turn, of so many documents that are there already.
    OfKeys(u64),
}

impl Waiting {
    /// Inserts of usual documents into one collection.
    pub fn inserts(database: impl Into<String>, events: u64) -> Self {
        Self {
            database: database.into(),
            events,
            bytes: USUAL,
            collections: 1,
            changes: Changes::Inserts,
        }
    }

    /// Bytes of one document as BSON, on average.
    pub fn document_bytes(&self) -> Fallible<f64> {
        let sizes = (0..100).map(|n| Ok(bson::serialize_to_vec(&document(n, self.bytes))?.len()));
        let sizes: Vec<usize> = sizes.collect::<Fallible<_>>()?;
        Ok(sizes.iter().sum::<usize>() as f64 / sizes.len() as f64)
    }
}

/// A collection's name: without a number where there is one only.
pub fn name(n: u64, of: u64) -> String {
    if of == 1 {
        COLLECTION.to_owned()
    } else {
        format!("{COLLECTION}{n:04}")
    }
}

/// The collection of measurements that need only one.
pub fn collection(client: &Client) -> Collection<Document> {
    client.database(DATABASE).collection(COLLECTION)
}

/// Document number `n` of about `bytes`; the same `n` gives the same document, but for its id and date.
pub fn document(n: u64, bytes: usize) -> Document {
    let pick = |of: &[&'static str]| of[usize::try_from(n).unwrap_or(0) % of.len()];
    let i = i64::try_from(n).unwrap_or(0);
    if bytes < USUAL {
        return doc! {
            "_id": ObjectId::new(), "probe": format!("probe={n:012};"), "createdAt": DateTime::now(),
            "status": pick(&["open", "paid", "shipped", "returned"]), "total": (n % 100_000) as f64 / 100.0,
            "customer": { "id": i % 9_973, "vip": n.is_multiple_of(7) },
            "tags": ["web", "gift"], "notes": "leave it with the neighbour", "version": 1_i64,
        };
    }
    let mut lines = vec![
        Bson::from(
            doc! { "sku": format!("SKU-{:06}", n % 77_777), "quantity": 2, "price": 12.5, "title": "Stainless steel bottle, 750 ml" },
        ),
        Bson::from(
            doc! { "sku": format!("SKU-{:06}", n % 55_555), "quantity": 1, "price": 149.0, "title": "Noise cancelling headphones" },
        ),
    ];
    // A larger document is an order of more lines, of some 95 bytes each.
    for line in 0..(bytes - USUAL) / 95 {
        lines.push(lines[line % 2].clone());
    }
    doc! {
        "_id": ObjectId::new(),
        "probe": format!("probe={n:012};"),
        "customer": { "id": i % 9_973, "name": pick(&["Ada Lovelace", "Grace Hopper", "Edsger Dijkstra"]),
            "email": format!("customer{}@example.com", n % 9_973), "vip": n.is_multiple_of(7) },
        "createdAt": DateTime::now(),
        "status": pick(&["open", "paid", "shipped", "returned"]),
        "total": (n % 100_000) as f64 / 100.0,
        "currency": "EUR",
        "lines": lines,
        "address": { "street": "Rue de la Gare 12", "city": "Zürich", "zip": "8001", "country": "CH" },
        "tags": ["web", "newsletter", "gift"],
        "notes": note(n),
        "version": 1_i64,
        "discount": null,
    }
}

const WORDS: [&str; 24] = [
    "please",
    "leave",
    "the",
    "parcel",
    "with",
    "neighbour",
    "on",
    "second",
    "floor",
    "bell",
    "\"Müller\"",
    "works",
    "after",
    "six",
    "call",
    "first",
    "gate",
    "code",
    "is",
    "green",
    "door",
    "behind",
    "garden",
    "until",
];

/// About ninety bytes of a reference and words, in no order: what repeats from document to document would
/// make compression look better than it is.
fn note(n: u64) -> String {
    let mut state = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = format!("{:016x}{:016x}", next(), next());
    while text.len() < 88 {
        text.push(' ');
        text.push_str(WORDS[(next() % WORDS.len() as u64) as usize]);
    }
    text
}

/// Makes the changes and returns the resume token from just before them.
///
/// # Errors
/// The server's.
pub async fn fill(client: &Client, waiting: &Waiting) -> Fallible<String> {
    let database = &waiting.database;
    eprintln!("filling the oplog: {waiting:?}");
    // A database that is not there yet has no stream.
    client
        .database(database)
        .create_collection("before")
        .await?;
    match waiting.changes {
        Changes::Inserts => {
            let token = stream::token(client, database).await?;
            insert(client, waiting, waiting.events).await?;
            Ok(token)
        }
        Changes::Updates(percent) => {
            let token = stream::token(client, database).await?;
            let updates = waiting.events * percent / 100;
            let ids = insert(client, waiting, waiting.events - updates).await?;
            update(client, database, &ids, updates).await?;
            Ok(token)
        }
        Changes::OfKeys(keys) => {
            let ids = insert(client, waiting, keys).await?;
            let token = stream::token(client, database).await?;
            update(client, database, &ids, waiting.events).await?;
            Ok(token)
        }
    }
}

/// Inserts `count` documents and gives back their ids.
async fn insert(client: &Client, waiting: &Waiting, count: u64) -> Fallible<Vec<ObjectId>> {
    let database = client.database(&waiting.database);
    let mut ids = Vec::new();
    let bulk = (BULK_BYTES / waiting.bytes).clamp(1, BULK) as u64;
    let mut n = 0;
    while n < count {
        let end = count.min(n + bulk);
        let documents: Vec<Document> = (n..end).map(|n| document(n, waiting.bytes)).collect();
        ids.extend(documents.iter().filter_map(|d| d.get_object_id("_id").ok()));
        // Neighbours in the oplog are of different collections where there are many.
        for first in 0..waiting.collections.min(end - n) {
            let of_one = documents.iter().skip(usize::try_from(first)?);
            let of_one = of_one.step_by(usize::try_from(waiting.collections)?);
            let name = name((n + first) % waiting.collections, waiting.collections);
            database
                .collection::<Document>(&name)
                .insert_many(of_one)
                .await?;
        }
        n = end;
    }
    Ok(ids)
}

/// Makes `count` updates, of each document in turn.
async fn update(client: &Client, database: &str, ids: &[ObjectId], count: u64) -> Fallible {
    let database = client.database(database);
    let mut next = ids.iter().cycle();
    let mut n = 0;
    while n < count {
        let end = count.min(n + BULK as u64);
        let updates = (n..end).zip(&mut next).map(|(n, id)| {
            let set = doc! { "status": "changed", "version": i64::try_from(n).unwrap_or(0) + 2 };
            Bson::from(doc! { "q": { "_id": *id }, "u": { "$set": set } })
        });
        let updates: Vec<Bson> = updates.collect();
        let command = doc! { "update": COLLECTION, "updates": updates, "ordered": true };
        let reply = database.run_command(command).await?;
        let done = reply.get_i32("nModified").map_or(0, i64::from);
        if done != i64::try_from(end - n)? {
            return Err(format!("{done} of {} documents were updated: {reply}", end - n).into());
        }
        n = end;
    }
    Ok(())
}

/// Inserts `count` documents at `rate` a second; gives the moments just before each was sent.
///
/// # Errors
/// The server's.
pub async fn send(client: &Client, count: u64, rate: u32) -> Fallible<Vec<Option<Instant>>> {
    let sent = Arc::new(Mutex::new(vec![None; usize::try_from(count)?]));
    let began = Instant::now();
    let senders = (0..SENDERS).map(|sender| {
        let (collection, sent) = (collection(client), Arc::clone(&sent));
        tokio::spawn(async move {
            for n in (sender..count).step_by(SENDERS as usize) {
                let due = began + Duration::from_secs_f64(n as f64 / f64::from(rate));
                tokio::time::sleep_until(due.into()).await;
                let document = document(n, USUAL);
                let now = Instant::now();
                sent.lock().unwrap_or_else(PoisonError::into_inner)[n as usize] = Some(now);
                collection.insert_one(document).await?;
            }
            Fallible::Ok(())
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await??;
    }
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(sent)
}
