//! Offers: defined, listed, paused and resumed.

use axum::extract::{OriginalUri, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{
        condition::Condition,
        member::ExternalId,
        money::BasisPoints,
        offer::{Base, Funder, FunderShare, OfferClass, ProfileField, Purpose, Trigger, Validity},
    },
    http::{
        Api,
        extract::{Allowed, Empty, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{
            OfferView,
            input::{Fields, MoneyInput},
            limit::{ConditionView, LimitInput, ValidUntil, WindowInput},
            schema,
        },
    },
    ids::OfferId,
    service::{coupons::Revocation, keys::Scope, offers::NewOffer},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(define, list))
        .routes(routes!(read))
        .routes(routes!(read_by_code))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(revoke, revocation))
}

/// The offer to define.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOfferBody {
    /// What the operator calls it; unique.
    #[schema(value_type = String, example = "welcome-990")]
    code: ExternalId,
    /// Simplified Chinese.
    name_zh_cn: String,
    /// English.
    name_en: String,
    /// Its stage of pricing.
    #[schema(schema_with = schema::offer_class)]
    class: OfferClass,
    /// What it is for; decides which product classes it may touch.
    #[serde(default = "general")]
    #[schema(schema_with = schema::purpose)]
    purpose: Purpose,
    /// The slot whose policy judges it; `coupon` where it is not said.
    slot: Option<String>,
    /// By the names and types of that policy: see the module's `terms`.
    #[serde(default)]
    #[schema(value_type = Object)]
    terms: Map<String, serde_json::Value>,
    /// Offers of one group exclude each other.
    exclusivity_group: Option<String>,
    /// Higher goes first.
    #[serde(default)]
    priority: i32,
    /// Whose money, 10 000 in sum; the platform's where it is not said.
    #[serde(default)]
    funders: Vec<FunderBody>,
    /// How often it may be used in all.
    budget_uses: Option<u64>,
    /// How much it may give in all.
    budget_amount: Option<MoneyInput>,
    /// How many coupons one member may be issued.
    per_member: Option<u32>,
    /// How often and how much, by period and member, beside the budgets.
    #[serde(default)]
    limits: Vec<LimitInput>,
    /// How many days of 24 hours its coupons live; until the offer ends where nothing is said. At most one of the three.
    #[schema(minimum = 1)]
    valid_days: Option<u16>,
    /// How many hours its coupons live.
    #[schema(minimum = 1)]
    valid_hours: Option<u16>,
    /// Its coupons live to 23:59:59 of that day, in the deployment's zone.
    #[schema(schema_with = schema::valid_until)]
    valid_until: Option<ValidUntil>,
    /// When it is open, by the calendar of the deployment's zone: in any of them; always where there are none.
    #[serde(default)]
    windows: Vec<WindowInput>,
    /// What a member must be to use or claim it.
    #[serde(default)]
    conditions: Vec<ConditionView>,
    /// Members claim its coupons themselves (`POST /v1/members/{member}/claims`), and nobody else issues them.
    #[serde(default)]
    claimed: bool,
    /// The event that issues its coupons, where `issued_on` is `event`.
    #[schema(example = "order-delivered")]
    event: Option<String>,
    /// What a profile has to hold, where `issued_on` is `profile-completed`; all of it where it is not said.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["name", "birthday"]))]
    profile_fields: Vec<ProfileField>,
    /// Not before; from now on where it is not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// Not from here on.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// Whether a coupon comes back when its order is refunded in full.
    #[serde(default)]
    returns_on_refund: bool,
    /// What issues a coupon of it by itself: `registration`, once a year `birthday` or `anniversary`, once
    /// `profile-completed`, or every `event` of a name; nothing where it is not said.
    #[schema(schema_with = schema::trigger)]
    issued_on: Option<Trigger>,
    /// Uses or money of all members in a minute or hour above which it pauses itself.
    #[serde(default)]
    breaker: Vec<LimitInput>,
    /// It stays a draft even where no other key could approve it.
    #[serde(default)]
    draft: bool,
    /// On which amounts thresholds are tested and percentages computed. `standard`: thresholds on the lower of member
    /// price and tier price, percentages on what is left before the offer's stage. `list`, `after-promotions` (coupon,
    /// delivery) and `after-coupons` (delivery): both on those amounts.
    #[serde(default)]
    #[schema(schema_with = schema::base)]
    base: Base,
}

