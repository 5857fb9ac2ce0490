//! The books: every payment and refund of a day as a file, settlement by funder, refunds to make.

use std::{fmt::Write as _, io};

use axum::{
    body::{Body, Bytes},
    extract::{OriginalUri, State},
    http::header,
    response::{IntoResponse, Response},
};
use jiff::civil::Date;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{
        member::ExternalId,
        money::Money,
        payment::{MoneyKind, MoneyMove},
    },
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{RefundDueView, SettlementView},
    },
    ids::RefundId,
    pricing::funders::ByFunder,
    service::{
        Services,
        settlement::{MoneyCursor, MoneySum, MoneySums},
    },
};

const CSV: &str = "text/csv; charset=utf-8";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(reconciliation))
        .routes(routes!(settlement))
        .routes(routes!(refunds_due))
        .routes(routes!(complete))
}

/// The period of a settlement.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PeriodQuery {
    /// The first day, in the deployment's zone.
    #[param(value_type = String, format = Date)]
    from: Date,
    /// The last day; at most a year from the first.
    #[param(value_type = String, format = Date)]
    to: Date,
    /// `json` where it is not said.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// How a settlement is answered.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RefundsDueQuery {
    /// Those that were paid back, too.
    #[serde(default)]
    all: bool,
    /// At most this many items; 50 where it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// As the page before gave it.
    cursor: Option<String>,
}

/// That a late payment was paid back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompletionBody {
    /// The payment provider's reference of the refund.
    #[schema(value_type = String)]
    reference: ExternalId,
}

/// Streams every payment and refund of a day of the deployment's zone as CSV, in the order of time, in minor units: refunds
/// are negative, and with them the funders' parts of the discounts that they got back. The last lines are sums by kind,
/// and `net`. A file without `net` broke off.
#[utoipa::path(
    get, path = "/ops/v1/reconciliation/{day}", tag = "money", security(("api_key" = ["settlement"])),
    responses((status = 200, body = String, content_type = "text/csv")),
)]
async fn reconciliation(
    State(api): State<Api>,
    _: Allowed<needs::Settle>,
    Path(day): Path<Date>,
) -> Result<Response, Problem> {
    let book = Book { services: api.services.clone(), day, after: None, sums: MoneySums::default(), part: Part::Head };
    let body = futures::stream::unfold(book, |mut book| async { book.next().await.map(|piece| (piece, book)) });
    let name = format!("attachment; filename=\"reconciliation-{day}.csv\"");
    let headers = [(header::CONTENT_TYPE, CSV.to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// What each funder owes for a period: discounts of paid orders, less what they got back by refunds. Sums to the fen.
#[utoipa::path(
    get, path = "/ops/v1/settlement", tag = "money", security(("api_key" = ["settlement"])), params(PeriodQuery),
    responses((status = 200, body = SettlementView)),
)]
async fn settlement(
    State(api): State<Api>,
    _: Allowed<needs::Settle>,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Problem> {
    let sums = api.services.settlement(query.from, query.to).await?;
    let view = api.show().settlement(query.from, query.to, &sums)?;
    Ok(match query.format {
        Format::Json => Reply::ok(view).into_response(),
        Format::Csv => ([(header::CONTENT_TYPE, CSV)], view.csv()).into_response(),
    })
}

/// Lists payments that came for orders that were given up and are not paid back yet, oldest first.
#[utoipa::path(
    get, path = "/ops/v1/refunds-due", tag = "money", security(("api_key" = ["settlement"])), params(RefundsDueQuery),
    responses((status = 200, body = List<RefundDueView>)),
)]
async fn refunds_due(
    State(api): State<Api>,
    _: Allowed<needs::Settle>,
    Query(query): Query<RefundsDueQuery>,
    uri: OriginalUri,
) -> Result<List<RefundDueView>, Problem> {
    let page = PageQuery::new(query.limit, query.cursor).request()?;
    let page = api.services.refunds_due(query.all, page).await?;
    Ok(List::new(page, &uri, |due| api.show().refund_due(due)))
}

