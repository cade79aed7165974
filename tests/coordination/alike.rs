//! What holds whatever the instances agree by.

use super::{Instance, Journal, TWELVE, spread};
use crate::support::{Direction, PATIENCE, Proxy, eventually};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tailwater::coordination::{Coordination, Settings};

/// One installation, and what happens in it.
pub trait Scene {
    fn settings(&self) -> Settings;

    fn journal(&self) -> &Journal;

    async fn start(&self, name: &str, streams: &[&str]) -> Instance {
        Instance::start(self.settings(), name, streams, self.journal()).await
    }
}

/// Three instances share twelve streams; one dies, and is started again. `expiry` is how long it may be silent.
pub async fn twelve_streams_spread(scene: &impl Scene, expiry: Duration) {
    let journal = scene.journal();
    let (one, two, three) = tokio::join!(
        scene.start("one", &TWELVE),
        scene.start("two", &TWELVE),
        scene.start("three", &TWELVE)
    );
    spread(&[&one, &two, &three], &[4, 4, 4]).await;
    let before = journal.count();

    let killed = Instant::now();
    two.kill().await;
    spread(&[&one, &three], &[6, 6]).await;
    println!(
        "taken over {:?} after the kill, expiry {expiry:?}",
        killed.elapsed()
    );
    assert_eq!(journal.count() - before, 4, "each once");

    let before = journal.count();
    let again = scene.start("again", &TWELVE).await;
    spread(&[&one, &again, &three], &[4, 4, 4]).await;
    assert_eq!(journal.count() - before, 4, "each once");
    journal.assert_one_at_a_time();

    // All of them see the same, whoever owns what.
    let view = eventually(PATIENCE, "a view of all instances", async || {
        let view = one.coordination.view().borrow().clone();
        let mut streams = view.streams.values();
        let is_whole = streams.all(|stream| stream.since.is_some() && stream.owner.is_some());
        (view.instances.len() == 3 && is_whole).then_some(view)
    })
    .await;
    assert_eq!(view.streams.len(), 12);
    for stream in view.streams.values() {
        assert_eq!(stream.mine, stream.owner.as_deref() == Some("one"));
        assert!(stream.last_heartbeat.is_some());
        assert_eq!(stream.epoch, stream.hand_overs + 1);
    }
    assert_eq!(view.instances["again"].streams.len(), 4);
}

/// Of two instances one leaves; the one that is left.
pub async fn one_leaves(scene: &impl Scene) -> Instance {
    let journal = scene.journal();
    let streams = ["a", "b", "c", "d"];
    let one = scene.start("one", &streams).await;
    spread(&[&one], &[4]).await;
    let two = scene.start("two", &streams).await;
    spread(&[&one, &two], &[2, 2]).await;
    let before = Instant::now();
    one.stop().await;
    println!("left within {:?}", before.elapsed());
    spread(&[&two], &[4]).await;
    journal.assert_one_at_a_time();
    println!(
        "longest pause of a planned hand-over: {:?}",
        journal.longest_gap()
    );
    assert_eq!(journal.count(), 8);
    // It has signed off: nobody waits for it.
    let view = two.coordination.view();
    eventually(PATIENCE, "only one instance", async || {
        (view.borrow().instances.keys().eq(["two"])).then_some(())
    })
    .await;
    assert_eq!(view.borrow().streams["a"].previous.as_deref(), Some("one"));
    two
}

/// Somebody outside claims the stream of one of two instances.
pub async fn claimed_from_outside(scene: &impl Scene) {
    let one = scene.start("one", &["a"]).await;
    spread(&[&one], &[1]).await;
    let two = scene.start("two", &["a"]).await;
    eventually(PATIENCE, "each knows the other", async || {
        (one.coordination.view().borrow().instances.len() == 2).then_some(())
    })
    .await;
    one.coordination.fenced("a").await;
    spread(&[&one, &two], &[0, 1]).await;
    assert_eq!(scene.journal().count(), 2);
}

