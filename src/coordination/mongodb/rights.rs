//! Whether this user may read and write the leases, as the server tells when asked.

use super::store::{INSTANCES, LEASES};
use crate::coordination::LeaseSettings;
use crate::error::Code;
use crate::mongo::privileges::{self, Privileges};
use crate::preflight::Finding;

const NAME: &str = "mongodb.leases";

/// What taking, keeping and giving away a lease needs.
const NEEDED: [&str; 4] = ["find", "insert", "update", "remove"];

/// Looks at the rights; writes nothing.
pub async fn check(settings: &LeaseSettings) -> Vec<Finding> {
    let database = &settings.database;
    let not_said = || {
        let sentence =
            format!("the server does not say whether this user may write to database {database}");
        vec![Finding::warn(NAME, sentence)]
    };
    let Some(status) = privileges::ask(&settings.client).await else {
        return not_said();
    };
    let Some(privileges) = Privileges::of(&status) else {
        // Nobody has logged in: the server asks nobody who they are, or the stream has been refused.
        return Vec::new();
    };
    if privileges.are_unknown() {
        return not_said();
    }
    let user = privileges.user;
    for collection in [LEASES, INSTANCES] {
        let lacking = privileges.lacking(database, collection, &NEEDED);
        if !lacking.is_empty() {
            let lacking = lacking.join(", ");
            let sentence = format!("user {user} lacks {lacking} on {database}.{collection}");
            let remedy = format!(
                "grant readWrite on database {database}, or name another with LEASE_DATABASE"
            );
            return vec![Finding::error(NAME, Code::SourceRefused, sentence).remedy(remedy)];
        }
    }
    let mut findings = vec![Finding::ok(
        NAME,
        format!("may read and write the leases in database {database}"),
    )];
    if !privileges
        .lacking(database, "", &["find", "changeStream"])
        .is_empty()
    {
        let sentence = format!(
            "user {user} lacks changeStream on database {database}: a planned hand-over is seen only after up to \
             LEASE_POLL_MS ({})",
            settings.times.poll.as_millis()
        );
        let remedy = format!("grant readWrite on database {database}");
        findings.push(Finding::warn(NAME, sentence).remedy(remedy));
    }
    findings
}
