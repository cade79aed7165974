//! Does a checkpoint fit what is configured now?

use super::filter::{FilterChange, describe_change};
use super::{Checkpoint, Filter};
use crate::change::position::Seq;
use crate::config::Scope;
use crate::error::{Code, Error};
use crate::mongo::identity::same_source;

/// How to resume from a checkpoint that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on from its position.
    Continue,
    /// Go on from its token, but number the events from `seq`, and say what has changed.
    FilterChanged { seq: Seq, change: FilterChange },
}

/// Compares the checkpoint with the source, the namespace (a database or `*`) and the filter of now.
///
/// What a checkpoint does not know (an empty field, as after an import) is not compared.
///
/// # Errors
/// [`Code::TokenInvalid`] when it is of another source or database: its token means nothing here.
pub fn verify(
    checkpoint: &Checkpoint,
    source: &str,
    namespace: &str,
    filter: &Filter,
) -> Result<Decision, Error> {
    if !same_source(&checkpoint.source, source) {
        return Err(Error::new(
            Code::TokenInvalid,
            format!(
                "the checkpoint of stream {} is of another MongoDB deployment ({}; this one is {source}), \
                 where its resume token means nothing: choose another STREAM_ID, \
                 or forget the checkpoint to start anew",
                checkpoint.stream, checkpoint.source
            ),
        ));
    }
    if !checkpoint.namespace.is_empty() && checkpoint.namespace != namespace {
        return Err(Error::new(
            Code::TokenInvalid,
            format!(
                "the checkpoint of stream {} is of {}, and {} is to be watched: choose another \
                 STREAM_ID, or forget the checkpoint to start anew",
                checkpoint.stream,
                spoken(&checkpoint.namespace),
                spoken(namespace)
            ),
        ));
    }
    Ok(match describe_change(&checkpoint.filter, filter) {
        None => Decision::Continue,
        Some(change) => Decision::FilterChanged {
            seq: Seq::renewed(Some(checkpoint.position.seq)),
            change,
        },
    })
}

fn spoken(namespace: &str) -> String {
    match namespace {
        Scope::DEPLOYMENT => "the whole deployment".into(),
        database => format!("database {database}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::extra::Extra;
    use crate::change::position::{Position, ResumeToken};

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            stream: "watcher:shop".into(),
            namespace: "shop".into(),
            source: "replset:rs0:65bc9fb6c485f419a7a877fe".into(),
            filter: Filter {
                fingerprint: "aa".into(),
                summary: r#"{"scope":"shop","watch":["users"]}"#.into(),
            },
            instance: "one".into(),
            epoch: 1,
            position: Position {
                token: ResumeToken::from_data("8265"),
                seq: Seq(u64::MAX / 4),
                time_millis: None,
                cluster_time: None,
                extra: Extra::default(),
            },
            updated_at_millis: 0,
        }
    }

    fn filter(fingerprint: &str, summary: &str) -> Filter {
        Filter {
            fingerprint: fingerprint.into(),
            summary: summary.into(),
        }
    }

    #[test]
    fn a_checkpoint_of_another_source_or_database_is_refused_with_both_names() {
        let same = filter("aa", "");
        let source = verify(
            &checkpoint(),
            "replset:rs0:77bc9fb6c485f419a7a877fe",
            "shop",
            &same,
        )
        .unwrap_err();
        assert_eq!(source.code, Code::TokenInvalid);
        assert!(source.detail.contains(":65bc") && source.detail.contains(":77bc"));
        let database = verify(
            &checkpoint(),
            "replset:rs0:65bc9fb6c485f419a7a877fe",
            "*",
            &same,
        )
        .unwrap_err();
        assert_eq!(database.code, Code::TokenInvalid);
        assert!(database.detail.contains("shop") && database.detail.contains("whole deployment"));
    }

    #[test]
    fn a_changed_filter_goes_on_with_a_new_number_and_names_what_is_new() {
        let changed = filter("bb", r#"{"scope":"shop","watch":["invoices","users"]}"#);
        match verify(
            &checkpoint(),
            "replset:rs0:65bc9fb6c485f419a7a877fe",
            "shop",
            &changed,
        )
        .unwrap()
        {
            Decision::FilterChanged { seq, change } => {
                assert!(seq > checkpoint().position.seq);
                assert!(change.sentence.contains("invoices"), "{change:?}");
            }
            Decision::Continue => panic!("the change was missed"),
        }
    }

    #[test]
    fn what_the_checkpoint_does_not_know_is_not_compared() {
        let mut imported = checkpoint();
        imported.source.clear();
        imported.filter = Filter::default();
        let decision = verify(&imported, "replset:rs9", "shop", &filter("bb", "x")).unwrap();
        assert_eq!(decision, Decision::Continue);
    }
}
