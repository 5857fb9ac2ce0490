//! Taking over an existing programme, in batches.

use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{
        member::ExternalId,
        money::{Money, Points},
    },
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, needs},
        problem::Problem,
        reply::Reply,
    },
    ids::PartnerId,
    service::{
        Caller, Idempotency,
        takeover::{Opening, RowOutcome},
    },
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(points)).routes(routes!(tiers)).routes(routes!(coupons))
}

/// Lots of points.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OpeningPointsBody {
    /// Whose members they are.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// 1 to 200.
    rows: Vec<PointsRow>,
}

/// A lot of points.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PointsRow {
    /// What the partner calls the lot: it counts once.
    #[schema(value_type = String)]
    external_id: ExternalId,
    /// What the partner calls the member.
    #[schema(value_type = String)]
    member: ExternalId,
    #[schema(minimum = 1)]
    points: i64,
    /// When they die.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Tiers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OpeningTiersBody {
    /// Whose members they are.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// 1 to 200.
    rows: Vec<TierRow>,
}

/// A member's tier, and what it was earned with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TierRow {
    /// What the partner calls the member: one tier each.
    #[schema(value_type = String)]
    member: ExternalId,
    /// A tier of the rule that is live.
    tier: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Goods paid before, less refunds, in minor units: added to what the tier rule knows.
    #[serde(default)]
    lifetime_net_spend: i64,
    /// Orders paid before and not refunded in full.
    #[serde(default)]
    lifetime_paid_orders: u32,
}

/// Coupons in hand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OpeningCouponsBody {
    /// Whose members they are.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// 1 to 200.
    rows: Vec<CouponRow>,
}

/// A coupon in hand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CouponRow {
    /// What the partner calls the coupon: it counts once.
    #[schema(value_type = String)]
    external_id: ExternalId,
    /// What the partner calls the member.
    #[schema(value_type = String)]
    member: ExternalId,
    /// The code of a live offer.
    #[schema(value_type = String)]
    offer: ExternalId,
    /// When it dies; as the offer says where it is not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
struct TakeoverReport {
    /// Rows written.
    taken: usize,
    /// Rows that were written before.
    known: usize,
    /// Rows not written.
    refused: usize,
    /// Those that were refused, in their order.
    refusals: Vec<Refusal>,
}

/// A row that was not taken over.
#[derive(Serialize, ToSchema)]
struct Refusal {
    /// Its place in the batch, from zero.
    row: usize,
    /// Its external id.
    external_id: String,
    /// What is wrong.
    field: String,
    /// What would be right.
    fix: String,
}

async fn take(
    api: &Api,
    caller: Caller,
    key: Idempotency,
    partner: PartnerId,
    rows: Vec<Opening>,
) -> Result<Reply<TakeoverReport>, Problem> {
    let names: Vec<String> = rows.iter().map(|row| row.name().to_string()).collect();
    let done = api.services.take_over(caller, key, partner, rows).await?;
    let mut report = TakeoverReport { taken: 0, known: 0, refused: 0, refusals: Vec::new() };
    for (row, (outcome, external_id)) in done.value.into_iter().zip(names).enumerate() {
        match outcome {
            RowOutcome::Taken => report.taken += 1,
            RowOutcome::Known => report.known += 1,
            RowOutcome::Refused { field, fix } => {
                report.refused += 1;
                report.refusals.push(Refusal { row, external_id, field, fix });
            }
        }
    }
    Ok(Reply::ok(report).replayed(done.replayed))
}

/// Takes lots of points over, from the account `opening`. Rows count once by external id; one that is refused stops no
/// other.
#[utoipa::path(
    post, path = "/ops/v1/takeover/points", tag = "takeover", security(("api_key" = ["takeover"])),
    params(OnceHeader), request_body = OpeningPointsBody, responses((status = 200, body = TakeoverReport)),
)]
async fn points(
    State(api): State<Api>,
    caller: Allowed<needs::Takeover>,
    Once { key, body: Json(body), .. }: Once<Json<OpeningPointsBody>>,
) -> Result<Reply<TakeoverReport>, Problem> {
    let row = |PointsRow { external_id, member, points, expires_at }: PointsRow| {
        let points = Points::new(points);
        Opening::Points { external_id, member, points, expires_at }
    };
    take(&api, *caller, key, body.partner, body.rows.into_iter().map(row).collect()).await
}

/// Takes tiers over with the date since when they are held. The tier rule judges again at the member's next order.
#[utoipa::path(
    post, path = "/ops/v1/takeover/tiers", tag = "takeover", security(("api_key" = ["takeover"])),
    params(OnceHeader), request_body = OpeningTiersBody, responses((status = 200, body = TakeoverReport)),
)]
async fn tiers(
    State(api): State<Api>,
    caller: Allowed<needs::Takeover>,
    Once { key, body: Json(body), .. }: Once<Json<OpeningTiersBody>>,
) -> Result<Reply<TakeoverReport>, Problem> {
    let row = |row: TierRow| {
        let TierRow { member, tier, since, lifetime_net_spend, lifetime_paid_orders } = row;
        let lifetime_net_spend = Money::new(lifetime_net_spend);
        Opening::Tier { member, tier, since, lifetime_net_spend, lifetime_paid_orders }
    };
    take(&api, *caller, key, body.partner, body.rows.into_iter().map(row).collect()).await
}

/// Takes coupons in hand over. Members are not told: they have them already.
#[utoipa::path(
    post, path = "/ops/v1/takeover/coupons", tag = "takeover", security(("api_key" = ["takeover"])),
    params(OnceHeader), request_body = OpeningCouponsBody, responses((status = 200, body = TakeoverReport)),
)]
async fn coupons(
    State(api): State<Api>,
    caller: Allowed<needs::Takeover>,
    Once { key, body: Json(body), .. }: Once<Json<OpeningCouponsBody>>,
) -> Result<Reply<TakeoverReport>, Problem> {
    let row = |CouponRow { external_id, member, offer, expires_at }: CouponRow| Opening::Coupon {
        external_id,
        member,
        offer,
        expires_at,
    };
    take(&api, *caller, key, body.partner, body.rows.into_iter().map(row).collect()).await
}
