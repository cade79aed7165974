use crate::migrate::{Connector, Incumbent, Plan, Verdict};

/// A plan where both converters are told this, in which `{half}` stands for each.
fn plan(lines: &[&str]) -> Plan {
    let mut text =
        "name=a\ntopic.prefix=p\nmongodb.connection.string=mongodb://h/shop\n".to_owned();
    for half in ["key", "value"] {
        text += &format!("{half}.converter=io.confluent.connect.avro.AvroConverter\n");
        text += &format!("{half}.converter.schema.registry.url=https://r:8081\n");
        for line in lines {
            text += &format!("{half}.converter.{}\n", line.replace("{half}", half));
        }
    }
    planned(&text)
}

fn planned(text: &str) -> Plan {
    Incumbent::Debezium.plan(&Connector::read(text).unwrap())
}

fn variable<'p>(plan: &'p Plan, name: &str) -> Option<&'p str> {
    let found = plan.variables.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str())
}

fn decisions(plan: &Plan) -> Vec<(&str, &str)> {
    let open = plan.notes.iter();
    let open = open.filter(|it| it.verdict == Verdict::Decision);
    open.map(|it| (it.property.as_str(), it.sentence.as_str()))
        .collect()
}

#[test]
fn what_becomes_of_a_token_and_of_trusted_authorities_is_taken() {
    for (lines, name, value) in [
        (
            &[
                "bearer.auth.credentials.source=STATIC_TOKEN",
                "bearer.auth.token=QXZJ.x",
            ][..],
            "SCHEMA_REGISTRY_TOKEN",
            "QXZJ.x",
        ),
        (
            &[
                "schema.registry.bearer.auth.credentials.source=STATIC_TOKEN",
                "schema.registry.bearer.auth.token=QXZJ.x",
            ],
            "SCHEMA_REGISTRY_TOKEN",
            "QXZJ.x",
        ),
        (
            &[
                "schema.registry.ssl.truststore.type=PEM",
                "schema.registry.ssl.truststore.location=/etc/ca.pem",
                "schema.registry.ssl.endpoint.identification.algorithm=https",
            ],
            "SCHEMA_REGISTRY_CA_LOCATION",
            "/etc/ca.pem",
        ),
        (
            &[
                "{half}.schema.id.serializer=io.confluent.kafka.serializers.schema.id.HeaderSchemaIdSerializer",
            ],
            "SCHEMA_ID_IN",
            "header",
        ),
        (
            &[
                "{half}.subject.name.strategy=io.confluent.kafka.serializers.subject.TopicRecordNameStrategy",
            ],
            "SCHEMA_SUBJECT",
            "topic_record",
        ),
    ] {
        let plan = plan(lines);
        assert_eq!(decisions(&plan), [], "{lines:?}");
        assert_eq!(variable(&plan, name), Some(value), "{lines:?}");
        assert!(!plan.to_text().contains("QXZJ"), "{}", plan.to_text());
    }
}

#[test]
fn a_user_within_the_url_is_taken_out_of_it() {
    let plan = planned(
        "name=a\ntopic.prefix=p\nkey.converter=io.confluent.connect.avro.AvroConverter\n\
         value.converter=io.confluent.connect.avro.AvroConverter\n\
         key.converter.schema.registry.url=https://me:QX%40ZJ@r:8081/a@b,https://s\n\
         value.converter.schema.registry.url=https://me:QX%40ZJ@r:8081/a@b,https://s\n",
    );
    for (name, value) in [
        ("SCHEMA_REGISTRY_URL", "https://r:8081/a@b"),
        ("SCHEMA_REGISTRY_USERNAME", "me"),
        ("SCHEMA_REGISTRY_PASSWORD", "QX@ZJ"),
    ] {
        assert_eq!(variable(&plan, name), Some(value));
    }
    let text = plan.to_text();
    assert!(text.contains("no other is tried"), "{text}");
    assert!(!text.contains("QX"), "{text}");
}

