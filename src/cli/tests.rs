use super::*;

fn parse(args: &[&str]) -> Result<Command, clap::Error> {
    let args = std::iter::once(NAME).chain(args.iter().copied());
    Cli::try_parse_from(args).map(Cli::command)
}

#[test]
fn run_is_what_is_done_when_nothing_is_said() {
    let run = |dry_run| Command::Run(RunArgs { dry_run });
    assert_eq!(parse(&[]).unwrap(), run(false));
    assert_eq!(parse(&["run"]).unwrap(), run(false));
    assert_eq!(parse(&["run", "--dry-run"]).unwrap(), run(true));
    assert_eq!(
        parse(&["check"]).unwrap(),
        Command::Check(StreamArg::default())
    );
}

#[test]
fn the_definition_is_consistent() {
    Cli::command_line().debug_assert();
}

#[test]
fn config_prints_text_unless_asked_for_json() {
    let Command::Config(args) = parse(&["config"]).unwrap() else {
        panic!()
    };
    assert_eq!((args.output, args.reference), (Output::Text, false));
    let Command::Config(args) = parse(&["config", "--output", "json"]).unwrap() else {
        panic!()
    };
    assert_eq!(args.output, Output::Json);
    assert!(parse(&["config", "--reference", "--output", "json"]).is_err());
}

#[test]
fn a_wrong_command_line_exits_as_a_wrong_configuration_does() {
    assert_eq!(
        parse(&["rnu"]).unwrap_err().exit_code(),
        i32::from(Code::Config.exit_code())
    );
}

#[test]
fn the_help_names_every_exit_code_and_where_to_read_on() {
    let help = Cli::command_line().render_long_help().to_string();
    for code in Code::ALL {
        assert!(
            help.contains(&format!("{:>3}  {code}: ", code.exit_code())),
            "{help}"
        );
    }
    for text in [
        "docs/errors.md",
        "docs/configuration.md",
        "130",
        "MONGODB_URI=",
    ] {
        assert!(help.contains(text), "{help}");
    }
}

#[test]
fn the_configuration_in_json_is_complete_and_without_secrets() {
    let loaded = config::Config::from_vars([
        ("MONGODB_URI", "mongodb://user:hunter2@h/d"),
        ("KAFKA_BROKERS", "h:1"),
        ("BATCH_SZIE", "3"),
    ])
    .unwrap();
    let json = config_json(&loaded);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["settings"][0]["variable"], "MONGODB_URI");
    assert_eq!(value["settings"][0]["value"], "mongodb://***@h/d");
    assert_eq!(value["settings"][0]["origin"], "env");
    assert_eq!(
        value["settings"].as_array().unwrap().len(),
        config::table::ALL.len()
    );
    assert!(
        value["warnings"][0]
            .as_str()
            .unwrap()
            .contains("BATCH_SIZE")
    );
    assert!(!json.contains("hunter2"));
}
