//! Members: registered, read, changed, erased.

use axum::extract::{OriginalUri, State};
use jiff::civil::Date;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{
        member::{ExternalId, Profile},
        touch::Language,
    },
    http::{
        Api,
        extract::{Allowed, Empty, IfMatch, IfMatchHeader, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{MemberView, ProfileView, ReferralView, input::present, schema},
    },
    ids::MemberId,
    service::members::{NewMember, ProfileChange},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, update, erase))
        .routes(routes!(read_by_external_id))
        .routes(routes!(profile))
        .routes(routes!(referrals))
}

/// The member to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMemberBody {
    /// What the partner calls the member; unique, 1 to 128 visible ASCII characters without `/`.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    /// Personal data; stored sealed under the person's own key.
    #[serde(default)]
    profile: ProfileBody,
    /// The IANA name of the zone the member lives in; the deployment's where it is not said.
    #[schema(example = "Asia/Shanghai")]
    zone: Option<String>,
    /// The language the member reads; `zh-CN` where it is not said.
    #[schema(schema_with = schema::language)]
    language: Option<Language>,
    /// Whether you have seen that the phone is the member's, for example by a code sent to it.
    #[serde(default)]
    phone_verified: bool,
    /// The member who referred this one. It counts once this one has verified a phone that was never seen before.
    #[schema(value_type = Option<String>, example = "mbr_5f1c9a7e4b2d48c6a1f03e9d7c5b2a18")]
    referred_by: Option<MemberId>,
}

/// Personal data.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProfileBody {
    name: Option<String>,
    /// In E.164 form.
    #[schema(example = "+8613800138000")]
    phone: Option<String>,
    email: Option<String>,
    #[schema(value_type = Option<String>, format = Date)]
    birthday: Option<Date>,
}

/// A change of a member (JSON merge patch).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberChangeBody {
    #[serde(default)]
    profile: ProfileChangeBody,
    /// Absent stays, null is the deployment's.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "Asia/Shanghai")]
    zone: Option<Option<String>>,
    /// Absent stays, null is `zh-CN`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "zh-CN")]
    language: Option<Option<Language>>,
    /// Whether you have seen that the phone, as it is after the change, is the member's.
    #[serde(default)]
    phone_verified: bool,
}

/// A change of personal data: what is absent stays, what is null goes.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct ProfileChangeBody {
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    name: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "+8613800138000")]
    phone: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = Date)]
    birthday: Option<Option<Date>>,
}

/// Registers a member, in the lowest tier of the live rule.
#[utoipa::path(
    post, path = "/v1/members", tag = "members", security(("api_key" = ["members:write"])),
    params(OnceHeader), request_body = NewMemberBody,
    responses((status = 201, body = MemberView), (status = 409, description = "already-exists")),
)]
async fn create(
    State(api): State<Api>,
    caller: Allowed<needs::MembersWrite>,
    Once { key, body: Json(body), .. }: Once<Json<NewMemberBody>>,
) -> Result<Reply<MemberView>, Problem> {
    let ProfileBody { name, phone, email, birthday } = body.profile;
    let profile = Profile { name, phone, email, birthday };
    let new = NewMember {
        external_id: body.external_id,
        profile,
        zone: body.zone,
        language: body.language,
        phone_verified: body.phone_verified,
        referred_by: body.referred_by,
    };
    let done = api.services.create_member(*caller, key, new).await?;
    let (location, revision) = (format!("/v1/members/{}", done.value.id), done.value.revision);
    Ok(Reply::created(api.show().member(done.value), location).etag(revision).replayed(done.replayed))
}

/// Lists the members the key may see.
#[utoipa::path(
    get, path = "/v1/members", tag = "members", security(("api_key" = ["members:read"])),
    params(PageQuery), responses((status = 200, body = List<MemberView>)),
)]
async fn list(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<MemberView>, Problem> {
    let page = api.services.list_members(*caller, page.request()?).await?;
    Ok(List::new(page, &uri, |member| api.show().member(member)))
}

/// Reads a member.
#[utoipa::path(
    get, path = "/v1/members/{member}", tag = "members", security(("api_key" = ["members:read"])),
    responses((status = 200, body = MemberView), (status = 410, description = "member-erased")),
)]
async fn read(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path(id): Path<MemberId>,
) -> Result<Reply<MemberView>, Problem> {
    let member = api.services.member(*caller, id).await?;
    let revision = member.revision;
    Ok(Reply::ok(api.show().member(member)).etag(revision))
}

