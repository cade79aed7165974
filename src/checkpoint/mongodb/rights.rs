//! Whether this user may write and read the collection of checkpoints, as the server tells when asked.

use super::Collection;
use crate::checkpoint::Location;
use crate::error::Code;
use crate::preflight::Finding;
use ::mongodb::Client;
use bson::{Bson, Document, doc};
use std::time::Duration;

const NAME: &str = "mongodb.checkpoints";
const PATIENCE: Duration = Duration::from_secs(15);

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
    let command = doc! {"connectionStatus": 1, "showPrivileges": true};
    let admin = client.database("admin");
    let asked = tokio::time::timeout(PATIENCE, admin.run_command(command)).await;
    let place = collection.place();
    let not_said = || {
        let sentence = format!("the server does not say whether this user may write to {place}");
        vec![Finding::warn(NAME, sentence)]
    };
    let Ok(Ok(status)) = asked else {
        return not_said();
    };
    let namespace = collection.inner.namespace();
    let Some(privileges) = Privileges::of(&status) else {
        // Nobody has logged in: the server asks nobody who they are, or the stream has been refused.
        return Vec::new();
    };
    // Whoever may watch may do something: this is a server that only has the field.
    if privileges.granted.is_empty() {
        return not_said();
    }
    let lacked = |needed: &[&'static str]| -> Vec<&'static str> {
        let allowed = |action: &&str| privileges.allow(&namespace.db, &namespace.coll, action);
        needed
            .iter()
            .copied()
            .filter(|action| !allowed(action))
            .collect()
    };
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

/// What the one who has logged in may do.
struct Privileges<'a> {
    user: &'a str,
    /// A resource and the actions on it, each.
    granted: Vec<&'a Document>,
}

impl<'a> Privileges<'a> {
    /// None where nobody has logged in.
    fn of(status: &'a Document) -> Option<Self> {
        let info = status.get_document("authInfo").ok()?;
        let users = info.get_array("authenticatedUsers").ok()?;
        let user = users.first()?.as_document()?.get_str("user").ok()?;
        let granted = info.get_array("authenticatedUserPrivileges").ok()?;
        Some(Self {
            user,
            granted: granted.iter().filter_map(Bson::as_document).collect(),
        })
    }

    fn allow(&self, database: &str, collection: &str, action: &str) -> bool {
        self.granted.iter().any(|privilege| {
            let covers = privilege
                .get_document("resource")
                .is_ok_and(|resource| covers(resource, database, collection));
            let actions = privilege.get_array("actions").into_iter().flatten();
            covers
                && actions
                    .into_iter()
                    .any(|a| matches!(a.as_str(), Some(a) if a == action || a == "anyAction"))
        })
    }
}

/// Whether what is granted on `resource` holds for this collection: an empty name is every one, but for
/// the server's own collections.
fn covers(resource: &Document, database: &str, collection: &str) -> bool {
    if resource.get_bool("anyResource").unwrap_or(false) {
        return true;
    }
    let (Ok(db), Ok(coll)) = (resource.get_str("db"), resource.get_str("collection")) else {
        return false;
    };
    (db.is_empty() || db == database)
        && match coll {
            "" => !collection.starts_with("system."),
            coll => coll == collection,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(privileges: Bson) -> Document {
        doc! {"authInfo": {
            "authenticatedUsers": [{"user": "tw", "db": "admin"}],
            "authenticatedUserPrivileges": privileges,
        }}
    }

    fn allows(resource: Document) -> bool {
        let status = status(bson::bson!([{"resource": resource, "actions": ["find", "insert"]}]));
        let privileges = Privileges::of(&status).unwrap();
        assert!(!privileges.allow("shop", "tokens", "update"));
        privileges.allow("shop", "tokens", "insert")
    }

    #[test]
    fn a_privilege_holds_for_the_resources_that_it_names() {
        for resource in [
            doc! {"db": "shop", "collection": "tokens"},
            doc! {"db": "shop", "collection": ""},
            doc! {"db": "", "collection": "tokens"},
            doc! {"db": "", "collection": ""},
            doc! {"anyResource": true},
        ] {
            assert!(allows(resource.clone()), "{resource}");
        }
        for resource in [
            doc! {"db": "shop", "collection": "orders"},
            doc! {"db": "other", "collection": ""},
            doc! {"cluster": true},
            doc! {"db": "shop", "system_buckets": "tokens"},
        ] {
            assert!(!allows(resource.clone()), "{resource}");
        }
    }

    #[test]
    fn a_server_that_asks_nobody_who_they_are_tells_nothing() {
        let nobody =
            doc! {"authInfo": {"authenticatedUsers": [], "authenticatedUserPrivileges": []}};
        assert!(Privileges::of(&nobody).is_none());
        assert!(Privileges::of(&doc! {"ok": 1}).is_none());
    }
}
