//! Connects the member with the database, the clock and the handle.
//!
//! Every request to the database is a task of its own with a time limit, so that one that hangs delays
//! nothing else, least of all the moment at which a stream is no longer wanted.

use super::lease::{Found, Outcome, Peer, Write};
use super::member::Member;
use super::store::Store;
use super::watch::{self, Heard};
use crate::coordination::{Command, Coordination, LeaseSettings, LeaseTimes, Publisher};
use crate::error::{Code, Error};
use crate::mongo::describe::{custom, describe};
use ::mongodb::error::Error as MongoError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Events of the change stream that may wait.
const HEARD: usize = 256;

/// Registers this instance and begins to decide.
pub async fn start(
    settings: LeaseSettings,
    me: String,
    streams: BTreeSet<String>,
) -> Result<Coordination, Error> {
    let store = Arc::new(Store::new(&settings, me.clone()));
    let (handle, publisher, commands) = Coordination::of(&me);
    let mut agent = Agent {
        member: Member::new(me.clone(), streams, settings.times),
        store,
        origin: Instant::now(),
        times: settings.times,
        publisher,
        tasks: JoinSet::new(),
        told: None,
        is_beating: false,
        is_reading: false,
        away: None,
        is_mute: false,
        beat_at: Duration::ZERO,
        poll_at: Duration::ZERO,
        read_not_before: Duration::ZERO,
        leaving: None,
        asking: BTreeMap::new(),
        asked_again: Vec::new(),
    };
    agent.begin().await?;
    tokio::spawn(agent.run(commands));
    Ok(handle)
}

/// What a request has come to.
enum Ended {
    Read {
        started: Duration,
        found: Result<Found, MongoError>,
    },
    Beat {
        sent: Duration,
        asked: BTreeMap<String, u64>,
        /// Whether it said that we leave.
        leaving: bool,
        kept: Result<BTreeSet<String>, MongoError>,
    },
    Written {
        write: Write,
        outcome: Outcome,
    },
}

/// A request that a person made.
struct Asking {
    to: Option<String>,
    /// How often the lease was another one than we knew.
    refused: u32,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// How often a request is written anew after a read.
const MOST_REFUSED: u32 = 3;

struct Agent {
    member: Member,
    store: Arc<Store>,
    /// All times are since then.
    origin: Instant,
    times: LeaseTimes,
    publisher: Publisher,
    tasks: JoinSet<Ended>,
    /// What the registration says: which streams can run here, and whether we leave.
    told: Option<(BTreeSet<String>, bool)>,
    is_beating: bool,
    is_reading: bool,
    /// Why the last request had no answer; none where it had one.
    away: Option<String>,
    /// The last heartbeat failed: that documents can be read means nothing.
    is_mute: bool,
    beat_at: Duration,
    poll_at: Duration,
    read_not_before: Duration,
    leaving: Option<oneshot::Sender<()>>,
    /// Who waits for a request that a person made.
    asking: BTreeMap<String, Asking>,
    /// Those that wait for a read.
    asked_again: Vec<(String, Asking)>,
}

impl Agent {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// How long a request may take.
    fn patience(&self) -> Duration {
        (self.times.timeout / 2).clamp(Duration::from_millis(250), Duration::from_secs(5))
    }

    /// After which pause what has failed is tried again.
    fn pause(&self) -> Duration {
        (self.times.heartbeat / 4).clamp(Duration::from_millis(50), Duration::from_millis(2500))
    }

