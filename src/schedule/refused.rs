//! Topics that this user may not write: their schedules wait, and the others go on.

use crate::config::Kafka;
use crate::error::Error;
use crate::kafka::rights::{self, Use};
use crate::kafka::{client, topic};
use crate::preflight::{Finding, Severity};
use crate::tasks;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why each cannot be written, by its name.
#[derive(Debug, Default)]
pub struct Refused(BTreeMap<String, String>);

impl Refused {
    /// Kafka has refused a transaction with records of these, and does not say because of which: they wait until it is
    /// [asked](Self::look).
    pub fn note(&mut self, topics: impl IntoIterator<Item = String>) {
        for topic in topics {
            let why = format!("whether the user may write to topic {topic} is being asked");
            self.0.insert(topic, why);
        }
    }

    pub fn why(&self, topic: &str) -> Option<&str> {
        self.0.get(topic).map(String::as_str)
    }

    /// Asks Kafka about them. What it does not say is found out by a record.
    pub async fn look(&mut self, kafka: &Arc<Kafka>) {
        if self.0.is_empty() {
            return;
        }
        let names: Vec<_> = self.0.keys().cloned().collect();
        let kafka = Arc::clone(kafka);
        let work = tasks::blocking("the rights on topics of jobs", move || ask(&kafka, names));
        // While nobody answers nothing can be written either.
        if let Ok(Ok(refused)) = work.await {
            self.0 = refused;
        }
    }
}

/// Those of these topics that cannot be written, and why. Blocks.
fn ask(kafka: &Kafka, names: Vec<String>) -> Result<BTreeMap<String, String>, Error> {
    let admin = topic::admin(kafka)?;
    let mut refused = BTreeMap::new();
    for name in names {
        let findings = rights::on_topics(admin.inner(), kafka, &[(name.as_str(), Use::Produce)]);
        let mut wrong = findings.iter().filter(|it| it.severity == Severity::Error);
        if let Some(why) = wrong.next().map(Finding::on_one_line) {
            refused.insert(name, why);
        }
    }
    client::end_beside(admin);
    Ok(refused)
}
