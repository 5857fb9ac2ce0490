//! Suppressions: whom and what nothing goes to.

use axum::extract::{OriginalUri, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::touch::Channel,
    http::{
        Api,
        extract::{Allowed, Json, PageQuery, Plain, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{SuppressedAddressView, SuppressedMemberView, schema},
    },
    ids::MemberId,
    service::{Error, FieldError},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(members)).routes(routes!(addresses)).routes(routes!(add)).routes(routes!(lift))
}

/// A member on a channel, or an address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SuppressionBody {
    /// With `channel`, and without `address`.
    #[schema(value_type = Option<String>)]
    member: Option<MemberId>,
    #[schema(schema_with = schema::channel)]
    channel: Option<Channel>,
    /// A telephone number in E.164 form or an address for mail; only a keyed hash of it is kept.
    address: Option<String>,
}

/// Whom or what a body names.
enum Named {
    Member(MemberId, Channel),
    Address(String),
}

/// What was done.
#[derive(Serialize, ToSchema)]
#[schema(as = SuppressionDone)]
struct DoneView {
    /// Whether nothing goes there now.
    suppressed: bool,
}

impl SuppressionBody {
    fn named(self) -> Result<Named, Problem> {
        match (self.member, self.channel, self.address) {
            (Some(member), Some(channel), None) => Ok(Named::Member(member, channel)),
            (None, None, Some(address)) => Ok(Named::Address(address)),
            _ => Err(Problem::invalid(vec![FieldError::new("", "must have `member` and `channel`, or `address`")])),
        }
    }
}

/// Lists suppressed members, by id.
#[utoipa::path(
    get, path = "/ops/v1/suppressions/members", tag = "suppressions", security(("api_key" = ["reach:read"])),
    params(PageQuery), responses((status = 200, body = List<SuppressedMemberView>)),
)]
async fn members(
    State(api): State<Api>,
    _: Allowed<needs::ReachRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<SuppressedMemberView>, Problem> {
    let page = api.services.suppressed_members(page.request()?).await?;
    Ok(List::new(page, &uri, SuppressedMemberView::from))
}

/// Lists suppressed addresses, by their hash.
#[utoipa::path(
    get, path = "/ops/v1/suppressions/addresses", tag = "suppressions", security(("api_key" = ["reach:read"])),
    params(PageQuery), responses((status = 200, body = List<SuppressedAddressView>)),
)]
async fn addresses(
    State(api): State<Api>,
    _: Allowed<needs::ReachRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<SuppressedAddressView>, Problem> {
    let page = api.services.suppressed_addresses(page.request()?).await?;
    Ok(List::new(page, &uri, SuppressedAddressView::from))
}

/// Holds everything back from a member on a channel, or from an address. Doing so again changes nothing.
#[utoipa::path(
    post, path = "/ops/v1/suppressions", tag = "suppressions", security(("api_key" = ["reach:write"])),
    request_body = SuppressionBody, responses((status = 200, body = DoneView), (status = 404, description = "not-found")),
)]
async fn add(
    State(api): State<Api>,
    caller: Allowed<needs::ReachWrite>,
    Plain(Json(body)): Plain<Json<SuppressionBody>>,
) -> Result<Reply<DoneView>, Problem> {
    let done: Result<(), Error> = match body.named()? {
        Named::Member(member, channel) => api.services.suppress_member(*caller, member, channel).await,
        Named::Address(address) => api.services.suppress_address(&address).await,
    };
    done?;
    Ok(Reply::ok(DoneView { suppressed: true }))
}

/// Lets a member be reached again on a channel, or an address. Consent they must give again themselves.
#[utoipa::path(
    post, path = "/ops/v1/suppressions/lift", tag = "suppressions", security(("api_key" = ["reach:write"])),
    request_body = SuppressionBody, responses((status = 200, body = DoneView)),
)]
async fn lift(
    State(api): State<Api>,
    _: Allowed<needs::ReachWrite>,
    Plain(Json(body)): Plain<Json<SuppressionBody>>,
) -> Result<Reply<DoneView>, Problem> {
    let done: Result<(), Error> = match body.named()? {
        Named::Member(member, channel) => api.services.lift_member(member, channel).await,
        Named::Address(address) => api.services.lift_address(&address).await,
    };
    done?;
    Ok(Reply::ok(DoneView { suppressed: false }))
}
