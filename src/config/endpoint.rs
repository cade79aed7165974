//! What a command needs to ask the instance that runs with this environment; the rest of the
//! configuration may be wrong.

use super::check::Check;
use super::env::Environment;
use super::{Config, ConfigErrors, Http, Secret, table, validate};

/// Where an instance is asked, and which one is meant.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `HTTP_ADDR`.
    pub http: Http,
    /// `ADMIN_TOKEN`: required by calls that change something.
    pub token: Option<Secret>,
    /// The ids of its streams; none where this environment does not tell them.
    pub streams: Vec<String>,
}

impl Endpoint {
    /// Reads the process's environment and, where it exists, `.env` in the working directory.
    ///
    /// # Errors
    /// What is wrong with `HTTP_ADDR` or `ADMIN_TOKEN`.
    pub fn from_env() -> Result<Self, ConfigErrors> {
        Self::read(&Environment::of_process())
    }

    /// What `WORKER_ALLOW_PRIVATE` says, for a command that needs nothing else of the configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn allows_private() -> Result<bool, ConfigErrors> {
        let environment = Environment::of_process();
        let mut check = Check::new(&environment);
        check.problems.clear();
        let allows_private = check.flag(&table::WORKER_ALLOW_PRIVATE);
        match check.problems.is_empty() {
            true => Ok(allows_private),
            false => Err(ConfigErrors {
                problems: check.problems,
                warnings: Vec::new(),
            }),
        }
    }

    pub(super) fn read(environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut check = Check::new(environment);
        check.problems.clear();
        let endpoint = Self {
            http: validate::http(&mut check),
            token: validate::admin_token(&mut check),
            streams: validate::streams_alone(environment),
        };
        if check.problems.is_empty() {
            Ok(endpoint)
        } else {
            Err(ConfigErrors {
                problems: check.problems,
                warnings: Vec::new(),
            })
        }
    }

    /// That of an instance with this configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            http: config.http.clone(),
            token: config.admin_token.clone(),
            streams: config.streams.iter().map(|s| s.id.clone()).collect(),
        }
    }
}
