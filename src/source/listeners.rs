//! The changes of listeners in the stream that their data comes by: whatever is watched, they come whole.

pub mod bootstrap;
pub mod changes;
pub mod collection;
pub mod create;
pub mod indexes;
pub mod written;

use crate::change::namespace::Namespace;
use bson::{Document, doc};

/// The condition that an event is a change in the listeners' collection.
pub(super) fn own_events(at: &Namespace) -> Document {
    doc! {"ns.db": &at.database, "ns.coll": &at.collection}
}

/// The same as an expression.
pub(super) fn is_own_event(at: &Namespace) -> Document {
    doc! {"$and": [
        {"$eq": ["$ns.db", &at.database]},
        {"$eq": ["$ns.coll", &at.collection]},
    ]}
}

/// Whatever changes the listeners: also what brings another collection in their place, or takes it away.
pub(super) fn changes(at: &Namespace) -> Vec<Document> {
    vec![
        own_events(at),
        doc! {"operationType": "rename", "to.db": &at.database, "to.coll": &at.collection},
        doc! {"operationType": "dropDatabase", "ns.db": &at.database},
    ]
}

/// The stage that takes an update's description away, but for the listeners' own: it is all that tells what has
/// become of one.
pub(super) fn without_description(at: &Namespace) -> Document {
    let kept = doc! {"$cond": [is_own_event(at), "$updateDescription", "$$REMOVE"]};
    doc! {"$set": {"updateDescription": kept}}
}
