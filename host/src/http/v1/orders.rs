//! Orders: placed from a quote, paid, shipped, delivered, cancelled, refunded.

use axum::extract::{OriginalUri, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{
        instalment::InstalmentPlan,
        member::ExternalId,
        order::{Order, PaymentMethod, RefundCause},
    },
    http::{
        Api,
        extract::{Allowed, Empty, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{
            InstalmentsView, OrderView,
            input::{Fields, MoneyInput},
            schema,
        },
    },
    ids::{MemberId, OrderId, QuoteId},
    pricing::refund::Part,
    service::{
        Done, Error,
        order::{PayInInstalments, PayOrder, PlaceOrder, RefundOrder},
    },
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(place))
        .routes(routes!(read))
        .routes(routes!(read_by_external_id))
        .routes(routes!(list_of_member))
        .routes(routes!(pay))
        .routes(routes!(instalment_plans))
        .routes(routes!(ship))
        .routes(routes!(deliver))
        .routes(routes!(fail_delivery))
        .routes(routes!(cancel))
        .routes(routes!(refund))
}

/// The order to place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlaceBody {
    /// The quote whose price the member accepts.
    #[schema(value_type = String)]
    quote: QuoteId,
    /// What the partner calls the order; unique.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    /// Paid to the courier: shipped and delivered before it is paid.
    #[serde(default)]
    cash_on_delivery: bool,
}

/// A payment that was made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PaymentBody {
    /// The payment provider's reference.
    #[schema(value_type = String)]
    reference: ExternalId,
    #[schema(schema_with = schema::payment_method)]
    method: PaymentMethod,
    /// Exactly the order's payable.
    amount: MoneyInput,
    /// Paid in parts: from 200.00, as the plans of the order say.
    instalments: Option<InstalmentsBody>,
}

/// A plan of paying in parts. The schedule is computed and recorded; the money is lent by others.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InstalmentsBody {
    #[schema(schema_with = schema::instalment_plan)]
    plan: InstalmentPlan,
    /// The version of the text that the member agreed to; needed where there is interest.
    consent: Option<String>,
}

/// The plans that an order may take.
#[derive(Serialize, ToSchema)]
#[schema(as = InstalmentPlans)]
struct InstalmentPlansView {
    /// As if it was paid now; none below 200.00 or with cash on delivery.
    items: Vec<InstalmentsView>,
}

/// What comes back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    /// Shipped medicine comes back only for quality or fault.
    #[schema(schema_with = schema::refund_cause)]
    cause: RefundCause,
    /// Everything that is left, where it is not said.
    lines: Option<Vec<RefundLineBody>>,
}

/// What comes back of one line: items, or an amount and no items.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundLineBody {
    /// Index into the order's lines.
    line: u16,
    /// This or `amount`.
    #[schema(minimum = 1)]
    quantity: Option<u32>,
    /// This or `quantity`: money of the line that is paid back while its items stay.
    amount: Option<MoneyInput>,
}

/// An order with its revision, for all that answer with one.
fn reply(api: &Api, order: Order) -> Reply<OrderView> {
    let revision = order.revision;
    Reply::ok(api.show().order(order)).etag(revision)
}

fn done(api: &Api, done: Done<Order>) -> Reply<OrderView> {
    reply(api, done.value).replayed(done.replayed)
}

