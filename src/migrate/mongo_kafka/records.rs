//! What keys and values are: `output.format.*`, `output.schema.*`, and the converters.

use crate::config::{
    self, Converter, Output, OutputForm, Serialization, Variable, connect_schema, table,
};
use crate::migrate::back::Set;
use crate::migrate::debezium::converters::{AVRO, JSON};
use crate::migrate::plan::Reading;
use crate::migrate::registry;

const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";

/// A half of a record, and the variables that say what it is.
struct Half {
    name: &'static str,
    form: &'static Variable,
    schema: &'static Variable,
    converter: &'static Variable,
}

static HALVES: [Half; 2] = [
    Half {
        name: "key",
        form: &table::MONGO_KAFKA_KEY,
        schema: &table::MONGO_KAFKA_KEY_SCHEMA,
        converter: &table::MONGO_KAFKA_KEY_CONVERTER,
    },
    Half {
        name: "value",
        form: &table::MONGO_KAFKA_VALUE,
        schema: &table::MONGO_KAFKA_VALUE_SCHEMA,
        converter: &table::MONGO_KAFKA_VALUE_CONVERTER,
    },
];

const INFER: &str = "output.schema.infer.value";

pub(super) fn translate(reading: &mut Reading<'_>) {
    let mut in_avro = Vec::new();
    for half in &HALVES {
        let is_schema = form(reading, half);
        if converter(reading, half, is_schema) == Some(Converter::Avro) {
            in_avro.push(half.name);
        }
    }
    if !in_avro.is_empty() {
        registry::translate(reading, &in_avro);
    }
    for half in &HALVES {
        let name = half.name;
        reading.without(&[(&*format!("{name}.converter.*"), "belongs to the converter")]);
    }
}

/// Whether it has a schema.
fn form(reading: &mut Reading<'_>, half: &Half) -> bool {
    let property = format!("output.format.{}", half.name);
    let schema = format!("output.schema.{}", half.name);
    let is_value = half.name == "value";
    let is_inferred = is_value && reading.get(INFER) == Some("true");
    let is_schema = match reading.get(&property) {
        None => false,
        Some(format) if format.eq_ignore_ascii_case("json") => {
            reading.taken(&property, "JSON");
            false
        }
        Some(format) if format.eq_ignore_ascii_case("schema") => {
            reading.take(
                &property,
                half.form,
                if is_inferred { "infer" } else { "schema" },
            );
            true
        }
        Some(_) => {
            reading.decide(
                &property,
                "keys and values are JSON or have a schema; consumers of another format cannot read them",
            );
            false
        }
    };
    if is_value && reading.peek(INFER).is_some() {
        reading.taken(INFER, "MONGO_KAFKA_VALUE");
    }
    match reading.get(&schema) {
        None => {}
        Some(text) if is_schema && !is_inferred => match connect_schema::parse(text) {
            Ok(_) => reading.take(&schema, half.schema, text),
            Err(problem) => {
                let name = half.schema.name;
                reading.decide(&schema, format!("{name}: the schema {problem}"));
            }
        },
        Some(_) => reading.taken(
            &schema,
            "has no effect without output.format=schema, or beside an inferred one",
        ),
    }
    is_schema
}

fn converter(reading: &mut Reading<'_>, half: &Half, is_schema: bool) -> Option<Converter> {
    let property = format!("{}.converter", half.name);
    let enable = format!("{property}.schemas.enable");
    let schemas = reading.get(&enable).unwrap_or("true") == "true";
    let (converter, name) = match reading.get(&property) {
        Some(STRING) if !is_schema => (Converter::String, "string"),
        Some(STRING) => {
            reading.decide(&property, "StringConverter writes what Java shows of a schema's value; choose json, json_schemas or avro");
            return None;
        }
        Some(JSON) => match schemas {
            true => (Converter::Json { schemas }, "json_schemas"),
            false => (Converter::Json { schemas }, "json"),
        },
        Some(AVRO) => (Converter::Avro, "avro"),
        Some(_) => {
            reading.decide(&property, "records are as of StringConverter, JsonConverter or Confluent's AvroConverter; another converter makes other bytes");
            return None;
        }
        None => {
            reading.decide(&property, "the worker's converter counts; give its file as --worker, or make sure that it is StringConverter");
            return None;
        }
    };
    reading.take(&property, half.converter, name);
    if reading.peek(&enable).is_some() {
        reading.taken(&enable, half.converter.name);
    }
    let decimals = format!("{property}.decimal.format");
    match reading.get(&decimals) {
        None => {}
        Some("NUMERIC") => reading.decide(
            &decimals,
            "decimals are as with its default BASE64, and nothing changes that",
        ),
        Some(_) => reading.taken(&decimals, "the default, as here"),
    }
    Some(converter)
}

