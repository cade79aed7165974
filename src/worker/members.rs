//! Who is in a group of workers, which partitions each has, and how many jobs wait, as Kafka says it.

use super::topics::is_of_jobs;
use crate::config::worker::retries_of;
use crate::config::{Kafka, Worker};
use crate::error::Error;
use crate::kafka::client::{self, Logging};
use crate::kafka::reader::{self, ANSWER};
use crate::source::pattern::Pattern;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Where no more than so many offsets are left, the records among them are counted: what ends a transaction has an
/// offset, too.
const COUNTED: i64 = 16;
/// How long that may take.
const COUNTING: Duration = Duration::from_secs(3);

/// How a worker is called in its group: the name of all clients, its instance, and where it says how it is.
pub fn name(client: &str, instance: &str, http: Option<&SocketAddr>) -> String {
    match http {
        Some(http) => format!("{client}@{instance}@{http}"),
        None => format!("{client}@{instance}@"),
    }
}

/// A partition with jobs, or of the topic of retries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
}

/// A member of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// None for a program that is no worker.
    pub instance: Option<String>,
    /// Its name in Kafka.
    pub client: String,
    /// Where it comes from, as the broker sees it.
    pub host: String,
    /// Where it says how it is; none with `HTTP_ADDR=off`.
    pub http: Option<SocketAddr>,
    pub partitions: Vec<Place>,
}

/// How many jobs of a partition wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lag {
    #[serde(flatten)]
    pub place: Place,
    /// Up to where its jobs are done; none where nothing of it was committed.
    pub committed: Option<i64>,
    pub end: i64,
    pub waiting: i64,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    pub group: String,
    /// Kafka's word for it, such as `Stable`, or `Empty` without members.
    pub state: String,
    pub members: Vec<Member>,
    pub partitions: Vec<Lag>,
}

/// Asks Kafka. Blocks.
///
/// # Errors
/// When it does not answer, or refuses to.
pub fn ask(kafka: &Kafka, worker: &Worker) -> Result<Group, Error> {
    let group = &worker.group;
    let brokers = &kafka.brokers;
    let failed = |what: &str, error: &KafkaError| {
        client::error(format!("{what} the group {group} of {brokers}"), error)
    };
    let consumer = reader::reader(kafka, group, true)?;
    let listed = consumer
        .fetch_group_list(Some(group), ANSWER)
        .map_err(|error| failed("asking for", &error))?;
    let found = listed.groups().iter().find(|it| it.name() == group);
    let members = found.map_or(&[][..], |found| found.members());
    let mut members: Vec<_> = members
        .iter()
        .map(|member| {
            let partitions = member.assignment().and_then(assignment);
            Member::of(
                member.client_id(),
                member.client_host(),
                partitions.unwrap_or_default(),
            )
        })
        .collect();
    members.sort_by(|a, b| a.client.cmp(&b.client));
    let state = match found.map(|found| found.state()) {
        // Kafka has none of that name yet.
        None | Some("" | "Dead") => "Empty",
        Some(state) => state,
    };
    let partitions = lags(&consumer, worker).map_err(|error| failed("asking how far", &error))?;
    client::end_beside(consumer);
    Ok(Group {
        group: group.clone(),
        state: state.to_owned(),
        members,
        partitions,
    })
}

impl Member {
    fn of(client: &str, host: &str, mut partitions: Vec<Place>) -> Self {
        partitions.sort();
        let host = host.trim_start_matches('/');
        let mut parts = client.rsplitn(3, '@');
        let http = parts.next().unwrap_or_default();
        let instance = parts.next().filter(|_| parts.next().is_some());
        let http = instance.and_then(|_| http.parse().ok());
        Self {
            instance: instance.map(str::to_owned),
            client: client.to_owned(),
            host: host.to_owned(),
            http: http.map(|http| reachable(http, host)),
            partitions,
        }
    }
}

/// Where a server that listens at all addresses is reached: where its other connections come from.
fn reachable(http: SocketAddr, host: &str) -> SocketAddr {
    match host.parse::<IpAddr>() {
        Ok(ip) if http.ip().is_unspecified() => SocketAddr::new(ip, http.port()),
        _ => http,
    }
}

/// The partitions in what the leader of a group has assigned to a member (`ConsumerProtocolAssignment`).
fn assignment(bytes: &[u8]) -> Option<Vec<Place>> {
    let mut rest = bytes;
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(taken)
    };
    take(2)?;
    let topics = i32::from_be_bytes(take(4)?.try_into().ok()?);
    let mut places = Vec::new();
    for _ in 0..topics {
        let len = u16::from_be_bytes(take(2)?.try_into().ok()?);
        let topic = std::str::from_utf8(take(len.into())?).ok()?;
        let partitions = i32::from_be_bytes(take(4)?.try_into().ok()?);
        for _ in 0..partitions {
            let partition = i32::from_be_bytes(take(4)?.try_into().ok()?);
            let topic = topic.to_owned();
            places.push(Place { topic, partition });
        }
    }
    Some(places)
}

