//! Workers that are added and taken away while jobs come.

use super::crashes::assert_in_order;
use super::{Answer, Call, Receiver, all_committed, wanted, with_topic, worker, write};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// As `docker compose up --scale worker=N` does it: one after the other, by SIGTERM, while jobs are written all the time.
#[tokio::test]
async fn workers_are_scaled_up_and_down_under_load_without_a_loss() {
    const PARTITIONS: i32 = 6;
    /// How many are written before each change of the number of workers.
    const STEP: usize = 120;
    let (kafka, prefix, topic) = with_topic("all", PARTITIONS).await;
    let receiver = Receiver::start(|_| Answer::Late(Duration::from_millis(15))).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let setup = worker(kafka, &prefix, &handlers).env("WORKER_CONCURRENCY", "4");
    let mut workers = Vec::new();
    let mut written = 0;
    let (mut moves, mut most) = (0, 0);
    for wanted_workers in [1_usize, 2, 4, 3, 1, 3, 2, 1] {
        let jobs: Vec<_> = (written..written + STEP)
            .map(|n| wanted("all", n, &format!("k{}", n % 20)))
            .collect();
        write(kafka, &topic, &jobs).await;
        written += STEP;
        while workers.len() < wanted_workers {
            workers.push(setup.spawn());
            moves += 1;
        }
        while workers.len() > wanted_workers {
            // Whoever has worked longest goes.
            let exit = workers.remove(0).stop().await;
            assert_eq!(exit.code, Some(0), "{}", exit.output);
            moves += 1;
        }
        most = most.max(workers.len());
        for worker in &mut workers {
            worker.wait_ready().await;
        }
        // Half of what was written is still to be done when the next change comes.
        receiver.wait_for(written - STEP / 2).await;
    }
    let done = receiver.wait_for(written).await;
    assert_in_order(&done);
    all_committed(kafka, &prefix, &topic, PARTITIONS).await;
    let calls = receiver.calls();
    let ids: BTreeSet<_> = calls.iter().map(Call::id).collect();
    assert_eq!(ids.len(), written, "every job came");
    let repeated = calls.len() - ids.len();
    println!(
        "{repeated} of {written} were repeated by {moves} changes between 1 and {most} workers"
    );
    // Behind the first job of a partition that is not done when it moves, others may be: those that wait for their key
    // let them pass. They are as many as there are other keys in flight, and no more.
    let bound = moves * 20;
    assert!(repeated <= bound, "{repeated} repeated, {bound} allowed");
    for worker in workers {
        worker.stop().await;
    }
}
