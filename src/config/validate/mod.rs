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
use super::{Config, table};

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
        None => format!("{}:{}", kafka.client_id, mongo.scope.name()),
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

pub(super) use operations::{admin_token, http, log};
