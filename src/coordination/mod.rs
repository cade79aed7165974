//! Which streams this instance should run.
//!
//! Only a hint: fencing (the claim on the checkpoint) is what makes two instances that run the same
//! stream harmless. So nothing here has to be exact; it has to be calm. A stream changes its instance
//! when that one is stopped or has died, when a person says so, and to even out the spread, and for no
//! other reason.
//!
//! - [`Settings::None`]: all of them.
//! - [`Settings::MongoDb`]: one lease document a stream ([`mongodb`]).
//! - [`Settings::Kafka`]: a consumer group assigns the streams ([`kafka`]).
//!
//! No decision compares the clocks of two machines.

#[cfg(test)]
mod dice;
mod kafka;
pub mod mongodb;
mod publisher;
mod settings;
mod silence;
pub mod view;

pub use crate::config::LeaseTimes;
pub(crate) use publisher::Publisher;
pub use settings::{GroupSettings, LeaseSettings, Settings};
pub use view::{InstanceView, StreamView, View};

use crate::error::{Code, Error};
use crate::preflight::Finding;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// The streams that this instance should run, with a number that grows with each change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub version: u64,
    pub streams: BTreeSet<String>,
}

/// A name for this start of this process, which no other process and no other start has: a lease must not
/// be taken for one's own because a container's host name and process id are the same again.
pub fn instance(host: &str) -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{host}/{}-{:06x}", std::process::id(), random & 0xff_ffff)
}

/// What the handle asks of what stands behind it.
#[derive(Debug)]
pub(crate) enum Command {
    Running {
        version: u64,
        streams: BTreeSet<String>,
    },
    CanRun {
        streams: BTreeSet<String>,
    },
    Fenced {
        stream: String,
        /// The first version of what is wanted that knows of it.
        answer: oneshot::Sender<u64>,
    },
    Move {
        stream: String,
        to: Option<String>,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Leave {
        answer: oneshot::Sender<()>,
    },
}

/// How many commands may wait. What sends them is one loop of the process and a few people.
const COMMANDS: usize = 64;

/// A handle; cheap to clone. When the last one is dropped, the instance vanishes as if it had died: a
/// planned stop calls [`leave`](Self::leave).
#[derive(Debug, Clone)]
pub struct Coordination {
    instance: Arc<str>,
    wanted: watch::Receiver<Wanted>,
    view: watch::Receiver<View>,
    commands: mpsc::Sender<Command>,
}

impl Coordination {
    /// Begins to coordinate. Returns once the instance is registered; nothing is wanted before.
    ///
    /// # Errors
    /// When what the coordination is kept in cannot be used.
    pub async fn start(
        settings: Settings,
        instance: String,
        streams: BTreeSet<String>,
    ) -> Result<Self, Error> {
        match settings {
            Settings::None => Ok(Self::alone(instance, streams)),
            Settings::MongoDb(settings) => mongodb::start(settings, instance, streams).await,
            Settings::Kafka(settings) => kafka::start(settings, instance, streams).await,
        }
    }

    /// Looks whether this user may do what coordinating needs, and changes nothing: for `tailwater check`.
    pub async fn check(settings: &Settings, streams: &BTreeSet<String>) -> Vec<Finding> {
        match settings {
            Settings::None => Vec::new(),
            Settings::MongoDb(settings) => mongodb::check(settings).await,
            Settings::Kafka(settings) => kafka::check(settings, streams).await,
        }
    }

    /// What the others call this instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// A handle, and what stands behind it.
    pub(crate) fn of(instance: &str) -> (Self, Publisher, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(COMMANDS);
        let publisher = Publisher::new(instance.to_owned());
        let handle = Self {
            instance: instance.into(),
            wanted: publisher.watch_wanted(),
            view: publisher.watch_view(),
            commands,
        };
        (handle, publisher, received)
    }

