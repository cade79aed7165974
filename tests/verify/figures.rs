//! How fast, and in how much memory.

use super::plant::Plant;
use super::{DIFFERENT, Writer, figures, listed, of, setup};
use crate::support::{self, Isolation};
use bson::doc;
use std::time::Duration;

/// What the process may take beside `--memory`, in KiB: itself, and what two clients hold of replies.
const CONSTANT: u64 = 96 << 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, and its figures are those of this machine"]
async fn one_field_of_one_document_of_very_many() {
    let many = std::env::var("VERIFY_DOCUMENTS").ok();
    let many = many.map_or(200_000, |text| text.parse::<i64>().unwrap());
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    kafka.create_topic(&topic, 4, &[]).await;
    let setup = setup(&db, kafka).env("JSON_MODE", "canonical");
    let tailwater = setup.start().await;
    let documents = db.documents("many");
    let text = "a text of some length ".repeat(8);
    for from in (0..many).step_by(1_000) {
        let all = (from..(from + 1_000).min(many)).map(|n| doc! {"_id": n, "n": n, "text": &text});
        documents.insert_many(all).await.unwrap();
    }
    documents.insert_one(doc! {"_id": "last"}).await.unwrap();
    let mut tail = kafka.tail(&[&topic], Isolation::ReadCommitted);
    // They are in different partitions, which are read in no order.
    let (mut altered, mut is_last_there) = (None, false);
    while altered.is_none() || !is_last_there {
        let record = tail.recv().await.unwrap();
        is_last_there |= record.key["_id"] == "last";
        if record.key["_id"] == many / 2 {
            altered = Some(record);
        }
    }
    drop(tail);
    let altered = altered.unwrap();
    let (from, to) = ("\"n\":{\"$numberLong\"", "\"n\":{\"$numberInt\"");
    let plant = Plant::like(&altered).seq(altered.seq() + 1).edit(from, to);
    plant.produce(kafka).await;
    let writer = Writer::start(&db, "others");
    for memory in ["8MiB", "64MiB"] {
        let args = [
            "verify",
            "--complete",
            "--output",
            "json",
            "--memory",
            memory,
        ];
        let mut verify = setup.clone().args(&args).spawn();
        let mut peak = 0;
        let status = format!("/proc/{}/status", verify.pid());
        let exit = loop {
            let Ok(status) = std::fs::read_to_string(&status) else {
                break verify.wait_exit(Duration::from_secs(600)).await;
            };
            let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            match high {
                None => break verify.wait_exit(Duration::from_secs(600)).await,
                Some(high) => peak = high.trim().trim_end_matches(" kB").parse().unwrap_or(peak),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(exit.code, Some(DIFFERENT), "{}", exit.output);
        let start = exit.output.find("{\n").unwrap();
        let mut values = serde_json::Deserializer::from_str(&exit.output[start..]).into_iter();
        let report: serde_json::Value = values.next().unwrap().unwrap();
        let found = of(&report, "many");
        println!(
            "--memory {memory}: {} documents and {} records in {} s, {} MiB at most",
            report["documents"],
            report["records"],
            report["seconds"],
            peak >> 10
        );
        println!(
            "{}",
            exit.output
                .lines()
                .filter(|it| it.contains("INFO"))
                .collect::<Vec<_>>()
                .join("\n")
        );
        assert_eq!(figures(found), [0, 0, 1, 0, 0], "{report:#}");
        assert_eq!(listed(found, "different"), [(many / 2).to_string()]);
        let bound: u64 = memory.trim_end_matches("MiB").parse::<u64>().unwrap() << 10;
        assert!(peak < bound + CONSTANT, "{} MiB", peak >> 10);
    }
    writer.stop().await;
    tailwater.stop().await;
}
