//! What this user may do, as the server tells when asked.

use crate::change::namespace::Namespace;
use bson::{Bson, Document, doc};
use mongodb::Client;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(15);

/// Asks the server; none where it does not say.
pub async fn ask(client: &Client) -> Option<Document> {
    let command = doc! {"connectionStatus": 1, "showPrivileges": true};
    let admin = client.database("admin");
    let asked = tokio::time::timeout(PATIENCE, admin.run_command(command)).await;
    asked.ok()?.ok()
}

/// What the one who has logged in may do.
#[derive(Debug)]
pub struct Privileges<'a> {
    pub user: &'a str,
    /// A resource and the actions on it, each.
    granted: Vec<&'a Document>,
}

impl<'a> Privileges<'a> {
    /// None where nobody has logged in.
    pub fn of(status: &'a Document) -> Option<Self> {
        let info = status.get_document("authInfo").ok()?;
        let users = info.get_array("authenticatedUsers").ok()?;
        let user = users.first()?.as_document()?.get_str("user").ok()?;
        let granted = info.get_array("authenticatedUserPrivileges").ok()?;
        Some(Self {
            user,
            granted: granted.iter().filter_map(Bson::as_document).collect(),
        })
    }

    /// Whether nothing at all is granted. Whoever may watch may do something: this is a server that only has the
    /// field.
    pub fn are_unknown(&self) -> bool {
        self.granted.is_empty()
    }

    /// Which of these actions are not granted on the collection; without a name, on every one of the database.
    pub fn lacking(
        &self,
        database: &str,
        collection: &str,
        needed: &[&'static str],
    ) -> Vec<&'static str> {
        let is_lacking = |action: &&str| !self.allow(database, collection, action);
        needed.iter().copied().filter(is_lacking).collect()
    }

    /// Says which of these actions are not granted on the collection; nothing where all are.
    pub fn told_lacking(&self, at: &Namespace, needed: &[&'static str]) -> Option<String> {
        let lacking = self.lacking(&at.database, &at.collection, needed);
        (!lacking.is_empty())
            .then(|| format!("user {} lacks {} on {at}", self.user, lacking.join(" and ")))
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
        let needed = ["find", "update"];
        let lacking = privileges.lacking("shop", "tokens", &needed);
        assert!(lacking.contains(&"update"));
        lacking == ["update"]
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