/// Places an order: coupon, points, budget and stock are held until it is paid or given up.
///
/// Where the member or an offer changed since the quote, the answer is `quote-changed` and encloses a fresh quote.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", security(("api_key" = ["orders:write"])),
    params(OnceHeader), request_body = PlaceBody,
    responses(
        (status = 201, body = OrderView),
        (status = 409, description = "quote-changed, quote-placed, quote-expired, already-exists, coupon-not-usable, not-enough-points, out-of-stock, prescription-not-usable, prescription-exceeded"),
        (status = 410, description = "member-erased"),
    ),
)]
async fn place(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersWrite>,
    Once { key, body: Json(body), .. }: Once<Json<PlaceBody>>,
) -> Result<Reply<OrderView>, Problem> {
    let place =
        PlaceOrder { quote: body.quote, external_id: body.external_id, cash_on_delivery: body.cash_on_delivery };
    let done = api.services.place(*caller, key, place).await.map_err(|error| match error {
        Error::QuoteChanged(quote) => {
            let view = api.show().quote((*quote).clone());
            Problem::from(Error::QuoteChanged(quote)).quote(&view)
        }
        other => other.into(),
    })?;
    let (location, revision) = (format!("/v1/orders/{}", done.value.id), done.value.revision);
    Ok(Reply::created(api.show().order(done.value), location).etag(revision).replayed(done.replayed))
}

/// Reads an order.
#[utoipa::path(
    get, path = "/v1/orders/{order}", tag = "orders", security(("api_key" = ["orders:read"])),
    responses((status = 200, body = OrderView)),
)]
async fn read(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersRead>,
    Path(id): Path<OrderId>,
) -> Result<Reply<OrderView>, Problem> {
    let order = api.services.order(*caller, id).await?;
    Ok(reply(&api, order))
}

/// Reads the order that the caller calls this.
#[utoipa::path(
    get, path = "/v1/orders/by-external-id/{external_id}", tag = "orders",
    security(("api_key" = ["orders:read"])), responses((status = 200, body = OrderView)),
)]
async fn read_by_external_id(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersRead>,
    Path(external_id): Path<ExternalId>,
) -> Result<Reply<OrderView>, Problem> {
    let order = api.services.order_by_external_id(*caller, external_id.as_str()).await?;
    Ok(reply(&api, order))
}

/// Lists a member's orders in the order they were placed.
#[utoipa::path(
    get, path = "/v1/members/{member}/orders", tag = "orders", security(("api_key" = ["orders:read"])),
    params(PageQuery), responses((status = 200, body = List<OrderView>)),
)]
async fn list_of_member(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersRead>,
    Path(member): Path<MemberId>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<OrderView>, Problem> {
    let page = api.services.orders_of(*caller, member, page.request()?).await?;
    Ok(List::new(page, &uri, |order| api.show().order(order)))
}

/// Records that an order was paid: the hold is captured, points are earned, the tier is judged anew.
///
/// The same reference once more changes nothing. A payment of a cancelled order is kept as a refund to make: the answer is
/// the cancelled order, which names it in `refunds_due`.
#[utoipa::path(
    post, path = "/v1/orders/{order}/payment", tag = "orders", security(("api_key" = ["orders:write"])),
    params(OnceHeader), request_body = PaymentBody,
    responses((status = 200, body = OrderView), (status = 409, description = "wrong-order-state, amount-mismatch, already-exists, prescription-under-review")),
)]
async fn pay(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersWrite>,
    Path(id): Path<OrderId>,
    Once { key, body: Json(body), .. }: Once<Json<PaymentBody>>,
) -> Result<Reply<OrderView>, Problem> {
    let mut fields = Fields::new(api.currency);
    let amount = fields.money("/amount", &body.amount);
    fields.finish()?;
    let instalments = body.instalments.map(|parts| PayInInstalments { plan: parts.plan, consent: parts.consent });
    let pay = PayOrder { reference: body.reference, method: body.method, amount, instalments };
    Ok(done(&api, api.services.pay(*caller, key, id, pay).await?))
}

/// Lists the plans that an order may take to be paid in parts, with their schedules as if it was paid now.
#[utoipa::path(
    get, path = "/v1/orders/{order}/instalment-plans", tag = "orders", security(("api_key" = ["orders:read"])),
    responses((status = 200, body = InstalmentPlansView)),
)]
async fn instalment_plans(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersRead>,
    Path(id): Path<OrderId>,
) -> Result<Reply<InstalmentPlansView>, Problem> {
    let plans = api.services.instalment_plans(*caller, id).await?;
    let items = plans.into_iter().map(|plan| api.show().instalments(plan)).collect();
    Ok(Reply::ok(InstalmentPlansView { items }))
}

