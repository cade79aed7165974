//! `/graphql`: the listeners, for those whose services speak it. There is no playground.

mod listener;
mod schedule;
mod value;

use super::etag::IfMatch;
use super::listeners::{Place, changing};
use super::problem::Problem;
use super::{Context, body, schedules};
use crate::listener::entry;
use async_graphql::{
    EmptySubscription, ErrorExtensions, MaybeUndefined, Object, Result, Schema, SimpleObject,
};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use bson::{Bson, Document};
use listener::{Listener, OperationType};
use schedule::Schedule;
use std::sync::{Arc, LazyLock};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Object as OpenApiObject, RefOr, Schema as OpenApiSchema};
use utoipa::{PartialSchema, ToSchema};
use value::Json;

/// How deep a question may be nested: as deep as the one that tools ask about the schema.
const DEPTH: usize = 16;
/// How much a question may ask for: a page of a thousand listeners with all their fields, or forty changes.
const COMPLEXITY: usize = 20_000;

/// What a change counts for.
const CHANGE: usize = 500;

/// The caller has brought the token.
#[derive(Debug, Clone, Copy)]
pub struct HasToken;

static SCHEMA: LazyLock<Schema<Query, Mutation, EmptySubscription>> = LazyLock::new(|| {
    Schema::build(Query, Mutation, EmptySubscription)
        .limit_depth(DEPTH)
        .limit_complexity(COMPLEXITY)
        .finish()
});

/// A question.
pub enum GraphqlRequest {}

impl PartialSchema for GraphqlRequest {
    fn schema() -> RefOr<OpenApiSchema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let example = "{ listeners(limit: 10) { id collection jobName isActive } }";
        ObjectBuilder::new()
            .property("query", text().examples([example]))
            .property("operationName", text())
            .property("variables", OpenApiObject::new())
            .required("query")
            .into()
    }
}

impl ToSchema for GraphqlRequest {}

/// Ask in GraphQL
///
/// `listeners`, `listener`, `createListener`, `updateListener` and `deleteListener`; `schedules`, `createSchedule`,
/// `replaceSchedule`, `deleteSchedule` and `runSchedule`. Depth and complexity are limited, and
/// the schema is told only to those who bring the token. Errors are in `errors`, each with `extensions.code`.
#[utoipa::path(
    post, path = "/graphql", tag = "listeners", operation_id = "graphql",
    request_body = GraphqlRequest,
    responses(
        (status = 200, body = Object, description = "data and errors, as GraphQL has them"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "The body is no GraphQL request"),
    ),
)]
pub(super) async fn ask(
    State(context): State<Arc<Context>>,
    token: Option<Extension<HasToken>>,
    sent: Bytes,
) -> std::result::Result<Response, Problem> {
    let mut request: async_graphql::Request = body::read(&sent)?;
    if token.is_none() {
        request = request.disable_introspection();
    }
    let answer = SCHEMA.execute(request.data(context)).await;
    Ok(body::answer(&answer))
}

struct Query;

#[Object]
#[allow(clippy::too_many_arguments)]
impl Query {
    /// The listeners, in the order of their ids.
    #[graphql(complexity = "usize::from(limit) * child_complexity")]
    async fn listeners(
        &self,
        context: &async_graphql::Context<'_>,
        collection: Option<String>,
        database: Option<String>,
        job_name: Option<String>,
        is_active: Option<bool>,
        #[graphql(default)] offset: u32,
        #[graphql(default = 100, validator(maximum = 1000))] limit: u16,
    ) -> Result<Vec<Listener>> {
        let mut all = place(context)?.all().await.map_err(told)?;
        let is = |document: &Document, field: &str, wanted: &Option<String>| {
            let wanted = wanted.as_deref();
            wanted.is_none_or(|wanted| document.get_str(field).is_ok_and(|is| is == wanted))
        };
        all.retain(|document| {
            !entry::is_of_database(document)
                && is(document, "collection", &collection)
                && is(document, "database", &database)
                && is(document, "jobName", &job_name)
                && is_active.is_none_or(|wanted| listener::is_active(document) == wanted)
        });
        all.sort_by_cached_key(entry::name);
        let page = all
            .into_iter()
            .skip(offset as usize)
            .take(usize::from(limit));
        Ok(page.map(Listener).collect())
    }

