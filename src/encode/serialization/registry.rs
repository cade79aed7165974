//! The registry that schemas are in, by the interface that Confluent's has.

use crate::config::{self, Credentials, SchemaKind, Schemas};
use crate::error::{Code, Error};
use crate::log::Escaped;
use crate::preflight::Finding;
use crate::tls::{self, Unusable};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde_json::{Value, json};
use std::error::Error as _;
use std::time::Duration;
use tokio_rustls::rustls::ClientConfig;
use uuid::Uuid;

/// How long one answer may take, its body included.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any schema has, in bytes.
const MOST: usize = 16 << 20;
/// The code for what the mode of a subject or of the registry does not allow, such as `READONLY`.
const NOT_PERMITTED: i64 = 42205;
const TYPE: HeaderValue = HeaderValue::from_static("application/vnd.schemaregistry.v1+json");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tailwater/", env!("CARGO_PKG_VERSION")));

/// Asks a registry.
#[derive(Debug, Clone)]
pub struct Registry {
    client: Client,
    base: Url,
    /// As it may be shown.
    shown: String,
    kind: SchemaKind,
}

/// A schema that the registry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub id: SchemaId,
    pub text: String,
}

/// By what a registry finds a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaId {
    pub number: i32,
    /// What is the same in each registry, where the registry gives such a thing.
    pub guid: Option<Uuid>,
}

/// Why an answer is of no use. The sentences blame the registry, and hold nothing of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It does not answer, or says that it cannot now.
    Away(String),
    /// It refuses who asks, or is no registry.
    Refused(String),
    /// It does not take this schema.
    Schema(String),
}

impl Registry {
    /// The one that was made before, or a new one.
    ///
    /// # Errors
    /// Where it cannot be made, as of one that does not answer.
    pub fn once(made: &mut Option<Self>, settings: &Schemas) -> Result<Self, Failure> {
        if let Some(made) = made {
            return Ok(made.clone());
        }
        let new = Self::new(settings).map_err(|error| Failure::Away(error.detail))?;
        Ok(made.insert(new).clone())
    }

    /// # Errors
    /// [`Code::Config`] where an authority cannot be read.
    pub fn new(settings: &Schemas) -> Result<Self, Error> {
        let registry = &settings.registry;
        let wrong = |what: String| Error::new(Code::Config, what);
        let base = Url::parse(&format!("{}/", registry.url))
            .map_err(|_| wrong("SCHEMA_REGISTRY_URL is no URL".into()))?;
        let client = Client::builder()
            .use_preconfigured_tls(tls_to(registry)?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .default_headers(headers(&registry.credentials))
            .build()
            .map_err(|error| Error::new(Code::Internal, format!("no HTTP client: {error}")))?;
        Ok(Self {
            client,
            base,
            shown: registry.url.clone(),
            kind: settings.kind,
        })
    }

    /// Whether it can be used, in a finding.
    pub async fn check(&self) -> Finding {
        const NAME: &str = "registry.reachable";
        match self.languages().await {
            Ok(languages) if languages.iter().any(|name| name == language(self.kind)) => {
                Finding::ok(NAME, format!("{} answers", self.name()))
            }
            Ok(_) => Finding::error(
                NAME,
                Code::SinkRefused,
                format!("{} has no schemas of the type {}", self.name(), language(self.kind)),
            )
            .remedy("choose another SERIALIZATION"),
            Err(Failure::Away(sentence)) => {
                Finding::not_yet(NAME, Code::SinkUnavailable, sentence)
                    .remedy("is it up, and is SCHEMA_REGISTRY_URL right?")
            }
            Err(Failure::Refused(sentence) | Failure::Schema(sentence)) => {
                Finding::error(NAME, Code::SinkRefused, sentence).remedy(
                    "correct SCHEMA_REGISTRY_URL (Apicurio's ends with /apis/ccompat/v7), SCHEMA_REGISTRY_USERNAME and \
                     SCHEMA_REGISTRY_PASSWORD, or SCHEMA_REGISTRY_TOKEN",
                )
            }
        }
    }

    /// What it is called in sentences.
    fn name(&self) -> String {
        format!("the schema registry at {}", self.shown)
    }

    /// The languages that it knows.
    async fn languages(&self) -> Result<Vec<String>, Failure> {
        let request = self.request(Method::GET, &["schemas", "types"])?;
        let languages = match self.send(request).await? {
            Answer::Ok(Value::Array(names)) => names,
            _ => return Err(Failure::Refused(self.no_registry())),
        };
        let names = languages.iter().filter_map(Value::as_str);
        Ok(names.map(str::to_owned).collect())
    }

    fn no_registry(&self) -> String {
        format!("{} answers, but not as a registry does", self.name())
    }

    /// The newest schema of a subject; none where it has none.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn latest(&self, subject: &str) -> Result<Option<Stored>, Failure> {
        let request = self.request(Method::GET, &["subjects", subject, "versions", "latest"])?;
        let found = match self.send(request).await? {
            Answer::Missing => return Ok(None),
            Answer::Ok(found) => found,
            Answer::Unwanted(sentence) => return Err(Failure::Refused(sentence)),
        };
        let of = found["schemaType"].as_str().unwrap_or("AVRO");
        if of != language(self.kind) {
            return Err(Failure::Schema(format!(
                "the subject {} holds schemas of the type {of}, and SERIALIZATION is {}",
                Escaped(subject),
                self.kind.name()
            )));
        }
        match (id(&found), found["schema"].as_str()) {
            (Some(id), Some(text)) => Ok(Some(Stored {
                id,
                text: text.to_owned(),
            })),
            _ => Err(Failure::Refused(self.no_registry())),
        }
    }

