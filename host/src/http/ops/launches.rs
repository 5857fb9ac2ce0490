//! How offers come to be live: what they could cost, and who approves them.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{
        Api,
        extract::{Allowed, Empty, Once, OnceHeader, Path, needs},
        problem::Problem,
        reply::Reply,
        views::{MoneyView, OfferView, Show},
    },
    ids::OfferId,
    service::offers::Liability,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(liability)).routes(routes!(approve))
}

/// What an offer could cost.
#[derive(Serialize, ToSchema)]
#[schema(as = Liability)]
struct LiabilityView {
    /// Days that are looked at: to the offer's end, or 30 where it has none.
    horizon_days: i64,
    /// Members there are.
    members: i64,
    /// The most uses that its limits allow; null where nothing limits them.
    uses_max: Option<i64>,
    /// The most that one use can take off; null where the terms do not say.
    per_use_max: Option<MoneyView>,
    /// The most it can cost; null where nothing bounds it.
    worst: Option<MoneyView>,
    /// Paid orders of the last 30 days that were looked at, at most 200.
    orders_seen: i64,
    /// Those of them that its terms fit.
    orders_fitting: i64,
    /// Uses to be expected.
    expected_uses: i64,
    /// What they cost.
    expected: MoneyView,
    /// What this rests on.
    assumptions: Vec<String>,
}

impl LiabilityView {
    fn new(liability: Liability, show: &Show<'_>) -> Self {
        Self {
            horizon_days: liability.horizon_days,
            members: liability.members,
            uses_max: liability.uses_max,
            per_use_max: liability.per_use_max.map(|amount| show.money(amount)),
            worst: liability.worst.map(|amount| show.money(amount)),
            orders_seen: liability.orders_seen,
            orders_fitting: liability.orders_fitting,
            expected_uses: liability.expected_uses,
            expected: show.money(liability.expected),
            assumptions: liability.assumptions,
        }
    }
}

/// Reads what an offer could cost, at worst and as expected. Look at it before approving.
#[utoipa::path(
    get, path = "/ops/v1/offers/{offer}/liability", tag = "offers", security(("api_key" = ["offers:read"])),
    responses((status = 200, body = LiabilityView), (status = 404, description = "not-found")),
)]
async fn liability(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Path(id): Path<OfferId>,
) -> Result<Reply<LiabilityView>, Problem> {
    let liability = api.services.liability(id).await?;
    Ok(Reply::ok(LiabilityView::new(liability, &api.show())))
}

/// Approves a draft with another key than the one that defined it; with the last approval it needs, it is live.
#[utoipa::path(
    post, path = "/ops/v1/offers/{offer}/approvals", tag = "offers", security(("api_key" = ["offers:approve"])),
    params(OnceHeader),
    responses(
        (status = 200, body = OfferView),
        (status = 409, description = "own-approval, offer-not-issuable, offer-terms-unknown"),
    ),
)]
async fn approve(
    State(api): State<Api>,
    caller: Allowed<needs::OffersApprove>,
    Path(id): Path<OfferId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<OfferView>, Problem> {
    let done = api.services.approve_offer(*caller, key, id).await?;
    let revision = done.value.revision;
    Ok(Reply::ok(api.show().offer(done.value)).etag(revision).replayed(done.replayed))
}
