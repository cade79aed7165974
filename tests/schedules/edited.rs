//! Documents that are written, changed, broken and removed while they are run.

use super::{assert_each_once, committed, dues, put, schedule, scheduling, status, topic};
use crate::support::{self, PATIENCE, eventually};
use bson::{DateTime, doc};

#[tokio::test]
async fn a_schedule_is_changed_broken_mended_and_removed_while_it_runs() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let schedules = db.documents("schedules");
    put(&db, schedule(&db, "a", doc! {"every": "1s"})).await;
    put(&db, schedule(&db, "tick", doc! {"every": "1s"})).await;
    let mut process = scheduling(&db, kafka).start().await;
    committed(kafka, &topic(&db, "a"), 2).await;

    let set = async |set| {
        schedules
            .update_one(doc! {"_id": "a"}, doc! {"$set": set})
            .await
            .unwrap()
    };
    set(doc! {"every": "often"}).await;
    let told = status(&db, "a", "invalid").await;
    assert!(
        told.get_str("reason").unwrap().contains("such as 15m"),
        "{told}"
    );
    let line = process.wait_for_event("schedule_refused").await;
    assert!(
        line.contains("schedule=\"a\"") && line.contains("such as 15m"),
        "{line}"
    );
    let broken = kafka.committed_records(&[&topic(&db, "a")]).await.len();
    let ticks = kafka.committed_records(&[&topic(&db, "tick")]).await.len();
    committed(kafka, &topic(&db, "tick"), ticks + 2).await;
    assert_eq!(
        kafka.committed_records(&[&topic(&db, "a")]).await.len(),
        broken
    );
    let detailed = process.get("/health/detailed").await.json();
    assert_eq!(
        detailed["schedules"]["problems"][0]["name"], "a",
        "{detailed}"
    );

    set(doc! {"every": "2s"}).await;
    status(&db, "a", "active").await;
    process.wait_for_event("schedule_works").await;
    let mended = committed(kafka, &topic(&db, "a"), broken + 2).await;
    assert_each_once(&mended[broken..], 2_000);

    // Two of one name: the first keeps it. One of a topic that is not allowed gets nothing.
    let mut twin = schedule(&db, "tick", doc! {"every": "1s"});
    twin.insert("_id", "tick-twin");
    put(&db, twin).await;
    let mut elsewhere = schedule(&db, "elsewhere", doc! {"every": "1s"});
    elsewhere.insert("topic", "other.topic");
    put(&db, elsewhere).await;
    let told = status(&db, "tick-twin", "invalid").await;
    assert!(
        told.get_str("reason")
            .unwrap()
            .contains("name: tick is also"),
        "{told}"
    );
    let told = status(&db, "elsewhere", "invalid").await;
    assert!(
        told.get_str("reason").unwrap().contains("LISTENERS_TOPICS"),
        "{told}"
    );

    schedules.delete_one(doc! {"_id": "a"}).await.unwrap();
    eventually(PATIENCE, "a is gone", async || {
        let detailed = process.get("/health/detailed").await.json();
        (detailed["schedules"]["count"]["active"] == 1).then_some(())
    })
    .await;
    let gone = kafka.committed_records(&[&topic(&db, "a")]).await.len();
    let ticks = kafka.committed_records(&[&topic(&db, "tick")]).await.len();
    committed(kafka, &topic(&db, "tick"), ticks + 3).await;
    assert_eq!(
        kafka.committed_records(&[&topic(&db, "a")]).await.len(),
        gone
    );
    process.stop().await;
}

