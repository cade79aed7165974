//! Whether this user may write and read the collection of checkpoints, as the server tells when asked.

use super::Collection;
use crate::checkpoint::Location;
use crate::error::Code;
use crate::mongo::privileges::{self, Privileges};
use crate::preflight::Finding;
use ::mongodb::Client;

const NAME: &str = "mongodb.checkpoints";

/// What storing a checkpoint takes.
const NEEDED: [&str; 3] = ["find", "insert", "update"];
/// What the clean-up of unused checkpoints takes as well.
const FOR_EXPIRY: [&str; 3] = ["listIndexes", "createIndex", "dropIndex"];

/// Looks at the rights; writes nothing.
pub(in crate::checkpoint) async fn check(location: Location<'_>, client: &Client) -> Vec<Finding> {
    let collection = match Collection::open(location, Some(client)).await {
        Ok(collection) => collection,
        Err(error) => return vec![Finding::error(NAME, error.code, error.detail)],
    };
    let asked = privileges::ask(client).await;
    let place = collection.place();
    let not_said = || {
        let sentence = format!("the server does not say whether this user may write to {place}");
        vec![Finding::warn(NAME, sentence)]
    };
    let Some(status) = asked else {
        return not_said();
    };
    let namespace = collection.inner.namespace();
    let Some(privileges) = Privileges::of(&status) else {
        // Nobody has logged in: the server asks nobody who they are, or the stream has been refused.
        return Vec::new();
    };
    if privileges.are_unknown() {
        return not_said();
    }
    let lacked = |needed| privileges.lacking(&namespace.db, &namespace.coll, needed);
    let (lacks, lacks_expiry) = (lacked(&NEEDED), lacked(&FOR_EXPIRY));
    let user = privileges.user;
    if !lacks.is_empty() {
        let sentence = format!("user {user} lacks {} on {place}", lacks.join(", "));
        let remedy = format!(
            "grant readWrite on database {}, name another with RESUME_DATABASE, or keep checkpoints in Kafka \
             (RESUME_STORE=kafka)",
            namespace.db
        );
        return vec![Finding::error(NAME, Code::CheckpointFailed, sentence).remedy(remedy)];
    }
    let mut findings = vec![Finding::ok(NAME, format!("may read and write {place}"))];
    if collection.ttl.is_some() && !lacks_expiry.is_empty() {
        let sentence = format!(
            "user {user} lacks {} on {place}: checkpoints of streams no longer used stay (RESUME_TTL_DAYS)",
            lacks_expiry.join(", ")
        );
        findings.push(Finding::warn(NAME, sentence));
    }
    findings
}
