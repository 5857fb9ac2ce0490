//! `/ops/v1`: what operators call.

mod automations;
mod backups;
mod bonuses;
mod clock;
mod codes;
mod gifts;
mod keys;
mod launches;
mod liability;
mod modules;
mod money;
mod offers;
mod prescriptions;
mod refund_policies;
mod schedules;
mod slots;
mod status;
mod suppressions;
mod takeover;
mod templates;
mod tiers;
mod touches;

use utoipa_axum::router::OpenApiRouter;

pub(super) use self::backups::MEDIA_TYPE as BACKUP_TYPE;
use super::Api;

/// Every route under `/ops/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(offers::routes())
        .merge(prescriptions::routes())
        .merge(tiers::routes())
        .merge(bonuses::routes())
        .merge(launches::routes())
        .merge(codes::routes())
        .merge(modules::routes())
        .merge(refund_policies::routes())
        .merge(money::routes())
        .merge(slots::routes())
        .merge(keys::routes())
        .merge(status::routes())
        .merge(schedules::routes())
        .merge(clock::routes())
        .merge(templates::routes())
        .merge(automations::routes())
        .merge(suppressions::routes())
        .merge(touches::routes())
        .merge(backups::routes())
        .merge(liability::routes())
        .merge(gifts::routes())
        .merge(takeover::routes())
}
