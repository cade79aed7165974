//! Clients whose position is older than what is kept in memory: each has a reader of its own, of which there are only so
//! many at a time, until it has come to what is kept.

use super::change::Change;
use super::hub::Hub;
use super::merge::{self, Merge};
use super::position::Position;
use super::redact::Excluded;
use super::topics::Topics;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::tasks;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

/// Readers at a time.
const MOST: usize = 8;
/// How long a client may take nothing while it has a reader.
const PATIENCE: Duration = Duration::from_secs(10);
/// Changes that wait for the client.
const QUEUE: usize = 64;

/// What a reader tells its client.
#[derive(Debug)]
pub enum CaughtUp {
    Change(Arc<Change>),
    /// Kafka holds some records no more: from where to where.
    Gap {
        from: Position,
        to: Position,
    },
    /// Up to here everything was told that is not kept in memory.
    Done(Position),
    /// The client has been too slow.
    TooSlow,
}

/// What readers need.
#[derive(Debug)]
pub struct CatchUps {
    pub kafka: Kafka,
    pub hub: Arc<Hub>,
    pub excluded: Excluded,
    pub topics: Topics,
    /// The names of the topics, by their places.
    pub names: Mutex<Vec<String>>,
    permits: Arc<Semaphore>,
}

impl CatchUps {
    pub fn new(kafka: Kafka, hub: Arc<Hub>, excluded: Excluded, topics: Topics) -> Self {
        Self {
            kafka,
            hub,
            excluded,
            topics,
            names: Mutex::default(),
            permits: Arc::new(Semaphore::new(MOST)),
        }
    }

    pub fn name(&self, topic: usize) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(topic).cloned().unwrap_or_default()
    }

    /// Reads from `position` on, as soon as a reader is free. What this gives ends without [`CaughtUp::Done`] when
    /// reading fails.
    pub fn read_from(self: &Arc<Self>, position: Position) -> mpsc::Receiver<CaughtUp> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let own = Arc::clone(self);
        tasks::spawn(async move {
            let permit = Arc::clone(&own.permits).acquire_owned().await;
            if sender.is_closed() {
                return;
            }
            own.hub.counts.caught_up.add(1);
            let read =
                tasks::blocking("a client's position", move || own.read(position, &sender)).await;
            if let Ok(Err(error)) | Err(error) = read {
                tracing::warn!(%error, "cannot read from Kafka for a client that comes back; it is tried again");
            }
            drop(permit);
        });
        receiver
    }

    fn read(&self, position: Position, sender: &mpsc::Sender<CaughtUp>) -> Result<(), Error> {
        let anew = || Error::new(Code::SinkUnavailable, "the topics are taken up anew");
        let (now, mut until, era) = self.hub.settled_positions().ok_or_else(anew)?;
        let mut position = position.aligned(&now);
        let mut config = merge::configuration(&self.kafka);
        config
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.queue.backoff.ms", "50");
        let consumer = merge::consumer(&config)?;
        let before = position.clone();
        let mut starts = Vec::new();
        for place in now.places() {
            let next = position.next(place);
            if next >= until.next(place) && next <= now.next(place) {
                continue;
            }
            let name = self.name(place.topic);
            let (low, high) = merge::watermarks(&consumer, &name, place)?;
            // Behind the end there was another topic of this name.
            let right = if next > high { high } else { next.max(low) };
            if right != next {
                position.set(place, right);
            }
            if right < until.next(place) {
                starts.push((name, place, right));
            }
        }
        if position != before
            && !self.tell(
                sender,
                CaughtUp::Gap {
                    from: before,
                    to: position.clone(),
                },
            )
        {
            return Ok(());
        }
        let starts: Vec<_> = starts
            .iter()
            .map(|(name, place, from)| (name.as_str(), *place, *from))
            .collect();
        let mut merge = Merge::begin(consumer, &starts, &self.excluded)?;
        loop {
            while let Some(change) = merge.next(&mut position, &until, || !sender.is_closed())? {
                let is_told = !self.topics.hold(&change)
                    || self.tell(sender, CaughtUp::Change(Arc::from(change)));
                if !is_told {
                    return Ok(());
                }
            }
            let (_, later, now) = self.hub.settled_positions().ok_or_else(anew)?;
            if now != era {
                return Err(anew());
            }
            if position.covers(&later) || sender.is_closed() {
                self.tell(sender, CaughtUp::Done(position));
                return Ok(());
            }
            until = later;
            merge.extend(&position, &until);
        }
    }

    /// Hands something over; whether the client still takes it.
    fn tell(&self, sender: &mpsc::Sender<CaughtUp>, what: CaughtUp) -> bool {
        let Err(error) = sender.try_send(what) else {
            return true;
        };
        let mpsc::error::TrySendError::Full(what) = error else {
            return false;
        };
        let sent = Handle::current().block_on(tokio::time::timeout(PATIENCE, sender.send(what)));
        match sent {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                // It is told when it takes something again, if ever.
                let _ = Handle::current().block_on(tokio::time::timeout(
                    PATIENCE,
                    sender.send(CaughtUp::TooSlow),
                ));
                false
            }
        }
    }
}
