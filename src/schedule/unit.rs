//! The unit of all schedules: started and stopped by what coordination says, as a stream is.

use super::Parts;
use super::clock::System;
use super::run::{End, Run};
use super::status::tell;
use crate::coordination::StreamView;
use crate::status::schedules::{Phase, Schedules as Board};
use crate::tasks;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How many orders may wait.
const ORDERS: usize = 16;

/// Why a schedule was not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRun {
    /// There is none of that name.
    Unknown,
    /// In a sentence.
    Refused(String),
}

impl NotRun {
    fn lost() -> Self {
        Self::Refused("the schedules were stopped meanwhile; ask again".to_owned())
    }
}

/// A person wants a record of this schedule now.
#[derive(Debug)]
pub struct Order {
    pub name: String,
    /// The `tw-id` of the record, or why there is none.
    pub answer: oneshot::Sender<Result<String, NotRun>>,
}

/// How the unit is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Idle,
    Running,
    /// Another instance has taken it, which is not told yet.
    Fenced,
    /// The same, where instances do not share it: it stays with that one.
    Over,
}

/// The schedules of this process.
#[derive(Debug)]
pub struct Unit {
    pub id: String,
    pub board: Arc<Board>,
    is_shared: bool,
    life: watch::Sender<Life>,
    changed: Notify,
    stop: Mutex<CancellationToken>,
    orders: Mutex<Option<mpsc::Sender<Order>>>,
}

impl Unit {
    pub fn new(id: String, board: Arc<Board>, is_shared: bool) -> Self {
        Self {
            id,
            board,
            is_shared,
            life: watch::Sender::new(Life::Idle),
            changed: Notify::new(),
            stop: Mutex::default(),
            orders: Mutex::default(),
        }
    }

    /// Starts or stops it, as it is wanted.
    pub fn reconcile(self: &Arc<Self>, is_wanted: bool, parts: &Parts) {
        let life = *self.life.borrow();
        match (is_wanted, life) {
            (true, Life::Idle) => self.start(parts.clone()),
            (false, Life::Running) => self
                .stop
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .cancel(),
            _ => {}
        }
    }

    fn start(self: &Arc<Self>, parts: Parts) {
        let stop = CancellationToken::new();
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop.clone();
        let (orders, ordered) = mpsc::channel(ORDERS);
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = Some(orders);
        self.life.send_replace(Life::Running);
        let unit = Arc::clone(self);
        tasks::spawn(async move {
            let telling = tasks::spawn(tell(parts.clone(), Arc::clone(&unit.board)));
            let run = Run::new(parts, Arc::new(System), ordered);
            let end = Box::pin(run.until_stopped(stop)).await;
            telling.abort();
            unit.ended(end);
        });
    }

    fn ended(&self, end: End) {
        let life = match end {
            End::Stopped => {
                self.board.enter(Phase::Stopped);
                Life::Idle
            }
            End::Fenced(error) => {
                tracing::warn!(code = error.code.name(), "{error}");
                match self.is_shared {
                    true => {
                        self.board.enter(Phase::Standby);
                        Life::Fenced
                    }
                    false => {
                        self.board.end(error.detail);
                        Life::Over
                    }
                }
            }
        };
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.life.send_replace(life);
        self.changed.notify_one();
    }

    /// Waits until it has ended.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn is_running(&self) -> bool {
        *self.life.borrow() == Life::Running
    }

    /// Whether it was fenced since it was last asked: it can be started again.
    pub fn take_fenced(&self) -> bool {
        self.life.send_if_modified(|life| {
            let is_fenced = *life == Life::Fenced;
            if is_fenced {
                *life = Life::Idle;
            }
            is_fenced
        })
    }

    /// Shows who has it.
    pub fn show(&self, ownership: StreamView) {
        if !self.is_running() && self.is_shared {
            self.board.enter(Phase::Standby);
        }
        self.board.set_ownership(ownership);
    }

    /// Waits until it has stopped.
    pub async fn stopped(&self) {
        self.stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cancel();
        let mut life = self.life.subscribe();
        // The sender is in `self`.
        let _ = life.wait_for(|life| *life != Life::Running).await;
    }

    /// Makes a record of a schedule now; its `tw-id`.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn order(&self, name: &str) -> Result<String, NotRun> {
        let orders = self
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(orders) = orders else {
            let sentence = "the schedules are not run by this instance now";
            return Err(NotRun::Refused(sentence.to_owned()));
        };
        let (answer, answered) = oneshot::channel();
        let order = Order {
            name: name.to_owned(),
            answer,
        };
        orders.send(order).await.map_err(|_| NotRun::lost())?;
        answered.await.map_err(|_| NotRun::lost())?
    }
}