/// The way back; what of it cannot be said.
pub(in crate::migrate) fn back(
    set: Set<'_>,
    format: &config::MongoKafka,
    serialization: &Serialization,
) -> Vec<String> {
    let mut in_avro = Vec::new();
    for (
        name,
        Output {
            form,
            given,
            converter,
        },
    ) in [("key", &format.key), ("value", &format.value)]
    {
        let property = format!("{name}.converter");
        let class = match converter {
            Converter::String => STRING,
            Converter::Json { .. } => JSON,
            Converter::Avro => AVRO,
        };
        set(&property, class);
        if let Converter::Json { schemas } = converter {
            set(&format!("{property}.schemas.enable"), &schemas.to_string());
        }
        if *converter == Converter::Avro {
            in_avro.push(name);
        }
        if *form != OutputForm::Json {
            set(&format!("output.format.{name}"), "schema");
        }
        if *form == OutputForm::Infer {
            set(INFER, "true");
        }
        if let Some(text) = given {
            set(&format!("output.schema.{name}"), text);
        }
    }
    match serialization.schemas() {
        Some(schemas) if !in_avro.is_empty() => registry::back(set, schemas, &in_avro),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::migrate::{Connector, Incumbent, Verdict};

    #[test]
    fn formats_and_converters_are_taken_and_what_nobody_writes_is_a_decision() {
        const SCHEMA: &str = r#"{"type":"record","name":"k","fields":[{"name":"documentKey","type":["null","string"]}]}"#;
        let text =
            |more: &str| format!("name=c\nconnection.uri=mongodb://h/\ntopic.prefix=p\n{more}");
        let plan = |more: &str| Incumbent::MongoKafka.plan(&Connector::read(&text(more)).unwrap());
        let registry = "converter.schema.registry.url=http://r:8081";
        let inferred = plan(&format!(
            "output.format.key=schema\noutput.schema.key={SCHEMA}\noutput.format.value=schema\n\
             output.schema.infer.value=true\nkey.converter={0}\nvalue.converter={0}\nkey.{registry}\nvalue.{registry}",
            super::AVRO
        ));
        let said = |name: &str| {
            let found = inferred.variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| value.as_str())
        };
        let open: Vec<_> = inferred
            .notes
            .iter()
            .filter(|it| it.verdict == Verdict::Decision)
            .collect();
        assert!(open.is_empty(), "{open:?}");
        for (name, value) in [
            ("MONGO_KAFKA_KEY", "schema"),
            ("MONGO_KAFKA_KEY_SCHEMA", SCHEMA),
            ("MONGO_KAFKA_KEY_CONVERTER", "avro"),
            ("MONGO_KAFKA_VALUE", "infer"),
            ("MONGO_KAFKA_VALUE_CONVERTER", "avro"),
            ("SERIALIZATION", "avro"),
            ("SCHEMA_REGISTRY_URL", "http://r:8081"),
        ] {
            assert_eq!(said(name), Some(value), "{name}");
        }
        // Avro on one side alone has one registry, and JSON has the other's schemas beside it.
        let mixed = plan(&format!(
            "key.converter={}\nvalue.converter={}\nvalue.{registry}\nkey.converter.schemas.enable=false",
            super::JSON,
            super::AVRO
        ));
        assert!(
            mixed.notes.iter().all(|it| it.verdict != Verdict::Decision),
            "{}",
            mixed.to_text()
        );
        assert!(
            mixed
                .variables
                .contains(&("MONGO_KAFKA_KEY_CONVERTER", "json".into()))
        );
        for (more, property) in [
            ("output.format.value=bson", "output.format.value"),
            (
                "output.format.value=schema\noutput.schema.value={\"type\":\"enum\"}",
                "output.schema.value",
            ),
            (
                "value.converter.decimal.format=NUMERIC\nvalue.converter=org.apache.kafka.connect.json.JsonConverter",
                "value.converter.decimal.format",
            ),
        ] {
            let plan = plan(&format!("key.converter={}\n{more}", super::STRING));
            let mut notes = plan.notes.iter();
            let note = notes.find(|note| note.property == property).unwrap();
            assert_eq!(note.verdict, Verdict::Decision, "{more}");
        }
    }
}