/// Their database is dropped and restored, as by mistake: one time that had its record gets no second one.
#[tokio::test]
async fn schedules_come_back_after_their_database_was_dropped_and_what_was_done_stays_done() {
    let (data, of_schedules) = (support::database().await, support::database().await);
    let kafka = support::kafka().await;
    let past = DateTime::from_millis(1_700_000_000_000);
    let all = [
        schedule(&of_schedules, "tick", doc! {"every": "1s"}),
        schedule(&of_schedules, "one", doc! {"at": past}),
    ];
    let restore = async || {
        of_schedules
            .documents("schedules")
            .insert_many(&all)
            .await
            .unwrap()
    };
    restore().await;
    let setup = scheduling(&data, kafka)
        .env(
            "SCHEDULES_COLLECTION",
            format!("{}.schedules", of_schedules.name()),
        )
        .env("LISTENERS_TOPICS", format!("{}.*", of_schedules.name()));
    let mut process = setup.start().await;
    committed(kafka, &topic(&of_schedules, "one"), 1).await;
    committed(kafka, &topic(&of_schedules, "tick"), 2).await;
    of_schedules.documents("schedules").drop().await.unwrap();
    process.wait_for_event("schedules_gone").await;
    let count = async |wanted: u64| {
        eventually(
            PATIENCE,
            &format!("{wanted} schedules are seen"),
            async || {
                let detailed = process.get("/health/detailed").await.json();
                let count = &detailed["schedules"]["count"];
                (count["active"].as_u64()? + count["done"].as_u64()? == wanted).then_some(())
            },
        )
        .await;
    };
    count(0).await;
    restore().await;
    count(2).await;
    let ticks = kafka
        .committed_records(&[&topic(&of_schedules, "tick")])
        .await;
    let ticks = committed(kafka, &topic(&of_schedules, "tick"), ticks.len() + 3).await;
    assert!(dues(&ticks).is_sorted_by(|one, other| one < other));
    let ones = kafka
        .committed_records(&[&topic(&of_schedules, "one")])
        .await;
    assert_eq!(dues(&ones), [past.timestamp_millis()]);
    process.stop().await;
}

#[tokio::test]
async fn a_file_of_schedules_is_run_and_a_wrong_one_is_refused_whole() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = scheduling(&db, kafka).without("SCHEDULES_COLLECTION");
    let write = |name: &str, text: &str| {
        let path = setup.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let wrong = write(
        "wrong.yaml",
        "- {name: a, every: 1x, jobName: j}\n- {name: b, jobName: j}\n",
    );
    let refused = setup.clone().env("SCHEDULES_FILE", wrong).run().await;
    assert_eq!(refused.code, Some(2), "{}", refused.output);
    for part in [
        "schedules[0]: every",
        "schedules[1]: says not when",
        "wrong.yaml",
    ] {
        assert!(refused.output.contains(part), "{part}: {}", refused.output);
    }
    let text = format!(
        "schedules:\n- {{name: a, every: 1s, jobName: j, topic: {}}}\n",
        topic(&db, "a")
    );
    let process = setup
        .clone()
        .env("SCHEDULES_FILE", write("right.yaml", &text))
        .start()
        .await;
    let records = committed(kafka, &topic(&db, "a"), 3).await;
    assert_each_once(&records, 1_000);
    process.stop().await;
}

#[tokio::test]
async fn files_of_schedules_are_checked_without_a_server() {
    let setup = support::Setup::empty();
    let right = setup.folder().join("right.yaml");
    let text = "schedules:\n- {name: report, cron: \"0 9 * * 1-5\", timezone: Europe/Berlin, jobName: sendReport}\n\
        - {name: later, kind: due, database: shop, collection: mails, dueField: at, jobName: j, topic: jobs.later}\n";
    std::fs::write(&right, text).unwrap();
    let wrong = setup.folder().join("wrong.json");
    std::fs::write(
        &wrong,
        r#"[{"name": "a", "every": "1x"}, {"name": "b"}, 5]"#,
    )
    .unwrap();
    let (right, wrong) = (right.display().to_string(), wrong.display().to_string());
    let lint = async |files: &[&str]| {
        let args = [&["schedules", "lint"][..], files].concat();
        setup.clone().args(&args).run().await
    };
    let linted = lint(&[&right]).await;
    assert_eq!(linted.code, Some(0), "{}", linted.output);
    for part in [
        "report: cron 0 9 * * 1-5 Europe/Berlin -> jobs.sendReport",
        "-> jobs.later",
        "2 right",
    ] {
        assert!(linted.output.contains(part), "{part}: {}", linted.output);
    }
    let linted = lint(&[&right, &wrong]).await;
    assert_eq!(linted.code, Some(2), "{}", linted.output);
    for part in [
        "2 right",
        "wrong.json: schedules[0]: every",
        "schedules[1]: says not when it is due; give one of cron, every and at; jobName: is missing",
        "schedules[2]: is no object",
    ] {
        assert!(linted.output.contains(part), "{part}: {}", linted.output);
    }
}
