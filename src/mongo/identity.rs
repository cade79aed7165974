//! Which deployment this is, so that a token of another one is refused.
//!
//! What can be read depends on the user's privileges, and those change: two identities are only
//! held against each other in what both of them say.

use crate::error::Error;
use crate::mongo::errors::{self, Phase};
use bson::{Bson, Document, doc};
use mongodb::Client;
use std::fmt;

/// The identity of a replica set or a sharded cluster, as checkpoints keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// `replset:<name>` or `replset:<name>:<replicaSetId>`.
    ReplicaSet { name: String, id: Option<String> },
    /// `sharded` or `sharded:<clusterId>`.
    Sharded { id: Option<String> },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match self {
            Self::ReplicaSet { name, id } => {
                write!(f, "replset:{name}")?;
                id
            }
            Self::Sharded { id } => {
                f.write_str("sharded")?;
                id
            }
        };
        id.as_ref().map_or(Ok(()), |id| write!(f, ":{id}"))
    }
}

impl Identity {
    /// Reads what [`Display`](fmt::Display) wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("replset:") {
            // An id is hex digits; the name of a set may hold colons.
            let (name, id) = match rest.rsplit_once(':') {
                Some((name, id)) if is_hex_id(id) => (name, Some(id.to_owned())),
                _ => (rest, None),
            };
            return Some(Self::ReplicaSet {
                name: name.to_owned(),
                id,
            });
        }
        let rest = text.strip_prefix("sharded")?;
        match rest.strip_prefix(':') {
            Some(id) => Some(Self::Sharded {
                id: Some(id.to_owned()),
            }),
            None => rest.is_empty().then_some(Self::Sharded { id: None }),
        }
    }
}

fn is_hex_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a checkpoint of `stored` belongs to the deployment `current`. Where one of them does not
/// say enough to be sure, it does.
pub fn same_source(stored: &str, current: &str) -> bool {
    let (Some(stored), Some(current)) = (Identity::parse(stored), Identity::parse(current)) else {
        return true;
    };
    match (stored, current) {
        (
            Identity::ReplicaSet {
                name: stored_name,
                id: stored_id,
            },
            Identity::ReplicaSet { name, id },
        ) => stored_id
            .zip(id)
            .map_or(stored_name == name, |(stored, id)| stored == id),
        (Identity::Sharded { id: stored }, Identity::Sharded { id }) => {
            stored.zip(id).is_none_or(|(stored, id)| stored == id)
        }
        _ => false,
    }
}

/// Asks the server who it is.
///
/// # Errors
/// When `hello` fails, or tells of a standalone server. An id that may not be read is left out.
pub async fn identify(client: &Client) -> Result<Identity, Error> {
    let admin = client.database("admin");
    let hello = admin
        .run_command(doc! {"hello": 1})
        .await
        .map_err(|error| errors::error("asking the server who it is", &error, Phase::Other))?;
    if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        let versions = client.database("config").collection::<Document>("version");
        let version = versions.find_one(doc! {}).await.ok().flatten();
        let id = version.and_then(|version| id_of(version.get("clusterId")?));
        return Ok(Identity::Sharded { id });
    }
    let Ok(name) = hello.get_str("setName") else {
        let detail = "the server is no member of a replica set, and only those have change streams";
        return Err(Error::new(errors::SourceFault::Standalone.code(), detail));
    };
    let id = match admin.run_command(doc! {"replSetGetConfig": 1}).await {
        Ok(reply) => reply
            .get_document("config")
            .and_then(|config| config.get_document("settings"))
            .ok()
            .and_then(|settings| id_of(settings.get("replicaSetId")?)),
        // A privilege that a user who only reads does not have.
        Err(_) => None,
    };
    Ok(Identity::ReplicaSet {
        name: name.to_owned(),
        id,
    })
}

fn id_of(value: &Bson) -> Option<String> {
    Some(value.as_object_id()?.to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "65bc9fb6c485f419a7a877fe";
    const OTHER: &str = "65bc9fb6c485f419a7a87700";

    #[test]
    fn an_identity_is_read_back_as_it_was_written() {
        for text in [
            "replset:rs0".to_owned(),
            "replset:a:b".to_owned(),
            format!("replset:a:b:{ID}"),
            "sharded".to_owned(),
            format!("sharded:{ID}"),
        ] {
            assert_eq!(Identity::parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn ids_decide_where_both_are_known_and_names_where_not() {
        let set = |name: &str, id: &str| format!("replset:{name}:{id}");
        assert!(same_source(&set("rs0", ID), &set("rs0", ID)));
        assert!(same_source(&set("rs0", ID), &set("renamed", ID)));
        assert!(!same_source(&set("rs0", ID), &set("rs0", OTHER)));
        assert!(!same_source("replset:rs0", "replset:rs1"));
    }

    #[test]
    fn a_privilege_gained_or_lost_never_refuses() {
        let known = format!("replset:rs0:{ID}");
        assert!(same_source("replset:rs0", &known) && same_source(&known, "replset:rs0"));
        let known = format!("sharded:{ID}");
        assert!(same_source("sharded", &known) && same_source(&known, "sharded"));
        assert!(!same_source(&known, &format!("sharded:{OTHER}")));
    }

    #[test]
    fn a_cluster_is_no_replica_set_and_what_cannot_be_read_refuses_nothing() {
        assert!(!same_source("sharded", "replset:rs0"));
        assert!(same_source("", "replset:rs0") && same_source("of a later version", "sharded"));
    }
}
