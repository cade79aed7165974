//! Streams that are stopped and started again at any time, while the others run.

use super::Streams;
use super::crash::{arrived, nothing_lost_or_reordered, write};
use crate::chaos::plan::Dice;
use crate::support::{self, http};
use std::time::Duration;

const DATABASES: usize = 5;
const COUNT: i32 = 600;
const COMMANDS: usize = 100;

async fn a_hundred_starts_and_stops(delivery: &str, seed: u64) {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, DATABASES).await;
    let setup = streams.under_writes(delivery);
    let tailwater = setup.start().await;
    let addr = tailwater.http_addr().unwrap();
    let writers = write(&streams, COUNT);
    let mut dice = Dice::new(seed);
    let mut is_paused = [false; DATABASES];
    for _ in 0..COMMANDS {
        let index = dice.roll(DATABASES as u64) as usize;
        is_paused[index] = !is_paused[index];
        let command = if is_paused[index] { "pause" } else { "resume" };
        let path = format!("/admin/{command}?stream={}", streams.name(index));
        let reply = http::post(addr, &path, "", "").await.unwrap();
        assert_eq!(reply.status, 200, "seed {seed}: {path}: {}", reply.body);
        // From at once, while the last command is still being carried out, to well after it.
        tokio::time::sleep(Duration::from_millis(dice.roll(150))).await;
    }
    let reply = http::post(addr, "/admin/resume", "", "").await.unwrap();
    assert_eq!(reply.status, 200, "seed {seed}: {}", reply.body);
    arrived(&streams, writers, COUNT).await;
    let exit = tailwater.stop().await;
    assert_eq!(exit.code, Some(0), "seed {seed}: {}", exit.output);
    nothing_lost_or_reordered(&streams, COUNT, delivery).await;
}

#[tokio::test]
async fn a_hundred_at_random_lose_and_reorder_nothing_at_least_once() {
    a_hundred_starts_and_stops("at_least_once", 11).await;
}

#[tokio::test]
async fn a_hundred_at_random_lose_reorder_and_repeat_nothing_exactly_once() {
    a_hundred_starts_and_stops("exactly_once", 12).await;
}