    /// One listener.
    async fn listener(&self, context: &async_graphql::Context<'_>, id: String) -> Result<Listener> {
        let found = place(context)?.one(&id).await;
        found.map(Listener).map_err(told)
    }

    /// The schedules, or the one of a name, each with so many of its next times.
    #[graphql(complexity = "100 * child_complexity")]
    async fn schedules(
        &self,
        context: &async_graphql::Context<'_>,
        name: Option<String>,
        #[graphql(default = 1, validator(maximum = 100))] times: u8,
    ) -> Result<Vec<Schedule>> {
        let context = context.data::<Arc<Context>>()?;
        let listed = schedules::listed(context, usize::from(times), name.as_deref()).await;
        let (_, listed) = listed.map_err(told)?;
        Ok(listed.into_iter().map(Schedule).collect())
    }
}

struct Mutation;

/// What has become of it.
#[derive(Debug, SimpleObject)]
struct Deleted {
    success: bool,
}

#[Object]
#[allow(clippy::too_many_arguments)]
impl Mutation {
    /// Creates a listener.
    #[graphql(complexity = "CHANGE + child_complexity")]
    async fn create_listener(
        &self,
        context: &async_graphql::Context<'_>,
        collection: String,
        job_name: String,
        filter: Option<Json>,
        operation_type: Option<Vec<OperationType>>,
        is_active: Option<bool>,
        metadata: Option<Json>,
        database: Option<String>,
        document_key: Option<Json>,
        topic: Option<String>,
        priority: Option<Json>,
        handler: Option<Json>,
    ) -> Result<Listener> {
        let mut fields = Fields::default();
        fields.put("database", database);
        fields.put("collection", Some(collection));
        fields.put("jobName", Some(job_name));
        fields.put("filter", filter.map(Json::query));
        fields.put("operationType", operation_type.map(listener::names));
        fields.put("documentKey", document_key.map(|key| key.0));
        fields.put("topic", topic);
        fields.put("priority", priority.map(|priority| priority.0));
        fields.put("handler", handler.map(|handler| handler.0));
        fields.put("isActive", is_active);
        fields.put("metadata", metadata.map(|metadata| metadata.0));
        let created = changing::created(&place(context)?, &fields.0).await;
        created.map(Listener).map_err(told)
    }

    /// Changes what is given; null takes a field away. With `etag` only while the listener is as it was read.
    #[graphql(complexity = "CHANGE + child_complexity")]
    async fn update_listener(
        &self,
        context: &async_graphql::Context<'_>,
        id: String,
        collection: Option<String>,
        job_name: Option<String>,
        filter: MaybeUndefined<Json>,
        operation_type: MaybeUndefined<Vec<OperationType>>,
        is_active: MaybeUndefined<bool>,
        metadata: MaybeUndefined<Json>,
        database: MaybeUndefined<String>,
        document_key: MaybeUndefined<Json>,
        topic: MaybeUndefined<String>,
        priority: MaybeUndefined<Json>,
        handler: MaybeUndefined<Json>,
        etag: Option<String>,
    ) -> Result<Listener> {
        let mut fields = Fields::default();
        fields.put("collection", collection);
        fields.put("jobName", job_name);
        fields.change("database", database, Bson::from);
        fields.change("filter", filter, Json::query);
        fields.change("operationType", operation_type, listener::names);
        fields.change("documentKey", document_key, |key| key.0);
        fields.change("topic", topic, Bson::from);
        fields.change("priority", priority, |priority| priority.0);
        fields.change("handler", handler, |handler| handler.0);
        fields.change("isActive", is_active, Bson::from);
        fields.change("metadata", metadata, |metadata| metadata.0);
        let changed = |there: &Document| {
            let mut wanted = there.clone();
            // What is null is left out when it is written.
            wanted.extend(fields.0.clone());
            wanted
        };
        let changed = changing::changed(&place(context)?, &id, &expected(etag), changed).await;
        changed.map(Listener).map_err(told)
    }

