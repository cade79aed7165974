//! Key and value as JSON, both with or both without schemas, or both in Avro.

use crate::config::{self, Serialization, table};
use crate::migrate::back::Set;
use crate::migrate::plan::Reading;
use crate::migrate::registry;

pub(in crate::migrate) const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
pub(in crate::migrate) const AVRO: &str = "io.confluent.connect.avro.AvroConverter";

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
        [Some(Kind::Avro), Some(Kind::Avro)] => registry::translate(reading, &["key", "value"]),
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

/// The way back; what of it cannot be said.
pub(in crate::migrate) fn back(
    set: Set<'_>,
    format: &config::Debezium,
    serialization: &Serialization,
) -> Vec<String> {
    let mut both = |name: &str, value: &str| {
        for half in ["key", "value"] {
            set(&format!("{half}.converter{name}"), value);
        }
    };
    let Some(schemas) = serialization.schemas() else {
        both("", JSON);
        both(".schemas.enable", &format.schemas.to_string());
        return Vec::new();
    };
    both("", AVRO);
    set(ADJUSTMENT, "avro");
    registry::back(set, schemas, &["key", "value"])
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
