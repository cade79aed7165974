//! `provide.transaction.metadata`, and the topic that goes with it.

use crate::config::{self, Sink, table};
use crate::migrate::back::Set;
use crate::migrate::plan::Reading;

const PROVIDE: &str = "provide.transaction.metadata";
const TOPIC: &str = "topic.transaction";

pub(super) fn translate(reading: &mut Reading<'_>) {
    let value = reading.get(PROVIDE);
    let is_on = value.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    reading.take_as_is(PROVIDE, &table::TRANSACTION_METADATA);
    if is_on {
        reading.take_as_is(TOPIC, &table::DEBEZIUM_TRANSACTION_TOPIC);
    } else if reading.get(TOPIC).is_some() {
        reading.taken(TOPIC, "of provide.transaction.metadata, which is not on");
    }
}

pub(in crate::migrate) fn back(set: Set<'_>, format: &config::Debezium, sink: &Sink) {
    let Some(topic) = &sink.topics.bounds else {
        return;
    };
    set(PROVIDE, "true");
    let prefix = format!("{}.", format.name);
    set(TOPIC, topic.strip_prefix(&prefix).unwrap_or(topic));
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::migrate::{Connector, Incumbent, Plan, Verdict, back};

    fn plan(more: &str) -> Plan {
        let text =
            format!("name=a\ntopic.prefix=p\nmongodb.connection.string=mongodb://h/shop\n{more}");
        Incumbent::Debezium.plan(&Connector::read(&text).unwrap())
    }

    fn variables(plan: &Plan) -> Vec<(&str, &str)> {
        let all = plan.variables.iter();
        let found = all.filter(|(name, _)| name.contains("TRANSACTION"));
        found.map(|(name, value)| (*name, value.as_str())).collect()
    }

    #[test]
    fn what_is_said_of_transactions_is_taken_with_its_topic() {
        let on = plan("provide.transaction.metadata=true\ntopic.transaction=tx\n");
        assert_eq!(
            variables(&on),
            [
                ("TRANSACTION_METADATA", "true"),
                ("DEBEZIUM_TRANSACTION_TOPIC", "tx")
            ]
        );
        let off = plan("provide.transaction.metadata=false\ntopic.transaction=tx\n");
        assert_eq!(variables(&off), [("TRANSACTION_METADATA", "false")]);
        assert_eq!(variables(&plan("")), []);
        let decided = |plan: &Plan| {
            let notes = plan.notes.iter();
            let mut open = notes.filter(|it| it.verdict == Verdict::Decision);
            open.any(|it| it.property.contains("transaction"))
        };
        assert!(!decided(&on) && !decided(&off));
        assert!(decided(&plan(
            "transaction.metadata.factory=com.example.Own\n"
        )));
    }

    #[test]
    fn a_stream_that_says_it_becomes_a_connector_that_does() {
        let connector = |more: &[(&str, &str)]| {
            let all = [
                ("MONGODB_URI", "mongodb://h/shop"),
                ("KAFKA_BROKERS", "h:9092"),
                ("FORMAT", "debezium"),
                ("KAFKA_TOPIC_PREFIX", "p"),
            ];
            let all = all.iter().chain(more);
            let all = all.map(|(name, value)| ((*name).into(), (*value).into()));
            let config = Config::from_sources(all, None).unwrap().config;
            let stream = &config.streams[0];
            let back = back::connector(Incumbent::Debezium, "a", &config, stream).unwrap();
            let properties = back.connector.properties;
            ["provide.transaction.metadata", "topic.transaction"]
                .map(|name| properties.get(name).cloned().unwrap_or_default())
        };
        assert_eq!(connector(&[]), ["", ""]);
        let on = ("TRANSACTION_METADATA", "true");
        assert_eq!(connector(&[on]), ["true", "transaction"]);
        let topic = ("DEBEZIUM_TRANSACTION_TOPIC", "of.tx");
        assert_eq!(connector(&[on, topic]), ["true", "of.tx"]);
    }
}
