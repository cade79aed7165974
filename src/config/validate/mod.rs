//! From text to the typed configuration: each room's part, then what no single part can see.

mod flow;
mod operations;
mod sink;
mod source;
mod topics;

use super::check::Check;
use super::env::Environment;
use super::needs::Needs;
use super::problem::{ConfigErrors, Warning};
use super::{Config, Scope, table};

/// Checks everything and builds the configuration, or tells all that is wrong with what is needed.
pub(super) fn build(
    env: &Environment,
    needs: Needs,
) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    let mut check = Check::new(env);
    let mongo = source::build(&mut check);
    let pipeline = flow::pipeline(&mut check, &mongo);
    let kafka = sink::build(&mut check, &pipeline);
    let resume = flow::resume(&mut check, &mongo, &kafka);
    topics::check(&mut check, &mongo, &kafka.topics, &resume);
    source::check_reach(&mut check, &mongo, &resume);
    let stream_id = match check.given(&table::STREAM_ID) {
        Some(id) => operations::name(&mut check, &table::STREAM_ID, id),
        None => derived_id(&kafka.client_id, &mongo.scope),
    };
    let config = Config {
        stream_id,
        enabled: check.flag(&table::ENABLE_CHANGE_STREAMS),
        http: operations::http(&mut check),
        log: operations::log(&mut check),
        admin_token: operations::admin_token(&mut check),
        status_interval: check.seconds(&table::STATUS_INTERVAL_SECONDS),
        shutdown_timeout: check.millis(&table::SHUTDOWN_TIMEOUT_MS),
        mongo,
        kafka,
        pipeline,
        resume,
    };
    let Check {
        mut problems,
        warnings,
        ..
    } = check;
    problems.retain(|problem| needs.is_hurt_by(problem));
    if problems.is_empty() {
        Ok((config, warnings))
    } else {
        Err(ConfigErrors { problems, warnings })
    }
}

/// The stream's id, whatever the rest of the environment is like; none where what it follows from is
/// missing or wrong.
pub(super) fn stream_alone(env: &Environment) -> Option<String> {
    let mut check = Check::new(env);
    check.problems.clear();
    let id = match check.given(&table::STREAM_ID) {
        Some(id) => operations::name(&mut check, &table::STREAM_ID, id),
        None => {
            check.given(&table::MONGODB_URI)?;
            let uri = source::uri(&mut check);
            let scope = source::scope(&mut check, uri.as_ref());
            let client_id = check.text(&table::KAFKA_CLIENT_ID).unwrap_or_default();
            let client_id = operations::name(&mut check, &table::KAFKA_CLIENT_ID, client_id);
            derived_id(&client_id, &scope)
        }
    };
    check.problems.is_empty().then_some(id)
}

/// The id of a stream without `STREAM_ID`.
fn derived_id(client_id: &str, scope: &Scope) -> String {
    format!("{client_id}:{}", scope.name())
}

pub(super) use operations::{admin_token, http, log};
