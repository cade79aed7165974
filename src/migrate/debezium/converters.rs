//! Key and value as JSON, both with or both without schemas, or both in Avro.

use crate::config::{self, Credentials, Serialization, SubjectName, table};
use crate::migrate::back::Set;
use crate::migrate::plan::Reading;

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const AVRO: &str = "io.confluent.connect.avro.AvroConverter";

const LOG_IN: &str = "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD";

const ADJUSTMENT: &str = "schema.name.adjustment.mode";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Json { schemas: bool },
    Avro,
}

pub(super) fn translate(reading: &mut Reading<'_>) {
    let kinds = ["key", "value"].map(|half| kind(reading, half));
    let is_avro = kinds.contains(&Some(Kind::Avro));
    match kinds {
        [Some(Kind::Avro), Some(Kind::Avro)] => avro(reading),
        [
            Some(Kind::Json { schemas: key }),
            Some(Kind::Json { schemas: value }),
        ] if key == value => {
            reading.set(&table::DEBEZIUM_SCHEMAS, key.to_string());
        }
        [Some(Kind::Json { .. }), Some(Kind::Json { .. })] => reading.decide(
            "key.converter.schemas.enable",
            "key and value differ; DEBEZIUM_SCHEMAS is one for both",
        ),
        [Some(_), Some(_)] => reading.decide(
            "key.converter",
            "key and value differ; SERIALIZATION is one for both",
        ),
        _ => {}
    }
    match reading.get(ADJUSTMENT) {
        None => {}
        // Names that Avro does not allow make the connector fail, so that both are the same for what it writes.
        Some("none" | "avro") if is_avro => reading.taken(ADJUSTMENT, "as Tailwater does"),
        Some("none") => reading.taken(ADJUSTMENT, "as Tailwater does"),
        Some(_) if is_avro => reading.decide(
            ADJUSTMENT,
            "names in schemas are adjusted as with avro, and nothing changes that",
        ),
        Some(_) => reading.decide(
            ADJUSTMENT,
            "names in schemas are not adjusted, as with its default none, and nothing changes that",
        ),
    }
    for half in ["key", "value"] {
        reading.without(&[(&*format!("{half}.converter.*"), "belongs to the converter")]);
    }
}

fn kind(reading: &mut Reading<'_>, half: &str) -> Option<Kind> {
    let property = format!("{half}.converter");
    let enable = format!("{half}.converter.schemas.enable");
    let schemas = reading.get(&enable).unwrap_or("true") == "true";
    let found = match reading.get(&property) {
        Some(JSON) => {
            reading.taken(&property, "JSON");
            Some(Kind::Json { schemas })
        }
        Some(AVRO) => {
            reading.taken(&property, "SERIALIZATION=avro");
            Some(Kind::Avro)
        }
        Some(_) => {
            reading.decide(&property, "records are JSON as of JsonConverter, or Avro as of Confluent's AvroConverter with SERIALIZATION=avro; consumers of another converter cannot read them");
            None
        }
        None => {
            reading.decide(&property, "the worker's converter counts; give its file as --worker, or set DEBEZIUM_SCHEMAS=true where it is JsonConverter with schemas.enable=true");
            None
        }
    };
    if reading.peek(&enable).is_some() {
        reading.taken(&enable, "DEBEZIUM_SCHEMAS");
    }
    found
}