    /// Registers a schema, or finds it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, Failure> {
        let request = self.request(Method::POST, &["subjects", subject, "versions"])?;
        match self.send(with(request, self.kind, schema)).await? {
            Answer::Ok(answer) => id(&answer).ok_or_else(|| Failure::Refused(self.no_registry())),
            Answer::Missing => Err(Failure::Refused(self.no_registry())),
            Answer::Unwanted(sentence) => Err(Failure::Schema(sentence)),
        }
    }

    /// Finds exactly this schema; none where the subject has it in no version.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn find(&self, subject: &str, schema: &str) -> Result<Option<SchemaId>, Failure> {
        let request = self.request(Method::POST, &["subjects", subject])?;
        match self.send(with(request, self.kind, schema)).await? {
            Answer::Ok(found) => match id(&found) {
                Some(id) => Ok(Some(id)),
                None => Err(Failure::Refused(self.no_registry())),
            },
            Answer::Missing => Ok(None),
            Answer::Unwanted(sentence) => Err(Failure::Schema(sentence)),
        }
    }

    /// Asks whether a schema would be taken, and registers nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn would_take(&self, subject: &str, schema: &str) -> Result<(), Failure> {
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let request = self.request(Method::POST, &path)?;
        match self.send(with(request, self.kind, schema)).await? {
            Answer::Ok(answer) if answer["is_compatible"] == false => Err(Failure::Schema(
                format!("{} would not take it as compatible", self.name()),
            )),
            // The first of its subject.
            Answer::Ok(_) | Answer::Missing => Ok(()),
            Answer::Unwanted(sentence) => Err(Failure::Schema(sentence)),
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        // Names of subjects may hold what has a meaning in URLs.
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => return Err(Failure::Refused(self.no_registry())),
        };
        Ok(self.client.request(method, url))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let away = |error: &reqwest::Error| Failure::Away(self.told(error));
        let response = request.send().await.map_err(|error| away(&error))?;
        let status = response.status();
        let body = read(response).await.map_err(|error| away(&error))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let said = said(&body);
        let sentence = format!("{} answers {status}{said}", self.name());
        match status {
            _ if status.is_success() => Ok(Answer::Ok(body)),
            // Of a subject or a version; without a number of its own the path is not there.
            StatusCode::NOT_FOUND if is_missing(&body) => Ok(Answer::Missing),
            // Nothing is wrong with the schema: nobody may register one now.
            StatusCode::UNPROCESSABLE_ENTITY if body["error_code"] == NOT_PERMITTED => {
                Err(Failure::Refused(sentence))
            }
            StatusCode::CONFLICT
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::PAYLOAD_TOO_LARGE => Ok(Answer::Unwanted(sentence)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(Failure::Away(sentence))
            }
            _ if status.is_server_error() => Err(Failure::Away(sentence)),
            _ => Err(Failure::Refused(sentence)),
        }
    }

    /// An error of the client in words.
    fn told(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("{} does not answer within {PATIENCE:?}", self.name());
        }
        let mut last = None;
        let mut source = error.source();
        while let Some(cause) = source {
            last = Some(cause);
            source = cause.source();
        }
        let what = match error.is_connect() {
            true => "cannot be reached",
            false => "gives no answer",
        };
        let cause = last.map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{} {what}{cause}", self.name())
    }
}

