use super::reach::Kind;
use super::*;
use crate::source::filter::tests::source;

fn findings(version: &str, change: impl FnOnce(&mut Source)) -> Vec<Finding> {
    let mut asked = source(&[], &[], &[]);
    change(&mut asked);
    versions(&Server::new(version, Some("rs0")), &asked)
}

fn worst(findings: &[Finding]) -> Severity {
    findings
        .iter()
        .map(|finding| finding.severity)
        .max()
        .unwrap()
}

#[test]
fn what_an_old_server_lacks_is_an_error_only_when_it_was_asked_for() {
    assert_eq!(worst(&findings("8.0.4", |_| {})), Severity::Ok);
    assert_eq!(worst(&findings("6.0.9-rc1", |_| {})), Severity::Ok);
    assert_eq!(worst(&findings("6.0.8", |_| {})), Severity::Warn);
    assert_eq!(worst(&findings("4.4.29", |_| {})), Severity::Warn);
    assert_eq!(worst(&findings("4.2.0", |_| {})), Severity::Error);

    let asked = findings("5.0.1", |asked| {
        asked.pre_images = PreImages::WhenAvailable;
        asked.full_document = FullDocument::Required;
        asked.show_expanded_events = true;
    });
    let errors: Vec<_> = asked
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    for (error, variable) in errors
        .iter()
        .zip(["BEFORE_CHANGE", "FULL_DOCUMENT", "EXPANDED"])
    {
        assert!(
            error.sentence.contains(variable) && error.remedy.is_some(),
            "{error}"
        );
        assert!(!error.is_transient);
    }
}

#[test]
fn a_hello_tells_what_kind_of_server_it_is() {
    let member = |set: &str, has_primary| Kind::Member {
        set: set.into(),
        has_primary,
    };
    for (hello, kind) in [
        (doc! {"msg": "isdbgrid"}, Kind::Sharded),
        (
            doc! {"setName": "rs0", "isWritablePrimary": true},
            member("rs0", true),
        ),
        (
            doc! {"setName": "rs0", "secondary": true, "primary": "a:1"},
            member("rs0", true),
        ),
        (
            doc! {"setName": "rs0", "secondary": true},
            member("rs0", false),
        ),
        (doc! {"isreplicaset": true}, Kind::NotInitiated),
        (doc! {"isWritablePrimary": true}, Kind::Standalone),
    ] {
        assert_eq!(Kind::of(&hello), kind, "{hello}");
    }
}
