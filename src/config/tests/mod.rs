//! What the environment does to the configuration.

mod checkpoints;
mod coordination;
mod dotenv;
mod needs;
mod of_streams;
mod reading;
mod secrets;
mod streams;
mod values;
mod visible;
mod written;
mod wrong;

use super::*;

/// The two variables without which nothing starts.
const REQUIRED: [(&str, &str); 2] = [
    ("MONGODB_URI", "mongodb://localhost:27017/dashboard"),
    ("KAFKA_BROKERS", "localhost:9092"),
];

/// Loads the required variables with these on top.
fn load(vars: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let mut all: Vec<(String, String)> = Vec::new();
    for &(name, value) in REQUIRED.iter().chain(vars) {
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), value.to_owned()));
    }
    Config::from_vars(all)
}

fn config(vars: &[(&str, &str)]) -> Config {
    match load(vars) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

fn warnings(vars: &[(&str, &str)]) -> String {
    match load(vars) {
        Ok(loaded) => loaded.warnings.iter().map(|w| format!("{w}\n")).collect(),
        Err(errors) => panic!("{errors}"),
    }
}

fn errors(vars: &[(&str, &str)]) -> String {
    match load(vars) {
        Ok(_) => panic!("{vars:?} was taken"),
        Err(errors) => errors.to_string(),
    }
}
