//! `/v1`: what partners call.

mod activities;
mod consents;
mod coupons;
mod gifts;
mod members;
mod orders;
mod patients;
mod points;
mod prescriptions;
mod products;
mod quotes;
mod recommendations;
mod tiers;
mod touches;

use utoipa_axum::router::OpenApiRouter;

use super::Api;

/// Every route under `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(members::routes())
        .merge(patients::routes())
        .merge(points::routes())
        .merge(prescriptions::routes())
        .merge(tiers::routes())
        .merge(activities::routes())
        .merge(gifts::routes())
        .merge(products::routes())
        .merge(coupons::routes())
        .merge(quotes::routes())
        .merge(orders::routes())
        .merge(recommendations::routes())
        .merge(consents::routes())
        .merge(touches::routes())
}