    /// The first heartbeat and the first read: what cannot be done at all is said at the start.
    async fn begin(&mut self) -> Result<(), Error> {
        let sent = self.now();
        let held = BTreeMap::new();
        let registered = self.store.heartbeat(&held, &self.peer(), true).await;
        let failed = |attempt, failed: &MongoError| self.store.failure(attempt, failed);
        registered.map_err(|error| failed("registering this instance in", &error))?;
        let started = self.now();
        let found = self.store.read().await;
        let found = found.map_err(|error| failed("reading the leases of", &error))?;
        let ended = self.now();
        self.told = Some((self.member.able(), false));
        self.member.heartbeat(sent, ended, &held, &BTreeSet::new());
        self.member.read(found, started, ended);
        // Somebody may have registered in between.
        self.member.changed(ended);
        self.beat_at = sent + self.times.heartbeat;
        self.poll_at = started + self.times.poll;
        self.show();
        info!(
            instance = self.publisher.instance(),
            database = self.store.database().name(),
            "leases say which streams run here"
        );
        Ok(())
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let (heard, mut hearing) = mpsc::channel(HEARD);
        tokio::spawn(watch::watch(Arc::clone(&self.store), heard, self.pause()));
        loop {
            self.act();
            if self.member.has_left() {
                break;
            }
            let wait = self.next().saturating_sub(self.now());
            tokio::select! {
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(ended) => self.ended(ended),
                    // Only a panic ends a task so, and whoever catches those is told by it.
                    Err(_) => return,
                },
                Some(heard) = hearing.recv() => self.heard(heard),
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
        if let Err(failed) = self.store.unregister().await {
            warn!(
                error = describe(&failed),
                "this instance could not be signed off"
            );
        }
        if let Some(answer) = self.leaving.take() {
            let _ = answer.send(());
        }
    }

    fn show(&self) {
        let view = self.member.view();
        self.publisher.show(view, self.away.as_ref());
    }

    /// Publishes and asks for what is due.
    fn act(&mut self) {
        let now = self.now();
        // First of all: what may not run any more is not wanted any more.
        self.publish(now);
        for write in self.member.decide(now) {
            self.write(write);
        }
        self.publish(now);
        let news = Some((self.member.able(), self.member.is_leaving()));
        if !self.is_beating && (now >= self.beat_at || news != self.told) {
            let is_news = news != self.told;
            self.told = news;
            self.beat(now, is_news);
        }
        let is_due = now >= self.poll_at || self.member.wants_read(now);
        if !self.is_reading && is_due && now >= self.read_not_before {
            self.read(now);
        }
        self.show();
    }

    fn publish(&mut self, now: Duration) {
        if let Some(wanted) = self.member.publish(now) {
            self.publisher.want(wanted);
        }
    }

    /// When something is due that nothing else brings about.
    fn next(&self) -> Duration {
        let now = self.now();
        let mut next = self
            .poll_at
            .min(self.beat_at.max(now + Duration::from_millis(1)));
        if let Some(deadline) = self.member.next_deadline_after(now) {
            next = next.min(deadline);
        }
        if self.member.wants_read(now) && !self.is_reading {
            next = next.min(self.read_not_before);
        }
        next.max(now + Duration::from_millis(1))
    }

    fn peer(&self) -> Peer {
        Peer {
            id: self.publisher.instance().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            streams: self.member.able(),
            leaving: self.member.is_leaving(),
            ..Peer::default()
        }
    }

    fn beat(&mut self, sent: Duration, is_news: bool) {
        self.is_beating = true;
        self.beat_at = sent + self.times.heartbeat;
        let (store, peer, patience) = (Arc::clone(&self.store), self.peer(), self.patience());
        let asked = self.member.heartbeats();
        self.tasks.spawn(async move {
            let kept = in_time(patience, store.heartbeat(&asked, &peer, is_news)).await;
            let leaving = peer.leaving;
            Ended::Beat {
                sent,
                asked,
                leaving,
                kept,
            }
        });
    }

    fn read(&mut self, started: Duration) {
        self.is_reading = true;
        self.poll_at = started + self.times.poll;
        let (store, patience) = (Arc::clone(&self.store), self.patience());
        self.tasks.spawn(async move {
            let found = in_time(patience, store.read()).await;
            Ended::Read { started, found }
        });
    }

    fn write(&mut self, write: Write) {
        let (store, patience) = (Arc::clone(&self.store), self.patience());
        self.tasks.spawn(async move {
            let outcome = tokio::time::timeout(patience, store.write(&write)).await;
            let outcome = outcome.unwrap_or(Outcome::Unknown);
            Ended::Written { write, outcome }
        });
    }

    fn ended(&mut self, ended: Ended) {
        let now = self.now();
        match ended {
            Ended::Read { started, found } => {
                self.is_reading = false;
                match found {
                    Ok(found) => {
                        self.member.read(found, started, now);
                        self.answered();
                        if !self.member.wants_read(now) {
                            for (stream, asking) in std::mem::take(&mut self.asked_again) {
                                self.ask(stream, asking, now);
                            }
                        }
                    }
                    Err(failed) => {
                        self.member.read_failed();
                        self.read_not_before = now + self.pause();
                        self.member.changed(now);
                        self.away(&failed);
                    }
                }
            }
            Ended::Beat {
                sent,
                asked,
                leaving,
                kept,
            } => {
                self.is_beating = false;
                match kept {
                    Ok(kept) => {
                        self.is_mute = false;
                        self.member.heartbeat(sent, now, &asked, &kept);
                        if leaving {
                            self.member.leaving_is_known();
                        }
                        self.answered();
                    }
                    Err(failed) => {
                        self.is_mute = true;
                        self.beat_at = now + self.pause();
                        // The registration may not say what it should.
                        self.told = None;
                        self.away(&failed);
                    }
                }
            }
            Ended::Written { write, outcome } => {
                self.member.done(&write, outcome, now);
                if let Write::Ask { stream, .. } = &write
                    && let Some(mut asking) = self.asking.remove(stream)
                {
                    asking.refused += u32::from(outcome == Outcome::Refused);
                    if outcome == Outcome::Refused && asking.refused < MOST_REFUSED {
                        self.asked_again.push((stream.clone(), asking));
                    } else {
                        let _ = asking.answer.send(asked(stream, outcome));
                    }
                }
            }
        }
    }

    /// Writes a person's request, or says why it cannot be.
    fn ask(&mut self, stream: String, asking: Asking, now: Duration) {
        match self.member.ask(&stream, asking.to.as_deref(), now) {
            Ok(write) => {
                self.asking.insert(stream, asking);
                self.write(write);
            }
            Err(sentence) => {
                let _ = asking.answer.send(Err(Error::new(Code::Config, sentence)));
            }
        }
    }

    fn heard(&mut self, heard: Heard) {
        let now = self.now();
        match heard {
            Heard::Changed => self.member.changed(now),
            Heard::Lease {
                stream,
                heartbeats,
                time,
            } => self.member.heard(&stream, heartbeats, time, now),
            Heard::Instance {
                id,
                heartbeats,
                time,
            } => self.member.heard_of(&id, heartbeats, time, now),
        }
    }

    fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Running { version, streams } => self.member.running(version, &streams),
            Command::CanRun { streams } => self.member.can_run(streams, now),
            Command::Fenced { stream, answer } => {
                self.member.fenced(&stream, now);
                self.publish(now);
                let _ = answer.send(self.publisher.version());
            }
            Command::Leave { answer } => {
                self.member.leave();
                self.leaving = Some(answer);
            }
            Command::Move { stream, to, answer } => {
                let asking = Asking {
                    to,
                    refused: 0,
                    answer,
                };
                self.ask(stream, asking, now);
            }
        }
    }

    fn away(&mut self, failed: &MongoError) {
        let why = describe(failed);
        if self.away.replace(why.clone()).is_none() {
            warn!(
                database = self.store.database().name(),
                error = why,
                "the leases cannot be reached; streams run here until their leases expire"
            );
        }
    }

    fn answered(&mut self) {
        if !self.is_mute && self.away.take().is_some() {
            info!(
                database = self.store.database().name(),
                "the leases are reached again"
            );
        }
    }
}

/// What the one who asked for a move is told.
fn asked(stream: &str, outcome: Outcome) -> Result<(), Error> {
    let sentence = match outcome {
        Outcome::Done => return Ok(()),
        Outcome::Refused => format!("stream {stream} has just changed its instance; look again"),
        Outcome::Unknown => {
            format!("no answer whether stream {stream} was asked to move; look again")
        }
    };
    Err(Error::new(Code::SourceUnavailable, sentence))
}

async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, MongoError>>,
) -> Result<T, MongoError> {
    let late = |_| Err(custom("no answer in time"));
    tokio::time::timeout(patience, work)
        .await
        .unwrap_or_else(late)
}