    /// Deletes a listener. With `etag` only while it is as it was read.
    #[graphql(complexity = "CHANGE + child_complexity")]
    async fn delete_listener(
        &self,
        context: &async_graphql::Context<'_>,
        id: String,
        etag: Option<String>,
    ) -> Result<Deleted> {
        let deleted = changing::deleted(&place(context)?, &id, &expected(etag)).await;
        deleted.map_err(told)?;
        Ok(Deleted { success: true })
    }

    /// Creates a schedule; its document.
    #[graphql(complexity = "CHANGE + child_complexity")]
    async fn create_schedule(
        &self,
        context: &async_graphql::Context<'_>,
        document: Json,
    ) -> Result<Json> {
        let context = context.data::<Arc<Context>>()?;
        let created = schedules::created(context, fields(document)?).await;
        created.map(|it| Json(it.into())).map_err(told)
    }

    /// Replaces a schedule; its document. With `etag` only while it is as it was read.
    #[graphql(complexity = "CHANGE + child_complexity")]
    async fn replace_schedule(
        &self,
        context: &async_graphql::Context<'_>,
        id: String,
        document: Json,
        etag: Option<String>,
    ) -> Result<Json> {
        let context = context.data::<Arc<Context>>()?;
        let sent = fields(document)?;
        let replaced = schedules::replaced(context, &id, &expected(etag), sent).await;
        replaced.map(|it| Json(it.into())).map_err(told)
    }

    /// Deletes a schedule. With `etag` only while it is as it was read.
    #[graphql(complexity = "CHANGE + child_complexity")]
    async fn delete_schedule(
        &self,
        context: &async_graphql::Context<'_>,
        id: String,
        etag: Option<String>,
    ) -> Result<Deleted> {
        let context = context.data::<Arc<Context>>()?;
        let deleted = schedules::deleted(context, &id, &expected(etag)).await;
        deleted.map_err(told)?;
        Ok(Deleted { success: true })
    }

    /// Makes a record of a schedule's job now; its `tw-id`.
    #[graphql(complexity = "CHANGE + child_complexity")]
    async fn run_schedule(
        &self,
        context: &async_graphql::Context<'_>,
        name: String,
    ) -> Result<String> {
        let context = context.data::<Arc<Context>>()?;
        schedules::ran(context, &name).await.map_err(told)
    }
}

/// A document that was sent.
fn fields(sent: Json) -> Result<Document> {
    match sent.0 {
        Bson::Document(document) => Ok(document),
        _ => Err(told(Problem::malformed(
            "document is no object; give a schedule's fields",
        ))),
    }
}

/// The fields that are given.
#[derive(Default)]
struct Fields(Document);

impl Fields {
    fn put(&mut self, name: &str, value: Option<impl Into<Bson>>) {
        if let Some(value) = value {
            self.0.insert(name, value);
        }
    }

    fn change<T>(&mut self, name: &str, value: MaybeUndefined<T>, of: impl Fn(T) -> Bson) {
        match value {
            MaybeUndefined::Undefined => {}
            MaybeUndefined::Null => {
                self.0.insert(name, Bson::Null);
            }
            MaybeUndefined::Value(value) => {
                self.0.insert(name, of(value));
            }
        }
    }
}

fn expected(etag: Option<String>) -> IfMatch {
    match etag {
        None => IfMatch::Absent,
        // Whoever passes it on may leave its quotes out.
        Some(tag) => IfMatch::These(vec![format!("\"{}\"", tag.trim_matches('"'))]),
    }
}

fn place(context: &async_graphql::Context<'_>) -> Result<Place> {
    Place::of(context.data::<Arc<Context>>()?).map_err(told)
}

/// A problem as GraphQL has it.
fn told(problem: Problem) -> async_graphql::Error {
    let error = async_graphql::Error::new(problem.detail);
    error.extend_with(|_, extensions| {
        extensions.set("code", problem.code);
        extensions.set("status", problem.status.as_u16());
    })
}