/// Reads the member that the caller calls this.
#[utoipa::path(
    get, path = "/v1/members/by-external-id/{external_id}", tag = "members",
    security(("api_key" = ["members:read"])), responses((status = 200, body = MemberView)),
)]
async fn read_by_external_id(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path(external_id): Path<ExternalId>,
) -> Result<Reply<MemberView>, Problem> {
    let member = api.services.member_by_external_id(*caller, external_id.as_str()).await?;
    let revision = member.revision;
    Ok(Reply::ok(api.show().member(member)).etag(revision))
}

/// Reads a member's personal data.
#[utoipa::path(
    get, path = "/v1/members/{member}/profile", tag = "members", security(("api_key" = ["members:personal"])),
    responses((status = 200, body = ProfileView), (status = 410, description = "member-erased")),
)]
async fn profile(
    State(api): State<Api>,
    caller: Allowed<needs::MembersPersonal>,
    Path(id): Path<MemberId>,
) -> Result<Reply<ProfileView>, Problem> {
    let profile = api.services.member_profile(*caller, id).await?;
    Ok(Reply::ok(profile.into()))
}

/// Lists whom a member referred.
#[utoipa::path(
    get, path = "/v1/members/{member}/referrals", tag = "members", security(("api_key" = ["members:read"])),
    params(PageQuery),
    responses((status = 200, body = List<ReferralView>), (status = 410, description = "member-erased")),
)]
async fn referrals(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path(id): Path<MemberId>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<ReferralView>, Problem> {
    let page = api.services.referrals(*caller, id, page.request()?).await?;
    Ok(List::new(page, &uri, ReferralView::from))
}

/// Changes a member's personal data: what is absent stays, what is null goes.
#[utoipa::path(
    patch, path = "/v1/members/{member}", tag = "members", security(("api_key" = ["members:write"])),
    params(OnceHeader, IfMatchHeader), request_body = MemberChangeBody,
    responses(
        (status = 200, body = MemberView),
        (status = 410, description = "member-erased"),
        (status = 412, description = "stale-revision"),
    ),
)]
async fn update(
    State(api): State<Api>,
    caller: Allowed<needs::MembersWrite>,
    Path(id): Path<MemberId>,
    if_match: Option<IfMatch>,
    Once { key, body: Json(body), .. }: Once<Json<MemberChangeBody>>,
) -> Result<Reply<MemberView>, Problem> {
    let ProfileChangeBody { name, phone, email, birthday } = body.profile;
    let change = ProfileChange {
        name: name.into(),
        phone: phone.into(),
        email: email.into(),
        birthday: birthday.into(),
        zone: body.zone.into(),
        language: body.language.into(),
        phone_verified: body.phone_verified,
    };
    let if_match = if_match.map(|IfMatch(revision)| revision);
    let done = api.services.update_member(*caller, key, id, if_match, change).await?;
    let revision = done.value.revision;
    Ok(Reply::ok(api.show().member(done.value)).etag(revision).replayed(done.replayed))
}

/// Erases a member: their profile key is destroyed, points and orders keep the pseudonym.
#[utoipa::path(
    delete, path = "/v1/members/{member}", tag = "members", security(("api_key" = ["members:write"])),
    params(OnceHeader), responses((status = 200, body = MemberView)),
)]
async fn erase(
    State(api): State<Api>,
    caller: Allowed<needs::MembersWrite>,
    Path(id): Path<MemberId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<MemberView>, Problem> {
    let done = api.services.erase_member(*caller, key, id).await?;
    Ok(Reply::ok(api.show().member(done.value)).replayed(done.replayed))
}
