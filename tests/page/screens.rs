//! What each screen shows, and what can be done on it.

use super::{DESKTOP, TOKEN, assert_sound, keep, open, setup};
use crate::support::{self, Chromium, PATIENCE, eventually, unique};
use bson::doc;

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_needs_no_token_and_its_charts_move() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = setup(&db, kafka).start().await;
    let addr = tailwater.http_addr().unwrap();
    let page = Chromium::open(&format!("http://{addr}/"), DESKTOP).await;
    page.reads(db.name()).await;
    let users = db.documents("users");
    users
        .insert_many((0..50).map(|id| doc! {"_id": id}))
        .await
        .unwrap();
    page.until(
        "[...document.querySelectorAll('dt')].some((one) => one.textContent === 'Events' \
         && one.nextSibling.textContent === '50')",
    )
    .await;
    page.until("document.querySelectorAll('.chart canvas').length === 4")
        .await;
    // The words under the charts say what their last points are.
    page.until(
        "/[1-9][0-9.]* ms/.test(document.querySelectorAll('.chart .unseen')[2].textContent)",
    )
    .await;
    assert_eq!(
        page.evaluate("document.querySelectorAll('dialog').length")
            .await,
        0
    );
    // What shows more asks.
    page.click("Listeners").await;
    page.fill("ADMIN_TOKEN", TOKEN).await;
    page.click("Use it").await;
    page.reads("LISTENERS_COLLECTION is not set").await;
    assert_sound(&page, &tailwater);
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_paused_and_resumed() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = setup(&db, kafka).start().await;
    let page = open(&tailwater, &format!("stream/{}", db.name())).await;
    page.click("Pause").await;
    // The dialog asks first.
    page.click("Pause").await;
    page.until("document.querySelector('#main .word')?.textContent === 'paused'")
        .await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    page.click("Resume").await;
    page.until("document.querySelector('#main .word')?.textContent === 'running'")
        .await;
    kafka.wait_for_records(&[&db.topic("changes")], 1).await;
    page.reads("users").await;
    assert_sound(&page, &tailwater);
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_and_followed() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let documents = (0..30).map(|id| doc! {"_id": id, "open": id < 7});
    db.documents("users").insert_many(documents).await.unwrap();
    let tailwater = setup(&db, kafka).start().await;
    let page = open(&tailwater, &format!("stream/{}", db.name())).await;
    page.reads("None has been taken here").await;
    page.click("Take a snapshot…").await;
    page.fill("Collection", "users").await;
    page.fill("Query", r#"{"open": true}"#).await;
    page.click("Start").await;
    kafka.wait_for_records(&[&db.topic("changes")], 7).await;
    page.reads("finished").await;
    assert_sound(&page, &tailwater);
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_tried_created_changed_disabled_and_deleted() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let job = unique("job");
    let jobs = format!("jobs.{job}");
    let tailwater = setup(&db, kafka)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .start()
        .await;
    let batches = db.documents("batches");
    batches
        .insert_one(doc! {"_id": 1, "status": "received"})
        .await
        .unwrap();
    batches
        .insert_one(doc! {"_id": 2, "status": "done"})
        .await
        .unwrap();
    kafka.wait_for_records(&[&db.topic("changes")], 2).await;
    let page = open(&tailwater, "listeners").await;

    page.click("New listener").await;
    page.fill("Collection", "batches").await;
    page.fill("Job", &job).await;
    page.fill("Filter", "{\"status\": ").await;
    page.click("Try on the last events").await;
    page.reads("Filter: is not JSON").await;
    page.fill("Filter", r#"{"status": "received"}"#).await;
    page.click("Try on the last events").await;
    page.reads("1 of 2 newest records").await;
    page.reads("the filter does not match the document").await;
    page.click("Save").await;
    let title = format!("batches -> {job}");
    page.reads(&title).await;
    active(&page, "active").await;
    batches
        .insert_one(doc! {"_id": 3, "status": "received"})
        .await
        .unwrap();
    kafka.wait_for_records(&[&jobs], 1).await;

    page.click(&format!("Edit {title}")).await;
    page.fill("Filter", r#"{"status": "done"}"#).await;
    page.click("Save").await;
    page.until("!document.querySelector('dialog[open]')").await;
    batches
        .insert_one(doc! {"_id": 4, "status": "received"})
        .await
        .unwrap();
    batches
        .insert_one(doc! {"_id": 5, "status": "done"})
        .await
        .unwrap();
    let records = kafka.wait_for_records(&[&jobs], 2).await;
    assert_eq!(records[1].value["fullDocument"]["_id"], 5);

    page.click(&format!("Disable {title}")).await;
    active(&page, "disabled").await;
    batches
        .insert_one(doc! {"_id": 6, "status": "done"})
        .await
        .unwrap();
    page.click(&format!("Enable {title}")).await;
    active(&page, "active").await;
    batches
        .insert_one(doc! {"_id": 7, "status": "done"})
        .await
        .unwrap();
    let records = kafka.wait_for_records(&[&jobs], 3).await;
    assert_eq!(records[2].value["fullDocument"]["_id"], 7);

    page.click(&format!("History {title}")).await;
    page.reads(r#"filter: {"status":"received"} → {"status":"done"}"#)
        .await;
    page.reads("disabled").await;
    page.click("Close").await;
    page.click(&format!("Delete {title}")).await;
    page.click("Delete").await;
    page.reads("The first one makes records as soon as it is saved.")
        .await;
    page.until("document.querySelector('#main td .word')?.textContent === 'deleted'")
        .await;
    assert_eq!(
        db.documents("listeners")
            .count_documents(doc! {})
            .await
            .unwrap(),
        0
    );
    assert_sound(&page, &tailwater);
    tailwater.stop().await;
}

async fn active(page: &Chromium, state: &str) {
    page.until(&format!(
        "document.querySelector('#main td .word')?.textContent === '{state}'"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_shown_and_replayed() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "2000")])
        .await;
    let tailwater = setup(&db, kafka)
        .env("KAFKA_DLQ_TOPIC", format!("{topic}.dead"))
        .env("ON_RECORD_ERROR", "dlq")
        .env("ADMIN_SHOW_DOCUMENTS", "true")
        .start()
        .await;
    let users = db.documents("users");
    users
        .insert_one(doc! {"_id": 1, "text": "x".repeat(3_000)})
        .await
        .unwrap();
    kafka.wait_for_records(&[&format!("{topic}.dead")], 1).await;
    let page = open(&tailwater, "letters").await;
    page.reads("too_large").await;
    let show = "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Show')";
    page.until(&format!("{show}?.click() === undefined")).await;
    page.reads("xxxxxxxx").await;
    page.click("Close").await;
    kafka
        .alter_topic(&topic, &[("max.message.bytes", "1000000")])
        .await;
    // The new limit may take a moment to be known.
    eventually(PATIENCE, "it is replayed", async || {
        page.click("Replay all").await;
        page.click("Replay").await;
        page.until("/[01] replayed/.test(document.querySelector('#main').innerText)")
            .await;
        let told = page
            .evaluate("document.querySelector('#main').innerText")
            .await;
        told.as_str()?.contains("1 replayed, 0 left.").then_some(())
    })
    .await;
    kafka.wait_for_records(&[&topic], 1).await;
    assert_sound(&page, &tailwater);
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_tail_stays_usable_under_thousands_of_events() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = setup(&db, kafka)
        .env("ADMIN_SHOW_DOCUMENTS", "true")
        .start()
        .await;
    let users = db.documents("users");
    users.insert_one(doc! {"_id": -1}).await.unwrap();
    kafka.wait_for_records(&[&db.topic("changes")], 1).await;
    let page = open(&tailwater, "tail").await;
    page.until("document.getElementById('t-stream').options.length === 1")
        .await;
    page.fill("Filter", r#"{"n": {"$gte": 0}}"#).await;
    page.click("Start").await;
    page.until("!document.querySelector('#tail').hidden && [...document.querySelectorAll('button')].some((one) => one.textContent === 'Stop' && !one.hidden)").await;
    let writing = tokio::spawn(async move {
        // The tail begins where the topics end once it has joined: something comes after that for sure.
        for batch in 0..30 {
            let documents = (0..1000).map(|n| doc! {"_id": batch * 1000 + n, "n": n});
            users.insert_many(documents).await.unwrap();
        }
    });
    page.until("document.querySelectorAll('#tail li').length > 20")
        .await;
    page.click("Pause").await;
    page.click("Continue").await;
    writing.await.unwrap();
    page.until(
        "/[1-9][0-9,]* left out/.test(document.querySelector('#main [role=status]').textContent)",
    )
    .await;
    let listed = page
        .evaluate("document.querySelectorAll('#tail li').length")
        .await;
    assert!(listed.as_u64().unwrap() <= 500, "{listed}");
    page.evaluate("document.querySelector('#tail button').click()")
        .await;
    page.reads("Produced").await;
    page.reads("tw-seq").await;
    page.click("Close").await;
    page.click("Stop").await;
    assert_sound(&page, &tailwater);
    tailwater.stop().await;
}

/// Every screen, in both schemes and in a narrow window: no serious fault, and nothing sticks out.
#[tokio::test(flavor = "multi_thread")]
async fn every_screen_can_be_used_by_everybody() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = setup(&db, kafka)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("KAFKA_DLQ_TOPIC", db.topic("dead"))
        .start()
        .await;
    let listener = doc! {"collection": "users", "jobName": unique("job"), "operationType": ["insert"], "isActive": true};
    db.documents("listeners")
        .insert_one(listener)
        .await
        .unwrap();
    let wrong = doc! {"collection": "users", "jobName": unique("job"), "filter": {"$where": "1"}};
    db.documents("listeners").insert_one(wrong).await.unwrap();
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    kafka.wait_for_records(&[&db.topic("changes")], 1).await;
    let stream = format!("stream/{}", db.name());
    let screens = [
        "overview",
        &stream,
        "listeners",
        "letters",
        "tail",
        "instances",
    ];
    let page = open(&tailwater, "overview").await;
    for (scheme, width) in [("light", 1280), ("dark", 1280), ("light", 400)] {
        page.scheme(scheme).await;
        page.size(width, 900).await;
        for screen in screens {
            page.evaluate(&format!("location.hash = '{screen}'; true"))
                .await;
            page.until(ready(screen)).await;
            let found = page.inaccessible().await;
            assert_eq!(
                found,
                Vec::<String>::new(),
                "{screen}, {scheme}, {width} px"
            );
            let wide = page
                .evaluate("document.documentElement.scrollWidth - innerWidth")
                .await;
            assert!(
                wide.as_i64().unwrap() <= 0,
                "{screen} is {wide} px too wide at {width} px"
            );
            keep(&page, screen, scheme, width).await;
        }
    }
    page.evaluate("location.hash = 'listeners'; true").await;
    page.click("New listener").await;
    assert_eq!(
        page.inaccessible().await,
        Vec::<String>::new(),
        "the form of a listener"
    );
    assert_sound(&page, &tailwater);
    tailwater.stop().await;
}

/// What a screen has once it is there.
fn ready(screen: &str) -> &'static str {
    match screen {
        "overview" => {
            // A chart that has a point says its last one.
            "document.querySelectorAll('.card').length > 0 && document.querySelector('.chart .unseen')?.textContent.includes('/s')"
        }
        "listeners" => "document.querySelector('#main tbody')?.rows.length === 2",
        "letters" => {
            "document.querySelector('#main h3, #main p:not(:empty)') !== null && document.querySelector('#letters-stream')?.options.length === 1"
        }
        "tail" => "document.getElementById('t-stream')?.options.length === 1",
        "instances" => "document.querySelectorAll('#main tbody tr').length === 1",
        _ => {
            "document.querySelectorAll('.chart canvas').length === 4 && document.querySelectorAll('#main tbody tr').length > 2"
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_changes_nothing_and_is_asked_for_again() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = setup(&db, kafka).start().await;
    let page = open(&tailwater, &format!("stream/{}", db.name())).await;
    page.evaluate("sessionStorage.setItem('tailwater-token', 'not-the-token-of-this-one'); true")
        .await;
    page.click("Pause").await;
    page.click("Pause").await;
    page.reads("The token is not right.").await;
    assert_eq!(
        tailwater.get("/health/live").await.json()["state"],
        "running"
    );
    page.fill("ADMIN_TOKEN", TOKEN).await;
    page.click("Use it").await;
    page.until("document.querySelector('#main .word')?.textContent === 'paused'")
        .await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_used_by_the_keyboard() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = setup(&db, kafka).start().await;
    let page = open(&tailwater, "overview").await;
    page.until("document.querySelectorAll('.card').length > 0")
        .await;
    page.press("Tab").await;
    page.until("document.activeElement.textContent === 'Skip to the content'")
        .await;
    for link in ["Overview", "Listeners"] {
        page.press("Tab").await;
        page.until(&format!("document.activeElement.textContent === '{link}'"))
            .await;
    }
    page.press("Enter").await;
    page.until("location.hash === '#listeners' && document.activeElement.id === 'main'")
        .await;
    tailwater.stop().await;
}

/// What an instance shows of another's words is text, whatever it holds.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_document_holds_is_never_read_as_markup() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = setup(&db, kafka)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .start()
        .await;
    let markup = "<img src=x onerror=\"document.title='taken'\">";
    let wrong = doc! {"collection": markup, "jobName": "x", "filter": {markup: {"$where": markup}}};
    db.documents("listeners").insert_one(wrong).await.unwrap();
    let page = open(&tailwater, "listeners").await;
    page.reads("<img src=x").await;
    assert_eq!(
        page.evaluate("document.querySelectorAll('img').length")
            .await,
        0
    );
    let title = page.evaluate("document.title").await;
    assert!(!title.as_str().unwrap().contains("taken"));
    tailwater.stop().await;
}
