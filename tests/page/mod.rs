//! The page, in a real browser.

mod fleet;
mod jobs;
mod schedules;
mod screens;

use crate::support::{Chromium, Database, Kafka, Setup, Tailwater};

/// What the tests' instance asks of who changes something.
pub(super) const TOKEN: &str = "a-token-of-the-tests-of-the-page";

pub(super) const DESKTOP: (u32, u32) = (1280, 900);

/// An instance with the page.
pub(super) fn setup(db: &Database, kafka: &Kafka) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("ADMIN_TOKEN", TOKEN)
}

/// The page of an instance, by somebody who has its token.
pub(super) async fn open(tailwater: &Tailwater, screen: &str) -> Chromium {
    let addr = tailwater.http_addr().expect("it has HTTP");
    let page = Chromium::open(&format!("http://{addr}/#{screen}"), DESKTOP).await;
    // Some screens ask for it by themselves: that is the same dialog.
    page.until("document.querySelectorAll('#nav a').length > 0")
        .await;
    page.evaluate("document.getElementById('token').click()")
        .await;
    page.fill("ADMIN_TOKEN", TOKEN).await;
    page.click("Use it").await;
    page.until("document.getElementById('token')?.textContent === 'Forget token'")
        .await;
    page
}

/// No error in the console, and nothing asked of anybody else.
pub(super) fn assert_sound(page: &Chromium, tailwater: &Tailwater) {
    assert_eq!(page.faults(), Vec::<String>::new());
    let own = format!("http://{}/", tailwater.http_addr().expect("it has HTTP"));
    let foreign =
        |url: &String| !url.starts_with(&own) && !url.starts_with("data:") && url != "about:blank";
    let foreign: Vec<String> = page.requests().into_iter().filter(foreign).collect();
    assert_eq!(foreign, Vec::<String>::new());
}

/// For the documentation, where `scripts/screenshots` says.
pub(super) async fn keep(page: &Chromium, screen: &str, scheme: &str, width: u32) {
    let Ok(folder) = std::env::var("TAILWATER_SCREENSHOTS") else {
        return;
    };
    let name = screen.split('/').next().unwrap_or_default();
    let size = if width < 1000 { "narrow" } else { scheme };
    let path = format!("{folder}/{name}-{size}.png");
    std::fs::write(path, page.screenshot().await).unwrap();
}
