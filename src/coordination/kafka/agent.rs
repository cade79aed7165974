//! Connects the member with Kafka, the clock and the handle.

use super::group::{self, Group};
use super::heard::{Failed, Heard};
use super::journal::Journal;
use super::member::{Member, Times};
use super::names::Names;
use super::pulse::Pulse;
use super::record::Entry;
use super::topics;
use crate::coordination::{Command, Coordination, GroupSettings, Publisher};
use crate::error::{Code, Error};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// How much of what was heard may wait.
const HEARD: usize = 1024;

/// How long the start waits for the registry to be read and the group to have assigned something. The
/// first member of a group waits for others, by default 3 s.
const STARTING: Duration = Duration::from_secs(30);

/// How long the last record of an instance that leaves may take.
const SIGNING_OFF: Duration = Duration::from_secs(2);

/// Registers this instance, joins the group, and begins to decide.
pub async fn start(
    settings: GroupSettings,
    me: String,
    streams: BTreeSet<String>,
) -> Result<Coordination, Error> {
    let GroupSettings {
        kafka,
        topic,
        session,
    } = &settings;
    let names = Names::new(topic, &kafka.client_id, &streams);
    topics::prepare(kafka, &names).await?;
    let (tell, heard) = mpsc::channel(HEARD);
    let journal = Journal::open(kafka, &names, *session, tell.clone())?;
    let pulse = Pulse::default();
    let group = group::join(kafka, &names, *session, tell, pulse.clone())?;
    let (handle, publisher, commands) = Coordination::of(&me);
    let times = Times::of(*session);
    let member = Member::new(me, names.group.clone(), streams, times, Timestamp::now());
    let mut agent = Agent {
        member,
        settings,
        names,
        origin: Instant::now(),
        journal,
        group: Some(group),
        pulse,
        heard,
        publisher,
        away: None,
        mending: None,
        leaving: None,
        asking: BTreeMap::new(),
    };
    agent.begin().await?;
    tokio::spawn(agent.run(commands));
    Ok(handle)
}

struct Agent {
    member: Member,
    settings: GroupSettings,
    names: Names,
    /// All times are since then.
    origin: Instant,
    journal: Journal,
    /// None once this instance leaves.
    group: Option<Group>,
    pulse: Pulse,
    heard: mpsc::Receiver<Heard>,
    publisher: Publisher,
    /// Why Kafka did not do the last thing that it was asked for; none where it did.
    away: Option<String>,
    /// A topic that was deleted is being made again.
    mending: Option<JoinHandle<()>>,
    leaving: Option<oneshot::Sender<()>>,
    /// Who waits for a request that a person made, by stream.
    asking: BTreeMap<String, Vec<oneshot::Sender<Result<(), Error>>>>,
}