fn avro(reading: &mut Reading<'_>) {
    reading.set(&table::SERIALIZATION, "avro");
    let of = |half: &str, name: &str| format!("{half}.converter.{name}");
    // Both speak to one registry, as one.
    for (name, what) in [
        ("schema.registry.url", "SCHEMA_REGISTRY_URL"),
        ("schema.registry.basic.auth.user.info", LOG_IN),
        ("basic.auth.user.info", LOG_IN),
        ("basic.auth.credentials.source", LOG_IN),
        ("auto.register.schemas", "SCHEMA_AUTO_REGISTER"),
        ("key.subject.name.strategy", "SCHEMA_SUBJECT"),
        ("value.subject.name.strategy", "SCHEMA_SUBJECT"),
    ] {
        let [key, value] = ["key", "value"].map(|half| {
            let property = of(half, name);
            reading.get(&property)
        });
        if key != value && !name.contains("strategy") {
            reading.decide(
                &of("value", name),
                format!("key and value differ; {what} is one for both"),
            );
            continue;
        }
        let Some(value) = value.or(key) else { continue };
        match name {
            "schema.registry.url" => match value.split_once(',') {
                None => reading.set(&table::SCHEMA_REGISTRY_URL, value),
                Some((first, _)) => reading.set(&table::SCHEMA_REGISTRY_URL, first.trim()),
            },
            "auto.register.schemas" => reading.set(&table::SCHEMA_AUTO_REGISTER, value),
            "basic.auth.credentials.source" if value == "USER_INFO" => {}
            "basic.auth.credentials.source" => {
                reading.decide(&of("value", name), format!("set {LOG_IN}"));
                continue;
            }
            "schema.registry.basic.auth.user.info" | "basic.auth.user.info" => {
                if let Some((user, word)) = value.split_once(':') {
                    reading.set(&table::SCHEMA_REGISTRY_USERNAME, user);
                    reading.set(&table::SCHEMA_REGISTRY_PASSWORD, word);
                }
            }
            _ => match value.rsplit('.').next() {
                Some("TopicNameStrategy") => {}
                Some("RecordNameStrategy") => reading.set(&table::SCHEMA_SUBJECT, "record"),
                Some("TopicRecordNameStrategy") => {
                    reading.set(&table::SCHEMA_SUBJECT, "topic_record");
                }
                _ => {
                    for half in ["key", "value"] {
                        if reading.peek(&of(half, name)).is_some() {
                            reading.decide(
                                &of(half, name),
                                "SCHEMA_SUBJECT is topic, record or topic_record",
                            );
                        }
                    }
                    continue;
                }
            },
        }
        for half in ["key", "value"] {
            if reading.peek(&of(half, name)).is_some() {
                reading.taken(&of(half, name), what);
            }
        }
    }
    if !reading.is_set(&table::SCHEMA_REGISTRY_URL) {
        reading.decide(
            "value.converter.schema.registry.url",
            "the converters name no registry; set SCHEMA_REGISTRY_URL",
        );
    }
    // These change what is written.
    for name in [
        "use.latest.version",
        "normalize.schemas",
        "enhanced.avro.schema.support",
        "scrub.invalid.names",
        "connect.meta.data",
    ] {
        for half in ["key", "value"] {
            let property = of(half, name);
            let default = match name {
                "connect.meta.data" => "true",
                _ => "false",
            };
            match reading.get(&property) {
                None => {}
                Some(value) if value == default => reading.taken(&property, "the default, as here"),
                Some(_) => reading.decide(
                    &property,
                    format!("schemas are as with its default {default}, and nothing changes that"),
                ),
            }
        }
    }
}

/// The way back.
pub(in crate::migrate) fn back(
    set: Set<'_>,
    format: &config::Debezium,
    serialization: &Serialization,
) {
    let mut both = |name: &str, value: &str| {
        for half in ["key", "value"] {
            set(&format!("{half}.converter{name}"), value);
        }
    };
    let Some(schemas) = serialization.schemas() else {
        both("", JSON);
        both(".schemas.enable", &format.schemas.to_string());
        return;
    };
    both("", AVRO);
    both(".schema.registry.url", &schemas.registry.url);
    let auto_register = schemas.auto_register.to_string();
    both(".auto.register.schemas", &auto_register);
    match &schemas.registry.credentials {
        Credentials::None => {}
        Credentials::Basic { username, password } => {
            both(".basic.auth.credentials.source", "USER_INFO");
            let info = format!("{username}:{}", password.expose());
            both(".basic.auth.user.info", &info);
        }
        Credentials::Bearer(token) => {
            both(".bearer.auth.credentials.source", "STATIC_TOKEN");
            both(".bearer.auth.token", token.expose());
        }
    }
    let strategy = match schemas.subject {
        SubjectName::Topic => None,
        SubjectName::Record => Some("RecordNameStrategy"),
        SubjectName::TopicRecord => Some("TopicRecordNameStrategy"),
    };
    if let Some(strategy) = strategy {
        let class = format!("io.confluent.kafka.serializers.subject.{strategy}");
        for half in ["key", "value"] {
            set(
                &format!("{half}.converter.{half}.subject.name.strategy"),
                &class,
            );
        }
    }
    set(ADJUSTMENT, "avro");
}

