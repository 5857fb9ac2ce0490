//! What a refund that loses an offer's threshold costs.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::money::Money,
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, Path, needs},
        problem::Problem,
        reply::Reply,
        views::{
            MoneyView,
            input::{Fields, MoneyInput},
        },
    },
    ids::OfferId,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read, declare))
}

/// The policy to declare.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundPolicyBody {
    /// Refunds that leave less than this of the lines which the offer lies on, after the tier discount, are lowered by what
    /// it still gives, never below zero. Null, or not said: the discount is kept.
    reprice_below: Option<MoneyInput>,
}

/// What a lost threshold costs.
#[derive(Serialize, ToSchema)]
#[schema(as = RefundPolicy)]
struct RefundPolicyView {
    /// Null: the discount is kept.
    reprice_below: Option<MoneyView>,
}

fn view(api: &Api, below: Option<Money>) -> RefundPolicyView {
    RefundPolicyView { reprice_below: below.map(|below| api.show().money(below)) }
}

/// Reads what a refund costs that loses an offer's threshold.
#[utoipa::path(
    get, path = "/ops/v1/offers/{offer}/refund-policy", tag = "refunds", security(("api_key" = ["offers:read"])),
    responses((status = 200, body = RefundPolicyView)),
)]
async fn read(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    Path(id): Path<OfferId>,
) -> Result<Reply<RefundPolicyView>, Problem> {
    let below = api.services.refund_policy(id).await?;
    Ok(Reply::ok(view(&api, below)))
}

/// Declares what a refund costs that loses an offer's threshold, for orders placed from now on.
#[utoipa::path(
    put, path = "/ops/v1/offers/{offer}/refund-policy", tag = "refunds", security(("api_key" = ["offers:write"])),
    params(OnceHeader), request_body = RefundPolicyBody, responses((status = 200, body = RefundPolicyView)),
)]
async fn declare(
    State(api): State<Api>,
    caller: Allowed<needs::OffersWrite>,
    Path(id): Path<OfferId>,
    Once { key, body: Json(body), .. }: Once<Json<RefundPolicyBody>>,
) -> Result<Reply<RefundPolicyView>, Problem> {
    let mut fields = Fields::new(api.currency);
    let below = body.reprice_below.map(|below| fields.money("/reprice_below", &below));
    fields.finish()?;
    let done = api.services.set_refund_policy(*caller, key, id, below).await?;
    Ok(Reply::ok(view(&api, done.value)).replayed(done.replayed))
}
