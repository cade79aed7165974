//! Several instances: which settings can work together.

use super::*;

const LEASES: (&str, &str) = ("COORDINATION", "mongodb");
const HOST: (&str, &str) = ("MONGODB_URI", "mongodb://h");

fn refused(vars: &[(&str, &str)]) -> String {
    errors(&[&[LEASES], vars].concat())
}

#[test]
fn leases_have_a_database_and_times() {
    let alone = config(&[]);
    assert_eq!(alone.coordination, Coordination::None);
    assert_eq!(alone.streams[0].source.lease_database, None);
    let shared = config(&[LEASES]);
    let Coordination::MongoDb(leases) = &shared.coordination else {
        panic!("{:?}", shared.coordination)
    };
    assert_eq!(
        (leases.database.as_str(), leases.times),
        ("tailwater", LeaseTimes::default())
    );
    let left_out = shared.streams[0].source.lease_database.as_deref();
    assert_eq!(left_out, Some("tailwater"));
    // It fences nobody, so it takes part in nothing.
    assert!(!shared.for_dry_run().coordination.is_shared());
    let unused = warnings(&[("LEASE_TIMEOUT_MS", "500")]);
    assert!(unused.contains("without COORDINATION=mongodb"), "{unused}");
}

#[test]
fn times_that_cannot_work_are_refused_with_all_other_errors() {
    let said = refused(&[
        ("LEASE_HEARTBEAT_MS", "1000"),
        ("LEASE_TIMEOUT_MS", "2000"),
        ("LEASE_POLL_MS", "2001"),
        ("RESUME_STORE", "file"),
        ("LOG_FORMAT", "xml"),
    ]);
    for sentence in [
        "one heartbeat that is late would lose the lease",
        "must be at most LEASE_TIMEOUT_MS (2000)",
        "which a file cannot; set RESUME_STORE",
        "LOG_FORMAT",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let said = refused(&[("LEASE_HEARTBEAT_MS", "99"), ("LEASE_TIMEOUT_MS", "500")]);
    assert!(said.contains("from 100 to"), "{said}");
    assert!(!said.contains("late"), "{said}");
}

#[test]
fn the_leases_are_apart_from_what_is_watched() {
    let said = refused(&[("LEASE_DATABASE", "dashboard")]);
    assert!(said.contains("watches the database dashboard"), "{said}");
    let said = refused(&[HOST, ("STREAMS", "shop,tailwater")]);
    assert!(
        said.contains("tailwater watches the database tailwater"),
        "{said}"
    );
    let all = [LEASES, HOST, ("STREAMS", "all=*")];
    assert_eq!(warnings(&all), "");
    let named = [&all[..], &[("LEASE_DATABASE", "shop")]].concat();
    let said = warnings(&named);
    assert!(said.contains("all leaves the database shop out"), "{said}");
    let said = refused(&[("LEASE_DATABASE", "a.b")]);
    assert!(said.contains("LEASE_DATABASE"), "{said}");
    let said = refused(&[
        ("RESUME_STORE", "mongodb"),
        ("RESUME_DATABASE", "tailwater"),
        ("RESUME_COLLECTION", "leases"),
    ]);
    assert!(said.contains("tailwater.leases"), "{said}");
}
