//! Schedules on the page.

use super::{assert_sound, open, setup};
use crate::support;
use bson::doc;

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_shown_with_their_next_times_and_one_is_run() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("job");
    let schedule = doc! {"name": "yearly", "cron": "0 9 1 1 *", "jobName": "j", "topic": &topic};
    db.documents("schedules")
        .insert_one(schedule)
        .await
        .unwrap();
    db.documents("schedules")
        .insert_one(doc! {"name": "wrong"})
        .await
        .unwrap();
    let tailwater = setup(&db, kafka)
        .env("SCHEDULES_COLLECTION", format!("{}.schedules", db.name()))
        .env("LISTENERS_TOPICS", format!("{}.*", db.name()))
        .start()
        .await;
    let page = open(&tailwater, "schedules").await;
    for text in [
        "yearly",
        "cron 0 9 1 1 * UTC",
        "in ",
        "days",
        "says not when it is due",
    ] {
        page.until(&format!(
            "document.getElementById('main').textContent.includes('{text}')"
        ))
        .await;
    }
    page.click("Run yearly now").await;
    // The question whether that is meant.
    page.click("Run now").await;
    kafka.wait_for_records(&[&topic], 1).await;
    assert_sound(&page, &tailwater);
    tailwater.stop().await;
}