/// What of `one` and `two`, with the streams a and b, is refused to whoever moves the stream, at last with `one`
/// alone.
pub async fn what_cannot_be_moved(one: Instance, two: Instance, stream: &str) {
    let refused = |error: Result<(), tailwater::error::Error>| error.unwrap_err().detail;
    let said = refused(one.coordination.move_to(stream, "three").await);
    assert!(said.contains("there are one, two"), "{said}");
    let said = refused(one.coordination.move_to("c", "two").await);
    assert!(said.contains("there is no stream c"), "{said}");
    two.stop().await;
    spread(&[&one], &[2]).await;
    eventually(PATIENCE, "the other one is gone", async || {
        (one.coordination.view().borrow().instances.len() == 1).then_some(())
    })
    .await;
    let said = refused(one.coordination.release(stream).await);
    assert!(said.contains("no other instance"), "{said}");
}

/// A stream that only `old` was configured for is seen as unowned.
pub async fn is_left_behind_by_old(stream: &str, seen_by: &Instance) {
    let view = seen_by.coordination.view();
    let what = "the stream without a process is unowned";
    eventually(PATIENCE, what, async || {
        let view = view.borrow();
        let stream = &view.streams[stream];
        (stream.owner.is_none() && stream.previous.as_deref() == Some("old")).then_some(())
    })
    .await;
}

/// `one` reaches the servers through the proxy, and is cut off for a while.
pub async fn cut_off(scene: &impl Scene, through: Settings, proxy: &Proxy) {
    let journal = scene.journal();
    let one = Instance::start(through, "one", &["a", "b"], journal).await;
    spread(&[&one], &[2]).await;
    let two = scene.start("two", &["a", "b"]).await;
    spread(&[&one, &two], &[1, 1]).await;
    proxy.half_open(Direction::Both);
    spread(&[&one, &two], &[0, 2]).await;
    journal.assert_one_at_a_time();
    let view = one.coordination.view();
    assert!(view.borrow().streams.values().all(|stream| !stream.mine));
    proxy.heal();
    spread(&[&one, &two], &[1, 1]).await;
    journal.assert_one_at_a_time();
}

/// The instance `one` with the stream a, in a runtime of one thread, which can be frozen as a process is.
pub struct Freezable {
    tell: SyncSender<Duration>,
    shown: Receiver<BTreeSet<String>>,
    thread: JoinHandle<()>,
}

impl Freezable {
    /// Returns when it runs the stream. A client of its servers is made within its runtime.
    pub fn start(settings: impl Future<Output = Settings> + Send + 'static) -> Self {
        let (tell, told) = sync_channel::<Duration>(1);
        let (show, shown) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let streams = BTreeSet::from(["a".to_owned()]);
                let coordination = Coordination::start(settings.await, "one".into(), streams);
                let coordination = coordination.await.unwrap();
                let mut wanted = coordination.wanted();
                let owns = wanted.wait_for(|wanted| !wanted.streams.is_empty()).await;
                let version = owns.unwrap().version;
                let running = BTreeSet::from(["a".to_owned()]);
                coordination.running(version, running).await;
                show.send(wanted.borrow().streams.clone()).unwrap();
                std::thread::sleep(told.recv().unwrap());
                // Whatever comes first in this runtime now comes after this.
                tokio::task::yield_now().await;
                let _ = wanted.changed().await;
                show.send(wanted.borrow().streams.clone()).unwrap();
            });
        });
        let wanted = shown.recv().unwrap();
        assert_eq!(wanted.len(), 1);
        Self {
            tell,
            shown,
            thread,
        }
    }

    /// Freezes it, lets the other one take over, and sees it wake up and want nothing.
    pub async fn freeze(self, time: Duration, other: &Instance) {
        self.tell.send(time).unwrap();
        spread(&[other], &[1]).await;
        let shown = self.shown;
        let woken = tokio::task::spawn_blocking(move || shown.recv().unwrap()).await;
        assert_eq!(woken.unwrap(), BTreeSet::new());
        self.thread.join().unwrap();
        assert_eq!(other.running().len(), 1);
    }
}
