//! Where the checkpoints live in MongoDB: one rule, whichever way the watched database is named.

use super::*;

const IN_MONGODB: (&str, &str) = ("RESUME_STORE", "mongodb");
const DEPLOYMENT: &[(&str, &str)] = &[("MONGODB_URI", "mongodb://h"), ("WATCH_DATABASES", "a,b")];

/// The database of the checkpoints, and as `tailwater config` tells it.
fn place(vars: &[(&str, &str)]) -> (String, String) {
    let loaded = load(&[&[IN_MONGODB], vars].concat()).unwrap();
    let ResumeBackend::MongoDb { database, .. } = loaded.config.streams[0].resume.backend.clone()
    else {
        panic!("another store")
    };
    let setting = loaded
        .settings
        .into_iter()
        .find(|setting| setting.variable == "RESUME_DATABASE");
    let setting = setting.unwrap();
    let told = format!("{} [{}]", setting.value.unwrap(), setting.origin);
    (database, told)
}

#[test]
fn it_is_the_watched_database_or_tailwater_where_several_are_watched_or_the_one_named() {
    let elsewhere = [
        ("MONGODB_URI", "mongodb://u:p@h/admin"),
        ("MONGODB_DATABASE", "shop"),
    ];
    let named = ("RESUME_DATABASE", "ops");
    for (vars, database, origin) in [
        (&[][..], "dashboard", "derived"),
        (&elsewhere, "shop", "derived"),
        (DEPLOYMENT, DEPLOYMENT_DATABASE, "derived"),
        (&[named], "ops", "env"),
        (&[elsewhere[0], elsewhere[1], named], "ops", "env"),
        (&[DEPLOYMENT[0], DEPLOYMENT[1], named], "ops", "env"),
        (&[("RESUME_DATABASE", "admin")], "admin", "env"),
    ] {
        let told = format!("{database} [{origin}]");
        assert_eq!(place(vars), (database.to_owned(), told), "{vars:?}");
    }
}

#[test]
fn the_rule_is_said_alike_wherever_it_is_said() {
    assert_eq!(DEPLOYMENT_DATABASE, "tailwater");
    let Fallback::Words(words) = table::RESUME_DATABASE.default else {
        panic!("a fixed default")
    };
    assert_eq!(
        words,
        "the watched database; tailwater with WATCH_DATABASES"
    );
    for (file, said) in [
        (
            "docs/checkpoints.md",
            "of the watched database, or of `tailwater` with `WATCH_DATABASES`",
        ),
        ("docs/configuration.md", "live in the watched database"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert!(
            std::fs::read_to_string(path).unwrap().contains(said),
            "{file}"
        );
    }
}

#[test]
fn another_store_needs_no_database() {
    let loaded = load(DEPLOYMENT).unwrap();
    let setting = loaded
        .settings
        .iter()
        .find(|setting| setting.variable == "RESUME_DATABASE");
    assert_eq!(setting.unwrap().value, None);
}