#[cfg(test)]
mod tests {
    use crate::migrate::{Connector, Incumbent, Plan, Verdict};

    fn plan(converters: [&str; 2], more: &str) -> Plan {
        let [key, value] = converters;
        let text = format!(
            "name=a\ntopic.prefix=p\nmongodb.connection.string=mongodb://h/shop\n\
             key.converter={key}\nvalue.converter={value}\n{more}"
        );
        Incumbent::Debezium.plan(&Connector::read(&text).unwrap())
    }

    fn variables(plan: &Plan) -> Vec<(&str, &str)> {
        let all = plan.variables.iter();
        let found = all.filter(|(name, _)| name.contains("SCHEMA") || *name == "SERIALIZATION");
        found.map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn decisions(plan: &Plan) -> Vec<&str> {
        let open = plan
            .notes
            .iter()
            .filter(|it| it.verdict == Verdict::Decision);
        open.map(|note| note.property.as_str()).collect()
    }

    #[test]
    fn avro_on_both_sides_is_taken_with_its_registry() {
        let plan = plan(
            [super::AVRO; 2],
            "key.converter.schema.registry.url=http://r:8081,http://s:8081\n\
             value.converter.schema.registry.url=http://r:8081,http://s:8081\n\
             key.converter.basic.auth.credentials.source=USER_INFO\n\
             value.converter.basic.auth.credentials.source=USER_INFO\n\
             key.converter.basic.auth.user.info=me:wo:rd\nvalue.converter.basic.auth.user.info=me:wo:rd\n\
             key.converter.auto.register.schemas=false\nvalue.converter.auto.register.schemas=false\n\
             value.converter.value.subject.name.strategy=io.confluent.kafka.serializers.subject.TopicNameStrategy\n\
             schema.name.adjustment.mode=avro\n",
        );
        assert_eq!(
            variables(&plan),
            [
                ("SERIALIZATION", "avro"),
                ("SCHEMA_REGISTRY_URL", "http://r:8081"),
                ("SCHEMA_REGISTRY_USERNAME", "me"),
                ("SCHEMA_REGISTRY_PASSWORD", "wo:rd"),
                ("SCHEMA_AUTO_REGISTER", "false"),
            ]
        );
        assert_eq!(decisions(&plan), [""; 0]);
        assert!(!plan.to_text().contains("wo:rd"), "{}", plan.to_text());
    }

    #[test]
    fn what_would_make_other_records_is_a_decision() {
        let json = super::JSON;
        assert_eq!(
            decisions(&plan(
                [json, super::AVRO],
                "value.converter.schema.registry.url=http://r\n"
            )),
            ["key.converter"]
        );
        assert_eq!(
            decisions(&plan([super::AVRO; 2], "")),
            ["value.converter.schema.registry.url"]
        );
        let url = "key.converter.schema.registry.url=http://r\nvalue.converter.schema.registry.url=http://r\n";
        let more = format!(
            "{url}value.converter.enhanced.avro.schema.support=true\nschema.name.adjustment.mode=avro_unicode\n"
        );
        assert_eq!(
            decisions(&plan([super::AVRO; 2], &more)),
            [
                "schema.name.adjustment.mode",
                "value.converter.enhanced.avro.schema.support"
            ]
        );
        let other = "io.apicurio.registry.utils.converter.AvroConverter";
        assert_eq!(
            decisions(&plan([other; 2], "")),
            ["key.converter", "value.converter"]
        );
        let adjusted = "schema.name.adjustment.mode=avro\n";
        assert_eq!(
            decisions(&plan([json; 2], adjusted)),
            ["schema.name.adjustment.mode"]
        );
        assert_eq!(
            variables(&plan([json; 2], "")),
            [("DEBEZIUM_SCHEMAS", "true")]
        );
    }
}