impl Agent {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The first heartbeat is read again, and the group has assigned something, be it nothing: what cannot
    /// be done at all is said at the start.
    async fn begin(&mut self) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + STARTING;
        let mut is_member = false;
        let mut last = None;
        while !(self.member.is_ready() && is_member) {
            self.write_what_is_due();
            let wait = self.member.next(self.now()).saturating_sub(self.now());
            let heard = tokio::select! {
                heard = self.heard.recv() => heard,
                () = tokio::time::sleep(wait) => None,
                () = tokio::time::sleep_until(deadline) => {
                    let what = match is_member {
                        true => format!("reading the topic {}", self.names.registry),
                        false => format!("joining the group {}", self.names.group),
                    };
                    let late = Error::new(Code::SinkUnavailable, format!("{what} takes too long"));
                    return Err(last.unwrap_or(late));
                }
            };
            let failed = match &heard {
                Some(Heard::Assigned(_)) => {
                    is_member = true;
                    None
                }
                Some(Heard::Failed(failed) | Heard::Unwritten(failed)) => {
                    Some(failed.error.clone())
                }
                _ => None,
            };
            match failed {
                Some(error) if error.code != Code::SinkUnavailable => return Err(error),
                Some(error) => last = Some(error),
                None => {}
            }
            if let Some(heard) = heard {
                self.hear(heard);
            }
        }
        self.show();
        info!(
            instance = self.publisher.instance(),
            group = self.names.group,
            registry = self.names.registry,
            "a consumer group says which streams run here"
        );
        Ok(())
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            self.act();
            if self.member.has_left() {
                break;
            }
            let wait = self.member.next(self.now()).saturating_sub(self.now());
            tokio::select! {
                heard = self.heard.recv() => match heard {
                    Some(heard) => self.hear(heard),
                    // Only a panic ends what is heard from, and whoever catches those is told by it.
                    None => return,
                },
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                () = tokio::time::sleep(wait) => {}
            }
            while let Ok(heard) = self.heard.try_recv() {
                self.hear(heard);
            }
        }
        self.sign_off().await;
        if let Some(answer) = self.leaving.take() {
            let _ = answer.send(());
        }
    }

    fn show(&self) {
        let view = self.member.view(self.now());
        self.publisher.show(view, self.away.as_ref());
    }

    /// Publishes and writes what is due.
    fn act(&mut self) {
        // First of all: what may not run any more is not wanted any more.
        self.publish();
        self.write_what_is_due();
        self.publish();
        self.show();
    }

    fn publish(&mut self) {
        if let Some(wanted) = self.member.publish(self.now()) {
            self.publisher.want(wanted);
        }
    }

    fn write_what_is_due(&mut self) {
        for entry in self.member.decide(self.now(), Timestamp::now()) {
            if let Err(failed) = self.journal.write(&entry) {
                self.away(&failed.error);
                self.member.write_failed(self.now());
                return;
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        let now = self.now();
        match heard {
            Heard::Read(entry) => {
                self.answer(&entry);
                // What others write can be read also where nothing can be written.
                if self.member.read(entry, now) {
                    self.pulse.beat();
                    self.back();
                }
            }
            Heard::Unwritten(failed) => {
                self.failed(&failed);
                self.member.write_failed(now);
                let asking = std::mem::take(&mut self.asking);
                for answer in asking.into_values().flatten() {
                    let _ = answer.send(Err(failed.error.clone()));
                }
            }
            Heard::Assigned(streams) => self.member.assigned(streams),
            Heard::Revoked(streams) => self.member.revoked(&streams),
            Heard::Failed(failed) => self.failed(&failed),
        }
    }

    fn failed(&mut self, failed: &Failed) {
        self.away(&failed.error);
        if failed.is_missing {
            self.mend();
        }
    }

    /// Whoever asked for this is told that everybody knows.
    fn answer(&mut self, entry: &Entry) {
        if let Entry::Move(stream, Some(_)) = entry {
            for answer in self.asking.remove(stream).unwrap_or_default() {
                let _ = answer.send(Ok(()));
            }
        }
    }

    /// Makes topics that somebody has deleted.
    fn mend(&mut self) {
        if self.mending.as_ref().is_none_or(JoinHandle::is_finished) {
            let (kafka, names) = (self.settings.kafka.clone(), self.names.clone());
            let mending = async move {
                if let Err(error) = topics::prepare(&kafka, &names).await {
                    warn!(
                        code = error.code.name(),
                        "a topic that is gone is not made again: {error}"
                    );
                }
            };
            self.mending = Some(tokio::spawn(mending));
        }
    }

    fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Running { version, streams } => self.member.running(version, &streams),
            Command::CanRun { streams } => self.member.can_run(streams),
            Command::Fenced { stream, answer } => {
                self.member.fenced(&stream, now);
                self.publish();
                let _ = answer.send(self.publisher.version());
            }
            Command::Leave { answer } => {
                self.member.leave(now);
                // The others are assigned what was ours, and come for it.
                self.group = None;
                self.leaving = Some(answer);
            }
            Command::Move { stream, to, answer } => self.ask(stream, to.as_deref(), answer),
        }
    }

    /// Writes a person's request, or says why it cannot be.
    fn ask(
        &mut self,
        stream: String,
        to: Option<&str>,
        answer: oneshot::Sender<Result<(), Error>>,
    ) {
        let asked = match self.member.ask(&stream, to, self.now()) {
            Ok(entry) => self.journal.write(&entry).map_err(|failed| failed.error),
            Err(sentence) => Err(Error::new(Code::Config, sentence)),
        };
        match asked {
            Ok(()) => self.asking.entry(stream).or_default().push(answer),
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
    }

    fn away(&mut self, error: &Error) {
        if self.away.replace(error.to_string()).is_none() {
            warn!(
                code = error.code.name(),
                "the coordination does not get on with Kafka: {error}; streams that run here do so as long \
                 as the registry can be read and written"
            );
        }
    }

    fn back(&mut self) {
        if self.away.take().is_some() {
            info!("the registry of instances can be read and written again");
        }
    }

    /// Removes this instance from the registry; the others wait for it no more.
    async fn sign_off(&mut self) {
        let last = Entry::Instance(self.publisher.instance().to_owned(), None);
        if let Err(failed) = self.journal.write(&last) {
            warn!(error = %failed.error, "this instance could not be signed off");
            return;
        }
        let read = async {
            while let Some(heard) = self.heard.recv().await {
                if matches!(heard, Heard::Read(entry) if entry == last) {
                    return;
                }
            }
        };
        if tokio::time::timeout(SIGNING_OFF, read).await.is_err() {
            warn!("this instance could not be signed off");
        }
    }
}