/// Who pays what share.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FunderBody {
    #[schema(schema_with = schema::funder)]
    funder: Funder,
    /// 10 000 is all of it.
    #[schema(maximum = 10_000)]
    share_basis_points: u32,
}

fn general() -> Purpose {
    Purpose::General
}

impl NewOfferBody {
    /// The offer to define, if every field can be read.
    fn read(self, mut fields: Fields) -> Result<NewOffer, Problem> {
        let budget_amount = self.budget_amount.map(|amount| fields.money("/budget_amount", &amount));
        let limits =
            self.limits.into_iter().enumerate().map(|(at, limit)| limit.read("/limits", at, &mut fields)).collect();
        let rates = self.breaker.into_iter().enumerate();
        let breaker = rates.map(|(at, rate)| rate.read("/breaker", at, &mut fields)).collect();
        let windows = self.windows.into_iter().enumerate().map(|(at, window)| window.read(at, &mut fields)).collect();
        let validity = validity(self.valid_days, self.valid_hours, self.valid_until, &mut fields);
        fields.finish()?;
        let funder =
            |share: FunderBody| FunderShare { funder: share.funder, share: BasisPoints::new(share.share_basis_points) };
        Ok(NewOffer {
            code: self.code,
            name_zh_cn: self.name_zh_cn,
            name_en: self.name_en,
            class: self.class,
            purpose: self.purpose,
            slot: self.slot,
            terms: self.terms,
            exclusivity_group: self.exclusivity_group,
            priority: self.priority,
            funders: self.funders.into_iter().map(funder).collect(),
            budget_uses: self.budget_uses,
            budget_amount,
            per_member: self.per_member,
            validity,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            returns_on_refund: self.returns_on_refund,
            issued_on: self.issued_on,
            limits,
            windows,
            conditions: self.conditions.into_iter().map(Condition::from).collect(),
            claimed: self.claimed,
            event: self.event,
            profile_fields: self.profile_fields,
            breaker,
            draft: self.draft,
            base: self.base,
        })
    }
}

fn validity(days: Option<u16>, hours: Option<u16>, until: Option<ValidUntil>, fields: &mut Fields) -> Validity {
    let until = until.map(|until| match until {
        ValidUntil::EndOfDay => Validity::EndOfDay,
        ValidUntil::EndOfMonth => Validity::EndOfMonth,
    });
    let mut said = [days.map(Validity::Days), hours.map(Validity::Hours), until].into_iter().flatten();
    let validity = said.next().unwrap_or(Validity::OfferEnd);
    if said.next().is_some() {
        fields.wrong("/valid_days", "say at most one of `valid_days`, `valid_hours` and `valid_until`");
    }
    validity
}

/// Defines an offer: a draft, which another key with `offers:approve` approves. Where the caller's key has that scope and
/// no other one does, it is live at once, within its times, and its record says that it was launched alone.
#[utoipa::path(
    post, path = "/ops/v1/offers", tag = "offers", security(("api_key" = ["offers:write"])),
    params(OnceHeader), request_body = NewOfferBody,
    responses((status = 201, body = OfferView), (status = 409, description = "already-exists")),
)]
async fn define(
    State(api): State<Api>,
    caller: Allowed<needs::OffersWrite>,
    Once { key, body: Json(body), .. }: Once<Json<NewOfferBody>>,
) -> Result<Reply<OfferView>, Problem> {
    let mut new = body.read(Fields::new(api.currency))?;
    new.draft |= !caller.also(Scope::OffersApprove);
    let done = api.services.define_offer(*caller, key, new).await?;
    let (location, revision) = (format!("/ops/v1/offers/{}", done.value.id), done.value.revision);
    Ok(Reply::created(api.show().offer(done.value), location).etag(revision).replayed(done.replayed))
}

