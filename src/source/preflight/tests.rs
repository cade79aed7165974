use super::reach::Kind;
use super::*;
use bson::doc;

#[test]
fn a_version_alone_refuses_nobody() {
    let severity = |number: &str| version(&Server::new(number, Some("rs0"))).severity;
    for number in ["8.0.4", "6.0.9-rc1", "6.0.8", "5.0.0", "4.4.29"] {
        assert_eq!(severity(number), Severity::Ok, "{number}");
    }
    assert_eq!(severity("4.0.0"), Severity::Warn);
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