/// Records that an order left. One that was refunded whole does not leave.
#[utoipa::path(
    post, path = "/v1/orders/{order}/shipment", tag = "orders", security(("api_key" = ["orders:write"])),
    params(OnceHeader), responses((status = 200, body = OrderView), (status = 409, description = "wrong-order-state")),
)]
async fn ship(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersWrite>,
    Path(id): Path<OrderId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<OrderView>, Problem> {
    Ok(done(&api, api.services.ship(*caller, key, id).await?))
}

/// Records that an order arrived: the return window begins.
#[utoipa::path(
    post, path = "/v1/orders/{order}/delivery", tag = "orders", security(("api_key" = ["orders:write"])),
    params(OnceHeader), responses((status = 200, body = OrderView), (status = 409, description = "wrong-order-state")),
)]
async fn deliver(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersWrite>,
    Path(id): Path<OrderId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<OrderView>, Problem> {
    Ok(done(&api, api.services.deliver(*caller, key, id).await?))
}

/// Records that an order with cash on delivery could not be handed over or was not paid: the goods came back, and whatever
/// it held goes back. Medicine is not sold again.
#[utoipa::path(
    post, path = "/v1/orders/{order}/delivery-failure", tag = "orders", security(("api_key" = ["orders:write"])),
    params(OnceHeader), responses((status = 200, body = OrderView), (status = 409, description = "wrong-order-state")),
)]
async fn fail_delivery(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersWrite>,
    Path(id): Path<OrderId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<OrderView>, Problem> {
    Ok(done(&api, api.services.fail_delivery(*caller, key, id).await?))
}

/// Gives up an order that has not left. Unpaid, whatever it held goes back; paid, what is left of it is refunded; one that
/// was refunded whole before is only closed.
#[utoipa::path(
    post, path = "/v1/orders/{order}/cancellation", tag = "orders", security(("api_key" = ["orders:write"])),
    params(OnceHeader), responses((status = 200, body = OrderView), (status = 409, description = "wrong-order-state")),
)]
async fn cancel(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersWrite>,
    Path(id): Path<OrderId>,
    Once { key, body: Empty, .. }: Once<Empty>,
) -> Result<Reply<OrderView>, Problem> {
    Ok(done(&api, api.services.cancel(*caller, key, id).await?))
}

/// Refunds an order, all of it or by line: pays back exactly what was paid. The new refund is the last one.
#[utoipa::path(
    post, path = "/v1/orders/{order}/refunds", tag = "orders", security(("api_key" = ["orders:write"])),
    params(OnceHeader), request_body = RefundBody,
    responses(
        (status = 200, body = OrderView),
        (status = 409, description = "wrong-order-state, medicine-not-returnable"),
        (status = 422, description = "invalid-request, refund-refused"),
    ),
)]
async fn refund(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersWrite>,
    Path(id): Path<OrderId>,
    Once { key, body: Json(body), .. }: Once<Json<RefundBody>>,
) -> Result<Reply<OrderView>, Problem> {
    let mut fields = Fields::new(api.currency);
    let mut part = |(at, line): (usize, &RefundLineBody)| match (line.quantity, &line.amount) {
        (Some(items), None) => (line.line, Part::Items(items)),
        (None, Some(amount)) => (line.line, Part::Amount(fields.money(&format!("/lines/{at}/amount"), amount))),
        _ => {
            fields.wrong(format!("/lines/{at}"), "must have one of `quantity` and `amount`");
            (line.line, Part::Items(0))
        }
    };
    let lines = body.lines.as_ref().map(|lines| lines.iter().enumerate().map(&mut part).collect());
    fields.finish()?;
    let refund = RefundOrder { cause: body.cause, lines };
    Ok(done(&api, api.services.refund(*caller, key, id, refund).await?))
}
