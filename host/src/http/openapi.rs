//! The API's description, OpenAPI 3.1: made from the handlers, completed with what holds for all of them.
//!
//! A handler's attribute names its scope, its body, its answers and the problems of its own. What follows from those —
//! the problems of authorization, of bodies, of idempotency; parameters of the path — is added here, once.

use std::{collections::BTreeMap, sync::OnceLock};

use utoipa::{
    OpenApi as _, PartialSchema as _, ToSchema as _,
    openapi::{
        ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder,
        path::{Operation, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::{
    Api, open, ops,
    problem::{FieldProblem, MEDIA_TYPE, ProblemBody},
    system, v1,
};
use crate::service::keys::Scope;

const SUMMARY: &str = "Growth and loyalty engine for pharmacy e-commerce.\n\n\
Refusals are RFC 9457 problems; `type` is `urn:galenic:` and the code that the responses below name. Writes take an \
`Idempotency-Key`: a retry with the same key and the same request changes nothing and gets the same answer, with \
`Idempotent-Replayed: true`. Lists are paged with opaque cursors; the next page stands in `Link`. Times are RFC 3339, \
money is in minor units. Every answer names its `Trace-Id`.";

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(super::views::QuoteView)))]
struct Base;

/// Every route, with its description.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Base::openapi())
        .merge(v1::routes())
        .merge(ops::routes())
        .merge(open::routes())
        .merge(system::routes())
}

/// The description as JSON, with a line break at its end.
pub(super) fn document() -> String {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT
        .get_or_init(|| {
            let mut text = serde_json::to_string_pretty(&describe()).unwrap_or_default();
            text.push('\n');
            text
        })
        .clone()
}

fn describe() -> OpenApi {
    let mut api = routes().into_openapi();
    api.info =
        InfoBuilder::new().title("Galenic").version(env!("CARGO_PKG_VERSION")).description(Some(SUMMARY)).build();
    let components = api.components.get_or_insert_default();
    let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    let about = format!("An API key with scopes. There are: `{}`.", scopes.join("`, `"));
    let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build();
    components.security_schemes.insert("api_key".to_owned(), SecurityScheme::Http(key).into());
    components.schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    components.schemas.insert(FieldProblem::name().into_owned(), FieldProblem::schema());
    for (path, item) in &mut api.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            complete(path, operation);
        }
    }
    api
}

/// Adds what follows from what the operation says.
fn complete(path: &str, operation: &mut Operation) {
    name(operation);
    let named: Vec<String> = path_parameters(path).map(str::to_owned).collect();
    let known: Vec<String> = operation.parameters.iter().flatten().filter_map(name_of).collect();
    let parameters = operation.parameters.get_or_insert_default();
    for name in named.iter().filter(|name| !known.contains(name)) {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(text));
        parameters.push(RefOr::T(parameter.build()));
    }
    let idempotent = known.iter().any(|name| name == "Idempotency-Key");
    let with_query = operation.parameters.iter().flatten().any(in_query);
    let secured = operation.security.is_some();
    let mut problems: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    let mut add = |when: bool, status: u16, codes: &[&'static str]| {
        if when {
            problems.entry(status).or_default().extend(codes);
        }
    };
    add(idempotent, 400, &["idempotency-key-missing", "idempotency-key-malformed"]);
    add(operation.request_body.is_some(), 400, &["malformed-json", "body-incomplete"]);
    add(!named.is_empty(), 400, &["malformed-path"]);
    add(with_query, 400, &["malformed-query"]);
    add(secured, 401, &["unauthenticated"]);
    add(secured, 403, &["scope-missing"]);
    add(!named.is_empty(), 404, &["not-found"]);
    add(idempotent, 409, &["idempotency-key-in-flight"]);
    add(operation.request_body.is_some(), 413, &["body-too-large"]);
    add(operation.request_body.is_some(), 415, &["unsupported-media-type"]);
    add(operation.request_body.is_some() || with_query, 422, &["invalid-request"]);
    add(idempotent, 422, &["idempotency-key-reused"]);
    add(true, 429, &["too-many-requests"]);
    add(true, 500, &["internal"]);
    add(true, 503, &["request-timeout", "overloaded"]);
    add(idempotent, 507, &["disk-full"]);
    for (status, codes) in problems {
        add_problem(operation, status, &codes);
    }
    refer_to_problem(operation);
}

/// Names the operation `tag_handler`, and gives every answer the description that the format demands.
fn name(operation: &mut Operation) {
    let tag = operation.tags.iter().flatten().next().map_or("", String::as_str);
    let handler = operation.operation_id.as_deref().unwrap_or("");
    operation.operation_id = Some(format!("{tag}_{handler}"));
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with('2') && response.description.is_empty() {
            response.description = if status == "201" { "Made" } else { "Done" }.to_owned();
        }
    }
}

/// Adds codes to those that the operation names for a status itself.
fn add_problem(operation: &mut Operation, status: u16, codes: &[&str]) {
    let entry = operation
        .responses
        .responses
        .entry(status.to_string())
        .or_insert_with(|| RefOr::T(ResponseBuilder::new().build()));
    let RefOr::T(response) = entry else { return };
    let mut all: Vec<String> =
        response.description.split(", ").filter(|code| !code.is_empty()).map(str::to_owned).collect();
    for code in codes {
        if !all.iter().any(|known| known == code) {
            all.push((*code).to_owned());
        }
    }
    response.description = all.join(", ");
}

/// Gives every refusal the problem as its body.
fn refer_to_problem(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) && response.content.is_empty() {
            let problem = Ref::from_schema_name(ProblemBody::name());
            let content = ContentBuilder::new().schema(Some(problem)).build();
            response.content.insert(MEDIA_TYPE.to_owned(), content.into());
        }
    }
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn name_of(parameter: &RefOr<utoipa::openapi::path::Parameter>) -> Option<String> {
    match parameter {
        RefOr::T(parameter) => Some(parameter.name.clone()),
        RefOr::Ref(_) => None,
    }
}

fn in_query(parameter: &RefOr<utoipa::openapi::path::Parameter>) -> bool {
    matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query)
}
