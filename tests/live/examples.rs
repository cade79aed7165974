//! The programs of examples/live, as they are.

use super::serving;
use crate::support::{
    self, Chromium, Database, Kafka, Node, PATIENCE, Process, Tailwater, eventually, free_port,
};
use std::net::SocketAddr;

const SECRET: &str = "only-for-this-example-0123456789abcdef";

/// Tailwater, and the application that shows what it serves.
struct Application {
    tailwater: Tailwater,
    live: SocketAddr,
    node: Node,
    /// Of the application.
    url: String,
    _server: Process,
}

impl Application {
    async fn start(db: &Database, kafka: &Kafka) -> Self {
        let port = free_port().to_string();
        let url = format!("http://localhost:{port}");
        let mut tailwater = serving(db, kafka)
            .env("LIVE_ORIGINS", &url)
            .env("LIVE_JWT_SECRET", SECRET)
            .start()
            .await;
        let live = tailwater.live_addr().await;
        let node = Node::with("examples/live");
        let server = node.start(
            &["server.mjs"],
            &[
                ("MONGODB_URI", db.uri()),
                ("LIVE_JWT_SECRET", SECRET),
                ("LIVE_URL", &format!("http://{live}/live")),
                ("PORT", &port),
            ],
        );
        eventually(PATIENCE, "the application listens", async || {
            server.output().contains("chat.html").then_some(())
        })
        .await;
        Self {
            tailwater,
            live,
            node,
            url,
            _server: server,
        }
    }

    async fn page(&self, path: &str) -> Chromium {
        Chromium::open(&format!("{}{path}", self.url), (700, 700)).await
    }

    /// Nothing was asked of anybody else, and nothing has gone wrong on the page.
    fn assert_sound(&self, page: &Chromium) {
        assert_eq!(page.faults(), Vec::<String>::new());
        let own = [
            self.url.clone(),
            format!("http://{}", self.live),
            "about:".into(),
        ];
        for url in page.requests() {
            assert!(own.iter().any(|own| url.starts_with(own)), "{url}");
        }
    }
}

/// The lines of a list on a page.
async fn lines(page: &Chromium, list: &str) -> Vec<String> {
    let lines =
        format!("[...document.querySelectorAll('#{list} li')].map((line) => line.textContent)");
    serde_json::from_value(page.evaluate(&lines).await).unwrap()
}

#[tokio::test]
async fn the_chat_shows_each_room_its_own_messages() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let application = Application::start(&db, kafka).await;
    let (ada, bob, eve) = tokio::join!(
        application.page("/chat.html"),
        application.page("/chat.html"),
        application.page("/chat.html")
    );
    for (page, name, room) in [
        (&ada, "ada", "r1"),
        (&bob, "bob", "r1"),
        (&eve, "eve", "r2"),
    ] {
        page.fill("Name", name).await;
        page.fill("Room", room).await;
        page.click("Enter").await;
        page.until(&format!(
            "document.getElementById('state').value === 'in {room}'"
        ))
        .await;
    }
    let say = async |page: &Chromium, text: &str| {
        page.fill("Message", text).await;
        page.click("Send").await;
    };
    say(&ada, "hello").await;
    bob.reads("ada: hello").await;
    say(&eve, "alone here").await;
    eve.reads("eve: alone here").await;
    say(&bob, "<b>hi</b>").await;
    for page in [&ada, &bob] {
        page.reads("bob: <b>hi</b>").await;
        assert_eq!(
            lines(page, "messages").await,
            ["ada: hello", "bob: <b>hi</b>"]
        );
    }
    assert_eq!(lines(&eve, "messages").await, ["eve: alone here"]);
    for page in [&ada, &bob, &eve] {
        application.assert_sound(page);
    }
    application.tailwater.stop().await;
    // The pages are told, and try to come back.
    ada.until("document.getElementById('state').value === 'away'")
        .await;
}

#[tokio::test]
async fn the_bell_and_the_service_see_the_notifications_of_their_user_alone() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let application = Application::start(&db, kafka).await;
    let variables = [("APP_URL", application.url.as_str())];
    let start = || application.node.start(&["client.mjs", "ada"], &variables);
    let mut service = start();
    let page = application.page("/bell.html?user=ada").await;
    page.until("changes?.readyState === 1").await;
    eventually(PATIENCE, "the service listens", async || {
        service.output().contains("connected").then_some(())
    })
    .await;
    let notify = async |user: &str, title: &str| {
        page.fill("To", user).await;
        page.fill("Title", title).await;
        page.click("Notify").await;
    };
    notify("bob", "for bob").await;
    notify("ada", "first").await;
    page.reads("first").await;
    eventually(PATIENCE, "the service sees it", async || {
        service.output().contains("insert first").then_some(())
    })
    .await;
    // Killed and started again, it misses none.
    service.kill9();
    notify("ada", "second").await;
    page.reads("second").await;
    let again = start();
    eventually(PATIENCE, "the service sees what it missed", async || {
        again.output().contains("insert second").then_some(())
    })
    .await;
    assert_eq!(lines(&page, "list").await, ["second", "first"]);
    assert_eq!(
        page.evaluate("document.getElementById('count').textContent")
            .await,
        "2"
    );
    let all = service.output() + &again.output();
    assert_eq!(all.matches("insert").count(), 2, "{all}");
    application.assert_sound(&page);
    application.tailwater.stop().await;
}