enum Answer {
    Ok(Value),
    /// There is no such subject or version.
    Missing,
    /// It does not take the schema, and why.
    Unwanted(String),
}

/// What registries call the language.
fn language(kind: SchemaKind) -> &'static str {
    match kind {
        SchemaKind::Avro => "AVRO",
        SchemaKind::JsonSchema => "JSON",
        SchemaKind::Protobuf => "PROTOBUF",
    }
}

fn with(request: RequestBuilder, kind: SchemaKind, schema: &str) -> RequestBuilder {
    let body = match kind {
        // Old registries know no other, and no such field.
        SchemaKind::Avro => json!({"schema": schema}),
        SchemaKind::JsonSchema | SchemaKind::Protobuf => {
            json!({"schema": schema, "schemaType": language(kind)})
        }
    };
    request.header(CONTENT_TYPE, TYPE).body(body.to_string())
}

fn id(answer: &Value) -> Option<SchemaId> {
    Some(SchemaId {
        number: i32::try_from(answer["id"].as_i64()?).ok()?,
        guid: answer["guid"].as_str().and_then(|guid| guid.parse().ok()),
    })
}

/// Codes that Confluent's interface has for subjects, versions and schemas that are not there.
fn is_missing(body: &Value) -> bool {
    matches!(body["error_code"].as_i64(), Some(40401..=40499))
}

/// The registry's own words, as the end of a sentence.
fn said(body: &Value) -> String {
    /// How many characters of them.
    const MOST_WORDS: usize = 400;
    match body["message"].as_str() {
        None | Some("") => String::new(),
        Some(words) => {
            let words: String = words.chars().take(MOST_WORDS).collect();
            format!(": {}", Escaped(words.trim()))
        }
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST {
            break;
        }
    }
    Ok(body)
}

fn headers(credentials: &Credentials) -> HeaderMap {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, TYPE);
    headers.insert(USER_AGENT, AGENT);
    let authorization = match credentials {
        Credentials::None => return headers,
        Credentials::Basic { username, password } => {
            let both = STANDARD.encode(format!("{username}:{}", password.expose()));
            format!("Basic {both}")
        }
        Credentials::Bearer(token) => format!("Bearer {}", token.expose()),
    };
    if let Ok(mut authorization) = HeaderValue::from_str(&authorization) {
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
    }
    headers
}

fn tls_to(registry: &config::Registry) -> Result<ClientConfig, Error> {
    let mut roots = tls::authorities();
    if let Some(path) = &registry.ca_location {
        let wrong = |what: &str| {
            let sentence = format!(
                "SCHEMA_REGISTRY_CA_LOCATION {what}; give the path of a PEM file with certificates"
            );
            Error::new(Code::Config, sentence)
        };
        let text =
            std::fs::read(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        tls::trust(&mut roots, &text).map_err(|why| {
            wrong(match why {
                Unusable::Text(_) => "is no PEM file",
                Unusable::Certificate(_) => "holds a certificate that cannot be read",
                Unusable::Empty => "holds no certificate",
            })
        })?;
    }
    tls::client(roots).map_err(|error| Error::new(Code::Internal, format!("no TLS: {error}")))
}

/// Whether the registry of a stream can be used; nothing where it has none.
pub async fn check(settings: Option<&Schemas>) -> Option<Finding> {
    let settings = settings?;
    Some(match Registry::new(settings) {
        Ok(registry) => registry.check().await,
        Err(error) => Finding::error("registry.config", error.code, error.detail),
    })
}
