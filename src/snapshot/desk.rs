//! Where a snapshot is asked for, stopped, paused and resumed; and what is known of rows that Kafka refused.

use super::progress::Bounds;
use crate::change::namespace::Namespace;
use bson::Document;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How long a request waits for a stream that is not ready for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// A snapshot of these collections, or of all that are configured. Beside one that runs, they are added to it.
    Start(Vec<Wanted>),
    Stop,
    Pause,
    Resume,
}

/// A collection that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub at: Namespace,
    pub filter: Option<Document>,
    pub bounds: Bounds,
}

/// What has become of a request: the id of the snapshot that it was about, or why not.
pub type Answer = Result<String, String>;

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Request {
    pub order: Order,
    pub answer: oneshot::Sender<Answer>,
}

/// One for each stream, as long as the process runs.
#[derive(Debug, Default)]
pub struct Desk {
    requests: Mutex<VecDeque<Request>>,
    /// Whether there may be one: looked at with each reply of the stream.
    is_asked: AtomicBool,
    asked: Notify,
    refused: Mutex<Refused>,
}

/// Rows that Kafka refuses: they have no number of their own, so that they are known by their ids.
#[derive(Debug, Default)]
struct Refused {
    /// Whether rows are sent alone, so that a refusal names its row.
    is_careful: bool,
    /// The one that is on its way alone.
    sending: Option<Vec<u8>>,
    rows: HashMap<Vec<u8>, RDKafkaErrorCode>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// A sentence that says why it was not done.
    pub async fn ask(&self, order: Order) -> Answer {
        let (answer, answered) = oneshot::channel();
        locked(&self.requests).push_back(Request { order, answer });
        self.is_asked.store(true, Ordering::Release);
        self.asked.notify_one();
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        match answered {
            Ok(Ok(answer)) => answer,
            // The stream has ended before it was stored.
            Ok(Err(_)) => Err("the stream was interrupted; ask again".to_owned()),
            Err(_elapsed) => Err(format!(
                "the stream did not answer within {} s; it may still take the request: see GET /api/snapshots, and what the stream waits for",
                PATIENCE.as_secs()
            )),
        }
    }

    /// Whether there may be a request.
    #[inline]
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    /// The next request whose answer is still waited for.
    pub fn next(&self) -> Option<Request> {
        let mut requests = locked(&self.requests);
        self.is_asked.store(requests.len() > 1, Ordering::Release);
        while let Some(request) = requests.pop_front() {
            if !request.answer.is_closed() {
                return Some(request);
            }
        }
        None
    }

    /// Waits until something is asked for.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Whether rows are sent alone.
    pub fn is_careful(&self) -> bool {
        locked(&self.refused).is_careful
    }

    /// The row of this id goes out alone; or, with none, it has arrived.
    pub fn sends(&self, row: Option<&[u8]>) {
        locked(&self.refused).sending = row.map(<[u8]>::to_vec);
    }

    /// Why Kafka refuses the row of this id, if it does.
    pub fn refusal(&self, row: &[u8]) -> Option<RDKafkaErrorCode> {
        locked(&self.refused).rows.get(row).copied()
    }

    /// Kafka has refused a row, whichever it was.
    pub fn refused(&self, code: RDKafkaErrorCode) {
        let mut refused = locked(&self.refused);
        refused.is_careful = true;
        if let Some(row) = refused.sending.take() {
            refused.rows.insert(row, code);
        }
    }

    /// A page was delivered with care: the ones that follow need none.
    pub fn is_delivered(&self) {
        *locked(&self.refused) = Refused::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_waits_for_is_not_carried_out() {
        let desk = Arc::new(Desk::default());
        let asking = Arc::clone(&desk);
        let asked = tokio::spawn(async move { asking.ask(Order::Stop).await });
        desk.asked().await;
        let request = desk.next().unwrap();
        request.answer.send(Ok("1f".into())).unwrap();
        assert_eq!(asked.await.unwrap(), Ok("1f".into()));
        let sentence = desk.ask(Order::Pause).await.unwrap_err();
        assert!(sentence.contains("did not answer"), "{sentence}");
        assert!(desk.next().is_none());
    }

    #[test]
    fn a_row_that_was_sent_alone_is_the_one_that_is_refused() {
        let desk = Desk::default();
        let code = RDKafkaErrorCode::MessageSizeTooLarge;
        desk.refused(code);
        assert!(desk.is_careful() && desk.refusal(b"1f/a").is_none());
        desk.sends(Some(b"1f/a"));
        desk.refused(code);
        assert_eq!(desk.refusal(b"1f/a"), Some(code));
        desk.is_delivered();
        assert!(!desk.is_careful() && desk.refusal(b"1f/a").is_none());
    }
}
