//! `tailwater worker list`: what Kafka says of the group, and what its workers say of themselves.

use crate::cli::http::{DEADLINE, send};
use crate::cli::streams::aligned;
use crate::cli::{Output, print};
use crate::config::Config;
use crate::error::{Code, Error};
use crate::worker::members::{self, Group, Lag, Member};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::thread;

/// Carries the command out; the exit code.
///
/// # Errors
/// When Kafka does not answer, or refuses to.
pub async fn run(config: Config, output: Output) -> Result<u8, Error> {
    let work = move || {
        let group = members::ask(&config.kafka, &config.worker)?;
        let told = asked(&group.members);
        Ok(print(&match output {
            Output::Text => format!("{}\n", text(&group, &told)),
            Output::Json => format!("{:#}\n", in_json(&group, &told)),
        }))
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Internal, "the command was abandoned").because(error))?
}

/// The health of a worker, or why it is not known.
type Told = Result<Value, String>;

/// Asks all of them at once: those that are gone take their time.
fn asked(members: &[Member]) -> Vec<Told> {
    thread::scope(|scope| {
        let asking: Vec<_> = members
            .iter()
            .map(|member| scope.spawn(|| health(member)))
            .collect();
        let told = asking.into_iter().map(|asking| asking.join());
        told.map(|told| told.unwrap_or_else(|_| Err("it was not asked".to_owned())))
            .collect()
    })
}

fn health(member: &Member) -> Told {
    let Some(instance) = &member.instance else {
        return Err("this is no worker of Tailwater".to_owned());
    };
    let Some(http) = member.http else {
        return Err("HTTP_ADDR=off: it says nothing of itself".to_owned());
    };
    let body = get(http).map_err(|error| format!("http://{http}: {error}"))?;
    let health: Value = serde_json::from_str(&body).unwrap_or_default();
    match health["instance"] == json!(instance) {
        true => Ok(health),
        // Ports are given away again, and a loopback address is another one on each host.
        false => Err(format!(
            "another process is at http://{http} as seen from here; an HTTP_ADDR that is reached from here lets it be asked"
        )),
    }
}

fn get(http: SocketAddr) -> Result<String, String> {
    let request = format!("GET /health HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
    send(http, &request, DEADLINE).map(|(_, body)| body)
}

/// Whose a partition is.
fn owner<'a>(group: &'a Group, lag: &Lag) -> Option<&'a Member> {
    let mut members = group.members.iter();
    members.find(|member| member.partitions.contains(&lag.place))
}

fn waiting(group: &Group) -> i64 {
    group.partitions.iter().map(|lag| lag.waiting).sum()
}

/// Jobs that workers of the group do not all handle, or not all in the same way, each in a sentence.
fn differing(told: &[Told]) -> Vec<String> {
    let known: Vec<&Value> = told.iter().filter_map(|told| told.as_ref().ok()).collect();
    let mut calls: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for health in &known {
        for (job, handler) in health["handlers"].as_object().into_iter().flatten() {
            let called = handler["calls"].as_str().unwrap_or_default();
            calls.entry(job).or_default().push(called);
        }
    }
    let sentence = |(job, mut of): (&str, Vec<&str>)| {
        let count = of.len();
        of.sort_unstable();
        of.dedup();
        match (count < known.len(), of.as_slice()) {
            (true, _) => Some(format!(
                "the job {job} has a handler in {count} of {} workers: what the others get of it becomes dead letters",
                known.len()
            )),
            (false, [_]) => None,
            (false, several) => Some(format!(
                "the workers do different things about the job {job}: {}",
                several.join(", ")
            )),
        }
    };
    calls.into_iter().filter_map(sentence).collect()
}

