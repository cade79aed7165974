//! The file that a connector was made with.

use serde_json::Value;
use std::collections::BTreeMap;

/// A connector's name and properties.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connector {
    pub name: Option<String>,
    pub properties: BTreeMap<String, String>,
}

impl Connector {
    /// Reads what Connect's REST API answers and takes (`{"name":…,"config":{…}}`), the properties alone as JSON, or a
    /// file of properties, also that of Debezium Server.
    ///
    /// # Errors
    /// What is wrong with it, without what it holds: it may hold passwords.
    pub fn read(text: &str) -> Result<Self, String> {
        let properties = match text.trim_start().starts_with('{') {
            true => of_json(text)?,
            false => of_lines(text),
        };
        let mut connector = Self {
            name: properties.get("name").cloned(),
            properties,
        };
        connector.of_debezium_server();
        match connector.properties.is_empty() {
            true => Err("has no properties of a connector".into()),
            false => Ok(connector),
        }
    }

    /// What a worker's file says for connectors that do not say it themselves.
    pub fn fill_from_worker(&mut self, worker: &Self) {
        // A converter of its own takes nothing of the worker's.
        let own = self.properties.clone();
        for (name, value) in &worker.properties {
            let of = ["key.converter", "value.converter", "header.converter"].into_iter();
            let mut of = of.filter(|half| name.starts_with(half));
            if of.next().is_some_and(|half| !own.contains_key(half)) {
                self.properties.insert(name.clone(), value.clone());
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.properties.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// `debezium.source.*` are the connector's.
    fn of_debezium_server(&mut self) {
        const SOURCE: &str = "debezium.source.";
        if !self.properties.keys().any(|name| name.starts_with(SOURCE)) {
            return;
        }
        let all = std::mem::take(&mut self.properties);
        for (name, value) in all {
            match name.strip_prefix(SOURCE) {
                Some(own) => self.properties.insert(own.to_owned(), value),
                None => self.properties.insert(name, value),
            };
        }
        // What its engine names its offsets after, unless it is told otherwise.
        self.name = Some(self.get("name").unwrap_or("kafka").to_owned());
    }
}

fn of_json(text: &str) -> Result<BTreeMap<String, String>, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|why| format!("is no JSON (line {}, column {})", why.line(), why.column()))?;
    let (config, named) = match value.get("config") {
        Some(config) => (config, value.get("name").and_then(Value::as_str)),
        None => (&value, None),
    };
    let Some(fields) = config.as_object() else {
        return Err("its config is no object of properties".into());
    };
    let mut properties = BTreeMap::new();
    if let Some(named) = named {
        properties.insert("name".to_owned(), named.to_owned());
    }
    for (name, value) in fields {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => {
                return Err(format!(
                    "its property {name} is neither text, number nor flag"
                ));
            }
        };
        properties.insert(name.clone(), text);
    }
    Ok(properties)
}

/// Java's properties, as far as they occur in files of Connect: `name=value`, `#`, a line that goes on behind `\`.
fn of_lines(text: &str) -> BTreeMap<String, String> {
    let text = text.replace("\r\n", "\n").replace("\\\n", "");
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with(['#', '!']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), unescaped(value.trim())))
        .collect()
}

/// A backslash stands before what it takes the meaning from.
fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Connector;

    #[test]
    fn every_form_of_the_file_gives_the_same_properties() {
        let rest =
            r#"{"name":"inventory","config":{"topic.prefix":"shop","tasks.max":1},"tasks":[]}"#;
        let flat = r#"{"name":"inventory","topic.prefix":"shop","tasks.max":"1"}"#;
        let lines = "# a file\nname = inventory\ntopic.prefix=sh\\\nop\ntasks.max=1\n";
        let server = "debezium.source.name=inventory\ndebezium.source.topic.prefix=shop\ndebezium.source.tasks.max=1";
        let read = Connector::read(rest).unwrap();
        assert_eq!(read.name.as_deref(), Some("inventory"));
        assert_eq!(read.get("tasks.max"), Some("1"));
        for other in [flat, lines, server] {
            assert_eq!(Connector::read(other).unwrap(), read, "{other}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_refused_without_its_content() {
        for wrong in [
            "",
            "{\"config\":[]}",
            "{\"a\":{\"pass\":1}}",
            "{\"a\":\"hunter2",
        ] {
            let told = Connector::read(wrong).unwrap_err();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_worker_says_what_the_connector_does_not() {
        let mut connector = Connector::read("name=a\nkey.converter=Own").unwrap();
        let worker = "key.converter=K\nkey.converter.schemas.enable=false\nvalue.converter=V\nheader.converter=H\ngroup.id=g";
        connector.fill_from_worker(&Connector::read(worker).unwrap());
        assert_eq!(connector.get("key.converter"), Some("Own"));
        assert_eq!(connector.get("key.converter.schemas.enable"), None);
        assert_eq!(connector.get("value.converter"), Some("V"));
        assert_eq!(connector.get("header.converter"), Some("H"));
        assert_eq!(connector.get("group.id"), None);
    }
}