/// Lists all offers, oldest first.
#[utoipa::path(
    get, path = "/ops/v1/offers", tag = "offers", security(("api_key" = ["offers:read"])),
    params(PageQuery), responses((status = 200, body = List<OfferView>)),
)]
async fn list(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<OfferView>, Problem> {
    let page = api.services.list_offers(page.request()?).await?;
    Ok(List::new(page, &uri, |offer| api.show().offer(offer)))
}

/// Reads an offer.
#[utoipa::path(
    get, path = "/ops/v1/offers/{offer}", tag = "offers", security(("api_key" = ["offers:read"])),
    responses((status = 200, body = OfferView)),
)]
async fn read(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Path(id): Path<OfferId>,
) -> Result<Reply<OfferView>, Problem> {
    let offer = api.services.offer(id).await?;
    let revision = offer.revision;
    Ok(Reply::ok(api.show().offer(offer)).etag(revision))
}

/// Reads the offer with this code.
#[utoipa::path(
    get, path = "/ops/v1/offers/by-code/{code}", tag = "offers", security(("api_key" = ["offers:read"])),
    responses((status = 200, body = OfferView)),
)]
async fn read_by_code(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Path(code): Path<ExternalId>,
) -> Result<Reply<OfferView>, Problem> {
    let offer = api.services.offer_by_code(code.as_str()).await?;
    let revision = offer.revision;
    Ok(Reply::ok(api.show().offer(offer)).etag(revision))
}

/// Stops an offer: it is neither issued nor applied until it is resumed.
#[utoipa::path(
    post, path = "/ops/v1/offers/{offer}/pause", tag = "offers", security(("api_key" = ["offers:write"])),
    params(OnceHeader), responses((status = 200, body = OfferView)),
)]
async fn pause(
    State(api): State<Api>,
    caller: Allowed<needs::OffersWrite>,
    Path(id): Path<OfferId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<OfferView>, Problem> {
    let done = api.services.pause_offer(*caller, key, id).await?;
    let revision = done.value.revision;
    Ok(Reply::ok(api.show().offer(done.value)).etag(revision).replayed(done.replayed))
}

/// Makes a paused offer live again.
#[utoipa::path(
    post, path = "/ops/v1/offers/{offer}/resume", tag = "offers", security(("api_key" = ["offers:write"])),
    params(OnceHeader),
    responses((status = 200, body = OfferView), (status = 409, description = "offer-not-issuable, offer-terms-unknown")),
)]
async fn resume(
    State(api): State<Api>,
    caller: Allowed<needs::OffersWrite>,
    Path(id): Path<OfferId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<OfferView>, Problem> {
    let done = api.services.resume_offer(*caller, key, id).await?;
    let revision = done.value.revision;
    Ok(Reply::ok(api.show().offer(done.value)).etag(revision).replayed(done.replayed))
}

/// How far taking back an offer's coupons has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Revocation)]
struct RevocationView {
    /// Coupons issued up to then are taken back.
    #[schema(value_type = String, format = DateTime)]
    asked_at: Timestamp,
    /// Coupons taken back so far.
    revoked: u64,
    /// Whether nothing is left to do.
    done: bool,
}

impl From<Revocation> for RevocationView {
    fn from(Revocation { asked_at, revoked, done, .. }: Revocation) -> Self {
        Self { asked_at, revoked, done }
    }
}

/// Takes back every coupon of an offer that is in hand now, step by step; what an order holds is left to it.
#[utoipa::path(
    post, path = "/ops/v1/offers/{offer}/revocation", tag = "offers", security(("api_key" = ["offers:write"])),
    params(OnceHeader), responses((status = 200, body = RevocationView)),
)]
async fn revoke(
    State(api): State<Api>,
    caller: Allowed<needs::OffersWrite>,
    Path(id): Path<OfferId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<RevocationView>, Problem> {
    let done = api.services.revoke_coupons_of(*caller, key, id).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Reads how far taking back an offer's coupons has come.
#[utoipa::path(
    get, path = "/ops/v1/offers/{offer}/revocation", tag = "offers", security(("api_key" = ["offers:read"])),
    responses((status = 200, body = RevocationView), (status = 404, description = "not-found")),
)]
async fn revocation(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Path(id): Path<OfferId>,
) -> Result<Reply<RevocationView>, Problem> {
    Ok(Reply::ok(api.services.revocation(id).await?.into()))
}
