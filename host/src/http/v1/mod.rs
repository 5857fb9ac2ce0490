//! `/v1`: what partners call.

mod consents;
mod coupons;
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
        .merge(products::routes())
        .merge(coupons::routes())
        .merge(quotes::routes())
        .merge(orders::routes())
        .merge(recommendations::routes())
        .merge(consents::routes())
        .merge(touches::routes())
}
