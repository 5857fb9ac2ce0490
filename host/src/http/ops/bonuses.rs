//! Bonuses: points for a month's spending.

use axum::extract::{OriginalUri, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{member::ExternalId, money::Points},
    http::{
        Api,
        extract::{Allowed, Json, Path, Plain, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{
            MoneyView, Show,
            input::{Fields, MoneyInput},
        },
    },
    service::{Page, bonuses::Bonus},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set, remove))
}

/// What is given for what.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BonusBody {
    /// What has to be spent in a month of the calendar: goods, without delivery, less refunds.
    spend: MoneyInput,
    /// What is given then, once for each member and month.
    #[schema(example = 200, minimum = 1)]
    points: i64,
    /// Only in the month the member was born in.
    #[serde(default)]
    birthday_month: bool,
    /// Calendar months until the points expire; 12 where it is not said.
    #[schema(minimum = 1, maximum = 120)]
    valid_months: Option<u16>,
}

/// Points for a month's spending.
#[derive(Serialize, ToSchema)]
#[schema(as = Bonus)]
struct BonusView {
    #[schema(value_type = String)]
    code: ExternalId,
    /// What has to be spent in a month of the calendar.
    spend: MoneyView,
    /// What is given then.
    points: i64,
    /// Only in the month the member was born in.
    birthday_month: bool,
    /// Calendar months until the points expire.
    valid_months: u16,
}

impl BonusView {
    fn new(bonus: Bonus, show: &Show<'_>) -> Self {
        Self {
            code: bonus.code,
            spend: show.money(bonus.spend),
            points: bonus.points.get(),
            birthday_month: bonus.birthday_month,
            valid_months: bonus.valid_months,
        }
    }
}

/// Lists every bonus, by code.
#[utoipa::path(
    get, path = "/ops/v1/bonuses", tag = "bonuses", security(("api_key" = ["offers:read"])),
    responses((status = 200, body = List<BonusView>)),
)]
async fn list(
    State(api): State<Api>,
    _: Allowed<needs::OffersRead>,
    uri: OriginalUri,
) -> Result<List<BonusView>, Problem> {
    let rows = api.services.list_bonuses().await?;
    Ok(List::new(Page { rows, next: None }, &uri, |bonus| BonusView::new(bonus, &api.show())))
}

/// Sets a bonus: it is given for orders paid from now on.
#[utoipa::path(
    put, path = "/ops/v1/bonuses/{code}", tag = "bonuses", security(("api_key" = ["offers:write"])),
    request_body = BonusBody, responses((status = 200, body = BonusView)),
)]
async fn set(
    State(api): State<Api>,
    _: Allowed<needs::OffersWrite>,
    Path(code): Path<ExternalId>,
    Plain(Json(body)): Plain<Json<BonusBody>>,
) -> Result<Reply<BonusView>, Problem> {
    let mut fields = Fields::new(api.currency);
    let spend = fields.money("/spend", &body.spend);
    fields.finish()?;
    let new = Bonus {
        code,
        spend,
        points: Points::new(body.points),
        birthday_month: body.birthday_month,
        valid_months: body.valid_months.unwrap_or(12),
        listed_at: 0,
    };
    let bonus = api.services.set_bonus(new).await?;
    Ok(Reply::ok(BonusView::new(bonus, &api.show())))
}

/// Ends a bonus; what was given stays.
#[utoipa::path(
    delete, path = "/ops/v1/bonuses/{code}", tag = "bonuses", security(("api_key" = ["offers:write"])),
    responses((status = 200, body = BonusView), (status = 404, description = "not-found")),
)]
async fn remove(
    State(api): State<Api>,
    _: Allowed<needs::OffersWrite>,
    Path(code): Path<ExternalId>,
) -> Result<Reply<BonusView>, Problem> {
    let bonus = api.services.remove_bonus(code).await?;
    Ok(Reply::ok(BonusView::new(bonus, &api.show())))
}