fn lags(consumer: &BaseConsumer<Logging>, worker: &Worker) -> Result<Vec<Lag>, KafkaError> {
    let patterns: Vec<_> = worker
        .topics
        .iter()
        .map(|text| Pattern::new(text))
        .collect();
    let retries = retries_of(&worker.group);
    let metadata = consumer.fetch_metadata(None, ANSWER)?;
    let topics = metadata.topics().iter();
    let topics = topics.filter(|it| is_of_jobs(&patterns, it.name()) || it.name() == retries);
    let mut list = TopicPartitionList::new();
    for topic in topics.filter(|it| it.error().is_none()) {
        for partition in topic.partitions() {
            list.add_partition(topic.name(), partition.id());
        }
    }
    if list.count() == 0 {
        return Ok(Vec::new());
    }
    let committed = consumer.committed_offsets(list, ANSWER)?;
    let mut lags = Vec::new();
    for element in committed.elements() {
        let (topic, partition) = (element.topic().to_owned(), element.partition());
        let (low, end) = consumer.fetch_watermarks(&topic, partition, ANSWER)?;
        let committed = match element.offset() {
            Offset::Offset(next) => Some(next),
            _ => None,
        };
        lags.push(Lag {
            place: Place { topic, partition },
            committed,
            end,
            waiting: (end - committed.unwrap_or(0).max(low)).max(0),
        });
    }
    lags.sort_by(|a, b| a.place.cmp(&b.place));
    count(consumer, &mut lags)?;
    Ok(lags)
}

/// Counts the records where few offsets are left.
fn count(consumer: &BaseConsumer<Logging>, lags: &mut [Lag]) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    let mut counts = BTreeMap::new();
    for lag in lags.iter() {
        if (1..=COUNTED).contains(&lag.waiting) {
            let (topic, partition) = (&lag.place.topic, lag.place.partition);
            let from = Offset::Offset(lag.end - lag.waiting);
            list.add_partition_offset(topic, partition, from)?;
            counts.insert(lag.place.clone(), 0);
        }
    }
    consumer.assign(&list)?;
    let (mut open, end) = (counts.len(), Instant::now() + COUNTING);
    while open > 0 && Instant::now() < end {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let (topic, partition) = (message.topic().to_owned(), message.partition());
                *counts.entry(Place { topic, partition }).or_default() += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            // What is known from the offsets has to do.
            Some(Err(error)) if client::ends_reading(&error) => return Ok(()),
            Some(Err(_)) | None => {}
        }
    }
    if open == 0 {
        for lag in lags {
            if let Some(count) = counts.get(&lag.place) {
                lag.waiting = *count;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(topic: &str, partition: i32) -> Place {
        Place {
            topic: topic.to_owned(),
            partition,
        }
    }

    #[test]
    fn an_assignment_is_read_as_kafka_has_it_and_nothing_of_one_that_is_cut() {
        let mut bytes = vec![0, 3, 0, 0, 0, 2];
        for (topic, partitions) in [("jobs.a", &[0, 7][..]), ("b", &[1])] {
            bytes.extend((topic.len() as u16).to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend((partitions.len() as i32).to_be_bytes());
            for partition in partitions {
                bytes.extend(i32::to_be_bytes(*partition));
            }
        }
        let whole = [place("jobs.a", 0), place("jobs.a", 7), place("b", 1)];
        // What the protocol has behind it is of no interest.
        let with_user_data = [&bytes[..], &[0, 0, 0, 1, 9]].concat();
        assert_eq!(assignment(&with_user_data).unwrap(), whole);
        for cut in 0..bytes.len() {
            assert_eq!(assignment(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(assignment(&[0, 1, 0, 0, 0, 0]), Some(vec![]));
    }

    #[test]
    fn a_member_is_known_by_its_name_and_other_programs_are_not_asked() {
        let http = |text: &str| text.parse::<SocketAddr>().unwrap();
        let at = http("0.0.0.0:3001");
        let client = name("my@client", "host/12-0f", Some(&at));
        let member = Member::of(&client, "/10.1.2.3", vec![place("b", 1), place("a", 2)]);
        assert_eq!(member.instance.as_deref(), Some("host/12-0f"));
        assert_eq!(member.http, Some(http("10.1.2.3:3001")));
        assert_eq!(member.partitions, [place("a", 2), place("b", 1)]);
        let member = Member::of(&name("t", "i", Some(&http("[::1]:7"))), "/::1", vec![]);
        assert_eq!((member.http, &*member.host), (Some(http("[::1]:7")), "::1"));
        let off = Member::of(&name("t", "i", None), "/10.1.2.3", vec![]);
        assert_eq!((off.instance.as_deref(), off.http), (Some("i"), None));
        for other in ["rdkafka", "a@127.0.0.1:80", ""] {
            let other = Member::of(other, "/10.1.2.3", vec![]);
            assert_eq!((other.instance, other.http), (None, None));
        }
    }
}