/// Whatever has a bearing on what is written, or on whether the registry is reached, is a decision.
#[test]
fn what_cannot_be_taken_needs_a_decision() {
    for (lines, property, said) in [
        (
            &[
                "schema.registry.ssl.truststore.location=/ca.jks",
                "schema.registry.ssl.truststore.password=QXZJ",
            ][..],
            "schema.registry.ssl.truststore.location",
            "write its certificates into a PEM file",
        ),
        (
            &["ssl.truststore.certificates=QXZJ"],
            "ssl.truststore.certificates",
            "SCHEMA_REGISTRY_CA_LOCATION",
        ),
        (
            &[
                "schema.registry.ssl.keystore.location=/me.jks",
                "schema.registry.ssl.key.password=QXZJ",
            ],
            "schema.registry.ssl.keystore.location",
            "no certificate of its own",
        ),
        (
            &[
                "bearer.auth.credentials.source=OAUTHBEARER",
                "bearer.auth.client.secret=QXZJ",
            ],
            "bearer.auth.credentials.source",
            "no server is asked for tokens",
        ),
        (
            &["bearer.auth.credentials.source=STATIC_TOKEN"],
            "bearer.auth.credentials.source",
            "the token is not here",
        ),
        (
            &[
                "bearer.auth.token=QXZJ",
                "bearer.auth.logical.cluster=lsrc-1",
            ],
            "bearer.auth.logical.cluster",
            "does not send the header",
        ),
        (
            &["bearer.auth.token=QXZJ", "basic.auth.user.info=me:QXZJ"],
            "bearer.auth.token",
            "there is a user, too",
        ),
        (
            &["basic.auth.user.info=QXZJ"],
            "basic.auth.user.info",
            "is no user:password",
        ),
        (
            &["basic.auth.credentials.source=SASL_INHERIT"],
            "basic.auth.credentials.source",
            "set SCHEMA_REGISTRY_USERNAME",
        ),
        (&["proxy.host=p"], "proxy.host", "directly"),
        (&["use.schema.id=7"], "use.schema.id", "its default -1"),
        (
            &["rule.executors=x"],
            "rule.executors",
            "does not know this property",
        ),
        (
            &["{half}.schema.id.serializer=com.example.Own"],
            "value.schema.id.serializer",
            "SCHEMA_ID_IN",
        ),
    ] {
        let plan = plan(lines);
        let decided = decisions(&plan);
        let property = format!("value.converter.{property}");
        let found = decided.iter().find(|(name, _)| *name == property);
        assert!(
            found.is_some_and(|(_, sentence)| sentence.contains(said)),
            "{lines:?}: {decided:?}"
        );
        assert!(!plan.to_text().contains("QXZJ"), "{}", plan.to_text());
        // Each property is said once.
        let mut names: Vec<_> = plan.notes.iter().map(|it| &it.property).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{}", plan.to_text());
    }
}

#[test]
fn what_key_and_value_say_differently_is_a_decision() {
    let both = "key.converter=io.confluent.connect.avro.AvroConverter\n\
                value.converter=io.confluent.connect.avro.AvroConverter\n\
                key.converter.schema.registry.url=https://r\nvalue.converter.schema.registry.url=https://r\n";
    for (line, is_open) in [
        (
            "value.converter.value.subject.name.strategy=x.RecordNameStrategy",
            true,
        ),
        (
            "value.converter.value.subject.name.strategy=io.confluent.kafka.serializers.subject.TopicNameStrategy",
            false,
        ),
        ("key.converter.bearer.auth.token=QXZJ", true),
        ("key.converter.auto.register.schemas=true", false),
        ("key.converter.auto.register.schemas=false", true),
        ("key.converter.schemas.cache.size=7", false),
        (
            "value.converter.value.schema.id.serializer=io.confluent.kafka.serializers.schema.id.HeaderSchemaIdSerializer",
            true,
        ),
        (
            "value.converter.schema.registry.ssl.endpoint.identification.algorithm=",
            false,
        ),
    ] {
        let plan = planned(&format!("name=a\ntopic.prefix=p\n{both}{line}\n"));
        let (name, _) = line.split_once('=').unwrap();
        assert_eq!(
            decisions(&plan).iter().any(|(it, _)| *it == name),
            is_open,
            "{line}: {}",
            plan.to_text()
        );
        assert!(plan.notes.iter().any(|it| it.property == name), "{line}");
    }
}
