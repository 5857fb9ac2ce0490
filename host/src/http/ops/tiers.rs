//! The tier programme: when a tier is confirmed or lost, and what it brings.

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::programme::{Evaluation, Falls, Service},
    http::{
        Api,
        extract::{Allowed, IfMatch, IfMatchHeader, Json, Once, OnceHeader, PageQuery, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{EvaluationView, ProgrammeView, ServiceView, schema},
    },
    service::tiers::{NewProgramme, NewTierTerms, ProgrammeRow},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read, set)).routes(routes!(versions))
}

/// The programme to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProgrammeBody {
    /// When a tier is confirmed or lost; it is reached at once.
    #[schema(value_type = EvaluationView)]
    evaluation: Evaluation,
    /// Days that a tier is kept beyond the day on which it would be lost.
    #[serde(default)]
    #[schema(maximum = 366)]
    grace_days: u16,
    /// A member is told (`tier-at-risk`) so many days before a tier is lost; not at all where it is 0.
    #[serde(default)]
    #[schema(maximum = 366)]
    notice_days: u16,
    /// A member is nudged (`tier-renewal`) so many days before a tier is lost; not at all where it is 0.
    #[serde(default)]
    #[schema(maximum = 366)]
    renewal_days: u16,
    /// Codes of offers of which the nudge brings a coupon.
    #[serde(default)]
    renewal_offers: Vec<String>,
    /// When a tier falls that a refund takes away: `now`, or at the `period-end` and then the grace.
    #[serde(default = "now")]
    #[schema(schema_with = schema::falls)]
    on_refund: Falls,
    /// Days from delivery until an order can no longer be returned: then the gift of the tier that it reached comes.
    #[serde(default = "seven")]
    #[schema(maximum = 366)]
    return_days: u16,
    /// Months that points of a gift live.
    #[serde(default = "twelve")]
    #[schema(minimum = 1, maximum = 120)]
    gift_months: u16,
    /// What the tiers bring beside the benefits that the tier rule names.
    #[serde(default)]
    tiers: Vec<TierTermsBody>,
}

/// What a tier brings.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TierTermsBody {
    /// A tier of the live rule.
    #[schema(example = "silver")]
    code: String,
    /// What reaching the tier brings, once per member, tier and period.
    gift: Option<GiftBody>,
    /// Codes of offers that its members may use; the offers' own terms say who may.
    #[serde(default)]
    entitlements: Vec<String>,
    /// Benefits that are no money.
    #[serde(default)]
    services: Vec<ServiceView>,
}

/// What reaching a tier brings.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GiftBody {
    /// Points.
    #[serde(default)]
    #[schema(minimum = 0)]
    points: i64,
    /// Codes of offers of which a coupon is given.
    #[serde(default)]
    offers: Vec<String>,
}

const fn now() -> Falls {
    Falls::Now
}

const fn seven() -> u16 {
    7
}

const fn twelve() -> u16 {
    12
}

impl From<TierTermsBody> for NewTierTerms {
    fn from(tier: TierTermsBody) -> Self {
        let gift = tier.gift.unwrap_or(GiftBody { points: 0, offers: Vec::new() });
        let service = |service: ServiceView| Service {
            code: service.code,
            name_zh_cn: service.name_zh_cn,
            name_en: service.name_en,
        };
        Self {
            code: tier.code,
            gift_points: gift.points,
            gift_offers: gift.offers,
            entitlements: tier.entitlements,
            services: tier.services.into_iter().map(service).collect(),
        }
    }
}

/// Reads the programme that counts; version 0 where nobody set one.
#[utoipa::path(
    get, path = "/ops/v1/tier-programme", tag = "tiers", security(("api_key" = ["offers:read"])),
    responses((status = 200, body = ProgrammeView)),
)]
async fn read(State(api): State<Api>, _: Allowed<needs::OffersRead>) -> Result<Reply<ProgrammeView>, Problem> {
    let row = api.services.tier_programme().await?;
    let version = row.programme.version;
    Ok(Reply::ok(view(&api, row).await?).etag(version))
}

/// Lists every version of the programme, oldest first.
#[utoipa::path(
    get, path = "/ops/v1/tier-programme/versions", tag = "tiers", security(("api_key" = ["offers:read"])),
    params(PageQuery), responses((status = 200, body = List<ProgrammeView>)),
)]
async fn versions(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<ProgrammeView>, Problem> {
    let page = api.services.tier_programmes(page.request()?).await?;
    let mut views = Vec::with_capacity(page.rows.len());
    for row in page.rows {
        views.push(view(&api, row).await?);
    }
    Ok(List::new(crate::service::Page { rows: views, next: page.next }, &uri, |view| view))
}

/// Sets the programme from now on. What members were promised before (how long a tier is kept) stays.
#[utoipa::path(
    put, path = "/ops/v1/tier-programme", tag = "tiers", security(("api_key" = ["offers:write"])),
    params(OnceHeader, IfMatchHeader), request_body = ProgrammeBody,
    responses((status = 200, body = ProgrammeView), (status = 412, description = "stale-revision")),
)]
async fn set(
    State(api): State<Api>,
    caller: Allowed<needs::OffersWrite>,
    if_match: Option<IfMatch>,
    Once { key, body: Json(body), .. }: Once<Json<ProgrammeBody>>,
) -> Result<Reply<ProgrammeView>, Problem> {
    let new = NewProgramme {
        evaluation: body.evaluation,
        grace_days: body.grace_days,
        notice_days: body.notice_days,
        renewal_days: body.renewal_days,
        renewal_offers: body.renewal_offers,
        on_refund: body.on_refund,
        return_days: body.return_days,
        gift_months: body.gift_months,
        tiers: body.tiers.into_iter().map(NewTierTerms::from).collect(),
    };
    let done = api.services.set_tier_programme(*caller, key, if_match.map(|IfMatch(version)| version), new).await?;
    let version = done.value.programme.version;
    Ok(Reply::ok(view(&api, done.value).await?).etag(version).replayed(done.replayed))
}

/// The view of a version, its offers by code.
async fn view(api: &Api, row: ProgrammeRow) -> Result<ProgrammeView, Problem> {
    let named = |tier: &crate::domain::programme::TierTerms| [tier.gift_offers.clone(), tier.entitlements.clone()];
    let lists = row.programme.tiers.iter().flat_map(named).flatten().chain(row.programme.renewal_offers.clone());
    let ids: Vec<_> = lists.collect();
    let codes = api.services.offer_codes(ids.clone()).await?;
    let codes = ids.into_iter().zip(codes).collect();
    Ok(ProgrammeView::new(row, &codes))
}
