//! Quotes: a cart goes in, an explained price that holds for a while comes out.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{
        member::ExternalId,
        money::{Money, Points},
        order::Cart,
    },
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, Path, needs},
        problem::Problem,
        reply::Reply,
        views::{
            QuoteView,
            input::{Fields, MoneyInput},
        },
    },
    ids::{CouponId, MemberId, ProductId, QuoteId},
    service::{Caller, FieldError},
};

/// Products of one list: no more are looked up.
const PRODUCTS_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(read))
}

/// What a price is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CartBody {
    /// For whom.
    #[schema(value_type = String)]
    member: MemberId,
    lines: Vec<ProductBody>,
    /// The coupon the member names: no other is taken then; otherwise the one that saves most is. One that is not the
    /// member's is declined as `not-yours`.
    #[schema(value_type = Option<String>)]
    coupon: Option<CouponId>,
    /// Points the member wants to spend.
    #[serde(default)]
    #[schema(minimum = 0)]
    points: i64,
    /// Before offers; none where it is not said.
    delivery_fee: Option<MoneyInput>,
    /// The prescription that covers the lines that need one: what the partner calls it, or its id. One under review will
    /// do: the order then waits for the decision.
    #[schema(value_type = Option<String>)]
    prescription: Option<ExternalId>,
}

/// Items of a product, by its id or by the partner's.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CartLineBody)]
pub(super) struct ProductBody {
    /// This or `external_id`.
    #[schema(value_type = Option<String>)]
    product: Option<ProductId>,
    /// This or `product`.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    /// Items.
    #[schema(minimum = 1)]
    quantity: u32,
}

/// Prices a cart for a member, with every reason.
#[utoipa::path(
    post, path = "/v1/quotes", tag = "quotes", security(("api_key" = ["orders:write"])),
    params(OnceHeader), request_body = CartBody,
    responses(
        (status = 201, body = QuoteView),
        (status = 409, description = "not-enough-points, prescription-not-usable, prescription-exceeded"),
        (status = 410, description = "member-erased"),
        (status = 422, description = "invalid-request, prescription-required, points-above-limit, amount-overflow"),
    ),
)]
async fn create(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersWrite>,
    Once { key, body: Json(body), .. }: Once<Json<CartBody>>,
) -> Result<Reply<QuoteView>, Problem> {
    let member = body.member;
    let cart = cart(&api, *caller, body).await?;
    let done = api.services.quote(*caller, key, member, cart).await?;
    let location = format!("/v1/quotes/{}", done.value.id);
    Ok(Reply::created(api.show().quote(done.value), location).replayed(done.replayed))
}

/// The cart with every product by its id.
async fn cart(api: &Api, caller: Caller, body: CartBody) -> Result<Cart, Problem> {
    let mut fields = Fields::new(api.currency);
    let delivery_fee = body.delivery_fee.map_or(Money::ZERO, |fee| fields.money("/delivery_fee", &fee));
    let lines = products(api, caller, &mut fields, "/lines", body.lines).await?;
    fields.finish()?;
    Ok(Cart {
        lines,
        coupon: body.coupon,
        points: Points::new(body.points),
        delivery_fee,
        prescription: body.prescription,
    })
}

/// The products of a list at `pointer` by their ids; what is wrong with them is noted.
pub(super) async fn products(
    api: &Api,
    caller: Caller,
    fields: &mut Fields,
    pointer: &str,
    list: Vec<ProductBody>,
) -> Result<Vec<(ProductId, u32)>, Problem> {
    if list.len() > PRODUCTS_MAX {
        let message = format!("names {} products, more than {PRODUCTS_MAX}", list.len());
        return Err(Problem::invalid(vec![FieldError::new(pointer, message)]));
    }
    let names: Vec<ExternalId> = list.iter().filter_map(|line| line.external_id.clone()).collect();
    let mut named = api.services.products_named(caller, names).await?.into_iter();
    let mut found = Vec::with_capacity(list.len());
    for (at, line) in list.into_iter().enumerate() {
        let known = line.external_id.as_ref().and_then(|_| named.next().flatten());
        match (line.product, line.external_id, known) {
            (Some(product), None, _) => found.push((product, line.quantity)),
            (None, Some(_), Some(product)) => found.push((product, line.quantity)),
            (None, Some(name), None) => {
                fields.wrong(format!("{pointer}/{at}/external_id"), format!("the product {name} does not exist"));
            }
            _ => fields.wrong(format!("{pointer}/{at}"), "must name the product, by `product` or by `external_id`"),
        }
    }
    Ok(found)
}

/// Reads a quote.
#[utoipa::path(
    get, path = "/v1/quotes/{quote}", tag = "quotes", security(("api_key" = ["orders:read"])),
    responses((status = 200, body = QuoteView)),
)]
async fn read(
    State(api): State<Api>,
    caller: Allowed<needs::OrdersRead>,
    Path(id): Path<QuoteId>,
) -> Result<Reply<QuoteView>, Problem> {
    let quote = api.services.get_quote(*caller, id).await?;
    Ok(Reply::ok(api.show().quote(quote)))
}
