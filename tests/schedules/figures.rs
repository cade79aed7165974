//! Figures, taken by hand: `cargo test --test integration -- --ignored --nocapture schedules::figures`.

use super::{schedule, scheduling};
use crate::support;
use bson::doc;
use std::time::Duration;

#[tokio::test]
#[ignore = "a figure"]
async fn ten_thousand_schedules_at_rest() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let all = (0..10_000).map(|n| {
        let mut each = schedule(
            &db,
            &format!("s{n}"),
            doc! {"cron": format!("{} 9 1 1 *", n % 60), "timezone": "Europe/Berlin"},
        );
        each.insert("topic", db.topic("job"));
        each
    });
    let all: Vec<_> = all.collect();
    for some in all.chunks(1_000) {
        db.documents("schedules").insert_many(some).await.unwrap();
    }
    let process = scheduling(&db, kafka)
        .env("LOG_LEVEL", "warn")
        .env("HTTP_ADDR", format!("127.0.0.1:{}", support::free_port()))
        .spawn();
    // Until all are read and told.
    tokio::time::sleep(Duration::from_secs(40)).await;
    let stat = || {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
        let fields: Vec<_> = text
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = stat();
    tokio::time::sleep(Duration::from_secs(20)).await;
    // A hundred ticks a second.
    let share = (stat() - before) as f64 / 20.0;
    println!("10,000 schedules at rest: {share:.2} % of a core");
}