/// Marks a late payment as paid back.
#[utoipa::path(
    post, path = "/ops/v1/refunds-due/{refund}/completion", tag = "money", security(("api_key" = ["settlement"])),
    params(OnceHeader), request_body = CompletionBody,
    responses((status = 200, body = RefundDueView), (status = 409, description = "already-exists")),
)]
async fn complete(
    State(api): State<Api>,
    caller: Allowed<needs::Settle>,
    Path(id): Path<RefundId>,
    Once { key, body: Json(body), .. }: Once<Json<CompletionBody>>,
) -> Result<Reply<RefundDueView>, Problem> {
    let done = api.services.complete_refund_due(*caller, key, id, body.reference).await?;
    Ok(Reply::ok(api.show().refund_due(done.value)).replayed(done.replayed))
}

/// The file of a day, page by page: what is read waits until the client took what came before.
struct Book {
    services: Services,
    day: Date,
    after: Option<MoneyCursor>,
    sums: MoneySums,
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Rows,
    Sums,
    Over,
}

impl Book {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut text = String::new();
        match self.part {
            Part::Head => {
                text.push_str(
                    "kind,count,at,order,partner,reference,method,refund,amount,goods,delivery,platform,brand,pharmacy\n",
                );
                self.part = Part::Rows;
            }
            Part::Rows => {
                if let Err(error) = self.rows(&mut text).await {
                    tracing::error!(%error, day = %self.day, "the reconciliation file broke off");
                    self.part = Part::Over;
                    return Some(Err(io::Error::other("the file broke off")));
                }
            }
            Part::Sums => {
                for kind in MoneyKind::ALL {
                    let MoneySum { count, amount, delivery, discounts } = self.sums.of(kind);
                    let goods = amount.get() - delivery.get();
                    let label = format!("sum-{},{count},,,,,,,", kind.name());
                    amounts(&mut text, &label, kind, [amount.get(), goods, delivery.get()], discounts);
                }
                let net = self.sums.net().unwrap_or(Money::ZERO);
                let _infallible = writeln!(text, "net,,,,,,,,{},,,,,", net.get());
                self.part = Part::Over;
            }
            Part::Over => return None,
        }
        Some(Ok(text.into()))
    }

    async fn rows(&mut self, text: &mut String) -> Result<(), crate::service::Error> {
        let (rows, next) = self.services.money_moves(self.day, self.day, self.after).await?;
        for row in &rows {
            self.sums.add(row)?;
            line(text, row);
        }
        self.after = next;
        if next.is_none() {
            self.part = Part::Sums;
        }
        Ok(())
    }
}

fn line(text: &mut String, row: &MoneyMove) {
    let MoneyMove { kind, order, partner, at, reference, method, refund, amount, delivery, .. } = row;
    let refund = refund.map_or_else(String::new, |id| id.to_string());
    let method = serde_json::to_string(method).unwrap_or_default();
    let method = method.trim_matches('"');
    let reference = reference.as_str().replace('"', "\"\"");
    let label = format!("{},1,{at},{order},{partner},\"{reference}\",{method},{refund},", kind.name());
    let goods = amount.get() - delivery.get();
    let discounts = ByFunder::of([row.platform, row.brand, row.pharmacy]);
    amounts(text, &label, *kind, [amount.get(), goods, delivery.get()], discounts);
}

/// The amounts of a line, with their sign.
fn amounts(text: &mut String, label: &str, kind: MoneyKind, money: [i64; 3], discounts: ByFunder) {
    let sign = if kind.comes_in() { 1 } else { -1 };
    let [amount, goods, delivery] = money.map(|amount| amount * sign);
    let [platform, brand, pharmacy] = discounts.amounts().map(|amount| amount.get() * sign);
    let _infallible = writeln!(text, "{label}{amount},{goods},{delivery},{platform},{brand},{pharmacy}");
}
