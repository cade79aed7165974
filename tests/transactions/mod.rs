//! `TRANSACTION_METADATA`: which transaction of MongoDB a change is of, and which of its changes it is, whatever dies.

mod bounds;
mod restarts;
mod shapes;

use crate::support::{Database, Record};
use bson::{Document, doc};
use serde_json::Value;
use std::collections::BTreeMap;

/// Inserts the documents in one transaction, each into the collection beside it.
pub async fn insert_in_one(db: &Database, documents: impl IntoIterator<Item = (&str, Document)>) {
    let mut session = db.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for (collection, document) in documents {
        let insert = db.documents(collection);
        let insert = insert.insert_one(document);
        insert.session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
}

/// Which change of its transaction each document was inserted by.
pub fn orders(records: &[Record]) -> BTreeMap<i64, Vec<u64>> {
    let mut orders = BTreeMap::<_, Vec<_>>::new();
    for record in records {
        let id = record.key["_id"].as_i64().unwrap();
        let order = record.value["transaction"]["order"].as_u64();
        orders.entry(id).or_default().push(order.unwrap_or(0));
    }
    orders
}

/// All but the order.
pub fn name_of(transaction: &Value) -> (String, i64) {
    let number = transaction["txnNumber"].as_i64().unwrap();
    (transaction["lsid"].to_string(), number)
}

pub fn numbered(ids: std::ops::Range<i32>) -> impl Iterator<Item = (&'static str, Document)> {
    ids.map(|id| (["users", "orders"][id as usize % 2], doc! {"_id": id}))
}
