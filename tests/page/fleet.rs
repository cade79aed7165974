//! Several instances, as a person sees them on the page of one.

use super::{TOKEN, assert_sound, open};
use crate::coordination::fleet::{Fleet, Kind, name, spread};
use crate::support::Chromium;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_are_seen_and_that_one_takes_over_when_the_other_is_killed() {
    for kind in [Kind::Leases, Kind::Group] {
        let mut fleet = Fleet::new(2, "at_least_once").await.by(kind);
        fleet.setup = fleet.setup.env("ADMIN_TOKEN", TOKEN);
        let one = fleet.setup.start().await;
        spread(&[&one], &[2]).await;
        let mut two = fleet.setup.start().await;
        spread(&[&one, &two], &[1, 1]).await;
        fleet.write();
        fleet.flows().await;
        let (first, second) = (name(&one).await, name(&two).await);
        let page = open(&one, "instances").await;
        let at = async |instance: &str| holder(&page, instance).await;
        let (kept, moved) = (at(&first).await, at(&second).await);
        assert_ne!(kept, moved, "{kind:?}");

        two.kill9();
        let of_dead = moved.rsplit(':').next().unwrap();
        lease(&page, of_dead, &first, &second).await;
        page.until(&format!(
            "{ROWS}.some((row) => row[0].startsWith({}) && row[5].split(', ').length === 2)",
            json!(first)
        ))
        .await;
        page.evaluate(&format!("location.hash = 'stream/{of_dead}'; true"))
            .await;
        page.until(&format!(
            "[...document.querySelectorAll('dt')].some((one) => one.textContent === 'Before' \
             && one.nextSibling.textContent === {})",
            json!(second)
        ))
        .await;
        page.reads("running").await;
        fleet.flows().await;
        assert_sound(&page, &one);
        fleet.assert_whole().await;
        one.stop().await;
    }
}

/// The cells of the instances' table.
const ROWS: &str = "[...(document.querySelector('#main table')?.tBodies[0].rows ?? [])]\
                    .map((row) => [...row.cells].map((cell) => cell.textContent))";

/// The one stream that an instance has by the page.
async fn holder(page: &Chromium, instance: &str) -> String {
    let found = page
        .until(&format!(
            "(() => {{ const all = {ROWS}; const row = all.find((row) => row[0].startsWith({}));
               return all.length === 2 && /^[^ ,]+$/.test(row?.[5] ?? '') && row[1] === 'running' && row[5]; }})()",
            json!(instance)
        ))
        .await;
    found.as_str().expect("a stream's id").to_owned()
}

/// Waits until the page says that a stream has come from one instance to another.
async fn lease(page: &Chromium, stream: &str, to: &str, from: &str) {
    page.until(&format!(
        "[...(document.querySelectorAll('#main table')[1]?.tBodies[0].rows ?? [])].some(({{cells}}) => \
         cells[0].textContent === {} && cells[1].textContent === {} && Number(cells[4].textContent) >= 1 \
         && cells[5].textContent === {})",
        json!(stream),
        json!(to),
        json!(from)
    ))
    .await;
}