    /// Everything runs here, until the end.
    fn alone(instance: String, streams: BTreeSet<String>) -> Self {
        let mut view = View::default();
        let own = InstanceView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            streams: streams.iter().cloned().collect(),
            ..InstanceView::default()
        };
        for stream in &streams {
            let owned = StreamView {
                owner: Some(instance.clone()),
                mine: true,
                ..StreamView::default()
            };
            view.streams.insert(stream.clone(), owned);
        }
        let (handle, publisher, mut commands) = Self::of(&instance);
        view.instances.insert(instance, own);
        publisher.show(view, None);
        let version = 1;
        publisher.set(Wanted { version, streams });
        tokio::spawn(async move {
            let mut leaving: Option<oneshot::Sender<()>> = None;
            while let Some(command) = commands.recv().await {
                match command {
                    Command::Running { version, streams } => {
                        if streams.is_empty() && version == publisher.version() {
                            leaving.take().map(|answer| answer.send(()));
                        }
                    }
                    Command::Leave { answer } => {
                        publisher.set(Wanted {
                            version: publisher.version() + 1,
                            streams: BTreeSet::new(),
                        });
                        leaving = Some(answer);
                    }
                    Command::Move { answer, .. } => {
                        let _ = answer.send(Err(Error::new(
                            Code::Config,
                            "there is one instance only (COORDINATION=none)",
                        )));
                    }
                    Command::CanRun { .. } => {}
                    Command::Fenced { answer, .. } => {
                        let _ = answer.send(publisher.version());
                    }
                }
            }
        });
        handle
    }

    /// The streams that this instance should run.
    ///
    /// The process compares it with what runs, and reports with [`running`](Self::running).
    pub fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.clone()
    }

    /// What is known of all streams and instances.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Reports that this version of [`wanted`](Self::wanted) was seen, and which streams run or still
    /// drain. A stream that was given away goes to its next owner only when it is no longer among them.
    ///
    /// Called after each change of what is wanted, and each time a stream has ended.
    pub async fn running(&self, version: u64, streams: BTreeSet<String>) {
        self.send(Command::Running { version, streams }).await;
    }

    /// Reports which streams could run here, where those that were told of at the start are not all.
    pub async fn can_run(&self, streams: BTreeSet<String>) {
        self.send(Command::CanRun { streams }).await;
    }

    /// Reports that somebody else has claimed this stream while it ran here. It is wanted again only when
    /// its owner changes, or nobody takes it for as long as an owner may be silent.
    ///
    /// Returns the first version of [`wanted`](Self::wanted) that knows of it: a stream that is wanted in
    /// an earlier one is not to be started.
    pub async fn fenced(&self, stream: &str) -> u64 {
        let (answer, answered) = oneshot::channel();
        let stream = stream.to_owned();
        self.send(Command::Fenced { stream, answer }).await;
        answered.await.unwrap_or(u64::MAX)
    }

    /// Gives the stream, whoever has it, to this instance. It stays there while that lives.
    ///
    /// # Errors
    /// When it cannot: no such stream or instance, or the request cannot be written.
    pub async fn move_to(&self, stream: &str, instance: &str) -> Result<(), Error> {
        self.ask(stream, Some(instance.to_owned())).await
    }

    /// Gives the stream to another instance than the one that has it: to the one with the fewest.
    ///
    /// # Errors
    /// As [`move_to`](Self::move_to), and when there is no other.
    pub async fn release(&self, stream: &str) -> Result<(), Error> {
        self.ask(stream, None).await
    }

    /// Gives all streams away, one by one, each after its last commit; returns when the last is given up.
    /// The caller bounds the time, and keeps reporting what runs.
    pub async fn leave(&self) {
        let (answer, done) = oneshot::channel();
        self.send(Command::Leave { answer }).await;
        let _ = done.await;
    }

    async fn ask(&self, stream: &str, to: Option<String>) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let stream = stream.to_owned();
        self.send(Command::Move { stream, to, answer }).await;
        let gone = |_| Err(Error::new(Code::Internal, "the coordination has ended"));
        answered.await.unwrap_or_else(gone)
    }

    /// Nobody receives any more only after the end.
    async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> BTreeSet<String> {
        ["a".to_owned(), "b".to_owned()].into()
    }

    #[tokio::test]
    async fn alone_everything_runs_here_until_it_leaves() {
        let start = Coordination::start(Settings::None, instance("here"), names());
        let coordination = start.await.unwrap();
        let mut wanted = coordination.wanted();
        assert_eq!(wanted.borrow_and_update().streams, names());
        assert!(coordination.view().borrow().streams["a"].mine);
        assert!(coordination.release("a").await.is_err());

        let leaving = tokio::spawn({
            let coordination = coordination.clone();
            async move { coordination.leave().await }
        });
        wanted.changed().await.unwrap();
        let version = wanted.borrow_and_update().version;
        assert!(wanted.borrow().streams.is_empty());
        coordination.running(version, names()).await;
        assert!(!leaving.is_finished());
        coordination.running(version, BTreeSet::new()).await;
        leaving.await.unwrap();
    }

    #[test]
    fn no_two_starts_have_the_same_name() {
        assert_ne!(instance("here"), instance("here"));
    }
}
