use super::*;
use crate::listener::told;
use bson::doc;

fn wrong(document: Document) -> String {
    told(&Schedule::read(&document).unwrap_err())
}

#[test]
fn a_schedule_is_read_whole() {
    let read = Schedule::read(&doc! {
        "_id": 7, "name": "report", "cron": "0 9 * * 1-5", "timezone": "Europe/Berlin", "jobName": "send-report",
        "payload": {"to": "all"}, "priority": 3, "isActive": false, "missed": "all", "team": "our own",
    });
    let schedule = read.unwrap();
    assert_eq!(schedule.timing(), "cron 0 9 * * 1-5 Europe/Berlin");
    assert_eq!(
        (schedule.topic.as_str(), schedule.priority.as_str()),
        ("jobs.send-report", "3")
    );
    assert!(!schedule.is_active && schedule.missed == Missed::All);
    let every =
        Schedule::read(&doc! {"name": "a", "every": "15m", "jobName": "j", "topic": "jobs.x"})
            .unwrap();
    assert_eq!(
        (every.timing().as_str(), every.topic.as_str()),
        ("every 15m", "jobs.x")
    );
    assert_eq!((every.priority.as_str(), every.missed), ("1", Missed::Once));
    let date = bson::DateTime::from_millis(1_800_000_000_000);
    let at = Schedule::read(&doc! {"name": "a", "at": date, "jobName": "j"}).unwrap();
    let text =
        Schedule::read(&doc! {"name": "a", "at": "2027-01-15T08:00:00Z", "jobName": "j"}).unwrap();
    assert_eq!(at.timing(), text.timing());
    assert_eq!(at.priority, "5");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let all = wrong(doc! {
        "cron": "61 * * * *", "timezone": "Mars/Olympus", "jobName": "a b", "isActive": "yes", "missed": "twice",
        "prioritty": 1,
    });
    for part in [
        "name: is missing",
        "cron: is no cron line",
        "Europe/Berlin",
        "Kafka allows no ' '",
        "isActive",
        "missed: is none of",
        "did you mean priority",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let named = |more: Document| {
        let mut document = doc! {"name": "a", "jobName": "j"};
        document.extend(more);
        wrong(document)
    };
    assert!(named(doc! {}).contains("give one of cron, every and at"));
    assert!(named(doc! {"cron": "* * * * *", "every": "1m"}).contains("at once"));
    assert!(named(doc! {"cron": "0 0 30 2 *"}).contains("never comes"));
    assert!(named(doc! {"every": "1x"}).contains("such as 15m"));
    assert!(named(doc! {"at": "tomorrow"}).contains("2027-01-31"));
    assert!(named(doc! {"at": 5}).contains("give a date"));
    assert!(named(doc! {"every": "1m", "timezone": "UTC"}).contains("with cron only"));
    assert!(named(doc! {"every": "1m", "topic": "jobs.{database}"}).contains("placeholder"));
    assert!(named(doc! {"every": "1m", "dueField": "x"}).contains("kind: \"due\" only"));
    assert!(named(doc! {"every": "1m", "kind": "later"}).contains("is not \"due\""));
    assert!(named(doc! {"kind": "due"}).contains("dueField: is missing"));
    assert!(wrong(doc! {"name": "\n", "every": "1m", "jobName": "j"}).contains("name: is"));
}

#[test]
fn every_field_is_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schedules.md");
    let page = std::fs::read_to_string(page).unwrap();
    for fields::Field { name, .. } in &fields::ALL {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}
