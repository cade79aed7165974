//! `FORMAT=mongo-kafka`: what its keys and values are, and in which bytes.

use crate::config::check::Check;
use crate::config::connect_schema::{self, CHANGE_STREAM, KEY, Schema};
use crate::config::format::{Converter, MongoKafka, MongoKafkaJson, Output, OutputForm};
use crate::config::table;
use crate::config::variable::Variable;
use std::sync::Arc;

const CONVERTERS: [(&str, Converter); 4] = [
    ("string", Converter::String),
    ("json", Converter::Json { schemas: false }),
    ("json_schemas", Converter::Json { schemas: true }),
    ("avro", Converter::Avro),
];

pub(super) fn mongo_kafka(check: &mut Check<'_>, tombstones: bool) -> MongoKafka {
    let formatters = [
        ("default", MongoKafkaJson::Default),
        ("extended", MongoKafkaJson::Extended),
        ("simplified", MongoKafkaJson::Simplified),
    ];
    let full_document_only = check.flag(&table::MONGO_KAFKA_FULL_DOCUMENT_ONLY);
    if tombstones && !full_document_only {
        check.wrong(
            &table::TOMBSTONES,
            "MongoDB's connector has tombstones only in the place of its events of deletes; set \
             MONGO_KAFKA_FULL_DOCUMENT_ONLY=true too, or unset it",
        );
    }
    let serialization = check.text(&table::SERIALIZATION).unwrap_or_default();
    let is_avro = serialization.eq_ignore_ascii_case("avro");
    let value = value(check, is_avro);
    let key = key(check, value.converter);
    let converters = [
        (&table::MONGO_KAFKA_KEY_CONVERTER, key.converter),
        (&table::MONGO_KAFKA_VALUE_CONVERTER, value.converter),
    ];
    for (variable, converter) in converters {
        if converter == Converter::Avro && !is_avro {
            check.wrong(
                variable,
                "avro needs a registry for its schemas; set SERIALIZATION=avro and SCHEMA_REGISTRY_URL",
            );
        }
    }
    let has_avro = converters.iter().any(|(_, it)| *it == Converter::Avro);
    if is_avro && !has_avro {
        check.wrong(
            &table::SERIALIZATION,
            "avro is what neither MONGO_KAFKA_KEY_CONVERTER nor MONGO_KAFKA_VALUE_CONVERTER says; set one of them to avro, or \
             SERIALIZATION=json",
        );
    }
    MongoKafka {
        json: check
            .choose(&table::MONGO_KAFKA_JSON, &formatters)
            .unwrap_or(MongoKafkaJson::Default),
        full_document_only,
        tombstones,
        key,
        value,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Json,
    Schema,
    Infer,
}

fn key(check: &mut Check<'_>, of_values: Converter) -> Output {
    let forms = [("json", Form::Json), ("schema", Form::Schema)];
    let variable = &table::MONGO_KAFKA_KEY;
    let form = check.choose(variable, &forms).unwrap_or(Form::Json);
    let usual = match form {
        Form::Json => Converter::String,
        _ => of_values,
    };
    let given = schema(check, &table::MONGO_KAFKA_KEY_SCHEMA, variable, form, KEY);
    if form == Form::Schema && check.given(&table::MONGO_KAFKA_KEY_SCHEMA).is_none() {
        check.warn(
            variable,
            "makes the resume token the key, as the connector does, so that the changes of a document have no order and \
             compaction removes none; MONGO_KAFKA_KEY_SCHEMA takes something else",
        );
    }
    output(
        check,
        &table::MONGO_KAFKA_KEY_CONVERTER,
        variable,
        form,
        given,
        usual,
    )
}

fn value(check: &mut Check<'_>, is_avro: bool) -> Output {
    let forms = [
        ("json", Form::Json),
        ("schema", Form::Schema),
        ("infer", Form::Infer),
    ];
    let variable = &table::MONGO_KAFKA_VALUE;
    let form = check.choose(variable, &forms).unwrap_or(Form::Json);
    let usual = match form {
        _ if is_avro => Converter::Avro,
        Form::Json => Converter::String,
        _ => Converter::Json { schemas: false },
    };
    let given = schema(
        check,
        &table::MONGO_KAFKA_VALUE_SCHEMA,
        variable,
        form,
        CHANGE_STREAM,
    );
    output(
        check,
        &table::MONGO_KAFKA_VALUE_CONVERTER,
        variable,
        form,
        given,
        usual,
    )
}

/// The schema that is given, or the connector's own.
fn schema(
    check: &mut Check<'_>,
    variable: &'static Variable,
    of: &'static Variable,
    form: Form,
    own: &'static str,
) -> (Option<Schema>, Option<String>) {
    let given = check.given(variable);
    if given.is_some() && form != Form::Schema {
        check.warn(
            variable,
            format!("has no effect without {}=schema", of.name),
        );
    }
    let schema = match connect_schema::parse(given.unwrap_or(own)) {
        Ok(schema) => Some(schema),
        Err(problem) => {
            check.wrong(variable, format!("{problem}; {}", variable.right()));
            None
        }
    };
    let is_used = form == Form::Schema;
    (schema, given.filter(|_| is_used).map(str::to_owned))
}

fn output(
    check: &mut Check<'_>,
    variable: &'static Variable,
    of: &'static Variable,
    form: Form,
    (given, text): (Option<Schema>, Option<String>),
    usual: Converter,
) -> Output {
    let converter = match check.given(variable) {
        None => usual,
        Some(_) => check.choose(variable, &CONVERTERS).unwrap_or(usual),
    };
    if converter == Converter::String && form != Form::Json {
        check.wrong(
            variable,
            format!(
                "string is for JSON as a text, and {} has a schema; give json, json_schemas or avro",
                of.name
            ),
        );
    }
    let form = match (form, given) {
        (Form::Infer, _) => OutputForm::Infer,
        (Form::Schema, Some(schema)) => OutputForm::Schema(Arc::new(schema)),
        (Form::Json, _) | (Form::Schema, None) => OutputForm::Json,
    };
    Output {
        form,
        given: text,
        converter,
    }
}