fn in_json(group: &Group, told: &[Told]) -> Value {
    let members = group.members.iter().zip(told).map(|(member, told)| {
        let mut row = json!(member);
        match told {
            Ok(health) => row["health"] = health.clone(),
            Err(why) => row["unreachable"] = why.as_str().into(),
        }
        row
    });
    let partitions = group.partitions.iter().map(|lag| {
        let mut row = json!(lag);
        row["instance"] = json!(owner(group, lag).map(called));
        row
    });
    json!({
        "group": group.group,
        "state": group.state,
        "waiting": waiting(group),
        "workers": members.collect::<Vec<_>>(),
        "differing": differing(told),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn called(member: &Member) -> &str {
    member.instance.as_deref().unwrap_or(&member.client)
}

fn text(group: &Group, told: &[Told]) -> String {
    let mut out = format!(
        "group {}: {}, {} workers, {} jobs wait",
        group.group,
        group.state.to_lowercase(),
        group.members.len(),
        waiting(group)
    );
    let head = [
        "worker",
        "at",
        "state",
        "partitions",
        "active",
        "to be tried again",
        "completed",
        "failed",
    ];
    let mut table = vec![head.map(str::to_owned)];
    for (member, told) in group.members.iter().zip(told) {
        let sum = |field: &str| match told {
            Ok(health) => {
                let jobs = health["jobs"].as_object().into_iter().flatten();
                let counts = jobs.filter_map(|(_, counts)| counts[field].as_u64());
                counts.sum::<u64>().to_string()
            }
            Err(_) => "-".to_owned(),
        };
        let state = match told {
            Ok(health) => match health["status"].as_str() {
                Some("healthy") | None => health["state"].as_str().unwrap_or("-").to_owned(),
                Some(status) => format!("{}, {status}", health["state"].as_str().unwrap_or("-")),
            },
            Err(_) => "not asked".to_owned(),
        };
        let at = member.http.map(|http| http.to_string());
        table.push([
            called(member).to_owned(),
            at.unwrap_or_else(|| member.host.clone()),
            state,
            member.partitions.len().to_string(),
            sum("active"),
            sum("parked"),
            sum("completed"),
            sum("failed"),
        ]);
    }
    // Writing to a string does not fail.
    if !group.members.is_empty() {
        let _ = write!(out, "\n\n{}", aligned(&table));
    }
    for (member, told) in group.members.iter().zip(told) {
        let note = match told {
            Ok(health) => health["reason"].as_str(),
            Err(why) => Some(why.as_str()),
        };
        if let Some(note) = note {
            let _ = write!(out, "\n{}: {note}", called(member));
        }
    }
    for sentence in differing(told) {
        let _ = write!(out, "\n{sentence}");
    }
    let mut table = vec![["partition", "wait", "done up to", "end", "worker"].map(str::to_owned)];
    for lag in &group.partitions {
        let committed = lag.committed.map(|committed| committed.to_string());
        table.push([
            format!("{}/{}", lag.place.topic, lag.place.partition),
            lag.waiting.to_string(),
            committed.unwrap_or_else(|| "-".to_owned()),
            lag.end.to_string(),
            owner(group, lag).map_or("nobody", called).to_owned(),
        ]);
    }
    match group.partitions.is_empty() {
        true => out += "\n\nno topic of WORKER_TOPICS is there",
        false => {
            let _ = write!(out, "\n\n{}", aligned(&table));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::members::Place;

    #[test]
    fn every_worker_has_a_line_and_so_has_every_partition() {
        let place = |partition: i32| Place {
            topic: "jobs.mail".to_owned(),
            partition,
        };
        let member = |instance: Option<&str>, partitions: &[i32]| Member {
            instance: instance.map(str::to_owned),
            client: "another".to_owned(),
            host: "10.0.0.1".to_owned(),
            http: instance.map(|_| "10.0.0.1:3001".parse().unwrap()),
            partitions: partitions.iter().map(|number| place(*number)).collect(),
        };
        let lag = |partition: i32, committed: Option<i64>, waiting: i64| Lag {
            place: place(partition),
            committed,
            end: 9,
            waiting,
        };
        let group = Group {
            group: "workers".to_owned(),
            state: "Stable".to_owned(),
            members: vec![member(Some("a/1-0f"), &[0]), member(None, &[1])],
            partitions: vec![lag(0, Some(9), 0), lag(1, Some(4), 5), lag(2, None, 9)],
        };
        let health = json!({"status": "degraded", "state": "paused", "reason": "mail: off", "jobs": {
            "mail": {"active": 2, "parked": 1, "completed": 7, "failed": 0},
            "text": {"active": 1, "parked": 0, "completed": 1, "failed": 3},
        }});
        let told = [Ok(health), Err("this is no worker of Tailwater".to_owned())];
        let expected = "group workers: stable, 2 workers, 14 jobs wait\n\n\
             worker   at             state             partitions  active  to be tried again  completed  failed\n\
             a/1-0f   10.0.0.1:3001  paused, degraded  1           3       1                  8          3\n\
             another  10.0.0.1       not asked         1           -       -                  -          -\n\
             a/1-0f: mail: off\n\
             another: this is no worker of Tailwater\n\n\
             partition    wait  done up to  end  worker\n\
             jobs.mail/0  0     9           9    a/1-0f\n\
             jobs.mail/1  5     4           9    another\n\
             jobs.mail/2  9     -           9    nobody";
        assert_eq!(text(&group, &told), expected);
        let whole = in_json(&group, &told);
        assert_eq!(whole["workers"][0]["health"]["state"], "paused");
        assert_eq!(whole["partitions"][2]["instance"], Value::Null);
        assert_eq!(
            (&whole["partitions"][1]["topic"], &whole["waiting"]),
            (&json!("jobs.mail"), &json!(14))
        );
    }

    #[test]
    fn what_workers_of_a_group_do_differently_is_told() {
        let worker = |handlers: Value| -> Told { Ok(json!({"handlers": handlers})) };
        let call = |at: &str| json!({"calls": format!("https://{at}/"), "off": false});
        let one = worker(json!({"mail": call("a"), "text": call("a"), "tidy": call("a")}));
        let other = worker(json!({"mail": call("a"), "tidy": call("b")}));
        let gone: Told = Err("it is gone".to_owned());
        assert_eq!(
            differing(&[one.clone(), gone, other]),
            [
                "the job text has a handler in 1 of 2 workers: what the others get of it becomes dead letters",
                "the workers do different things about the job tidy: https://a/, https://b/",
            ]
        );
        assert!(differing(&[one.clone(), one]).is_empty());
        assert!(differing(&[]).is_empty());
    }
}
