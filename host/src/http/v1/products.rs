//! The catalogue: imported in bulk, read one by one.

use axum::extract::{OriginalUri, State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{member::ExternalId, product::Class},
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{
            ImportedView, ProductView,
            input::{Fields, MoneyInput},
            schema,
        },
    },
    ids::ProductId,
    service::products::NewProduct,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(import))
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(read_by_external_id))
}

/// Products to create or change, by their external ids.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ImportBody {
    /// All are taken, or none; at most 200.
    products: Vec<NewProductBody>,
}

/// A product as the partner describes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProductBody {
    /// What the partner calls it: names the product to create or to change.
    #[schema(value_type = String)]
    external_id: ExternalId,
    /// Shown to people.
    name: String,
    /// For offers and tags.
    #[schema(example = "VITAMINS")]
    category: String,
    /// What the law calls it.
    #[schema(schema_with = schema::class)]
    class: Class,
    /// Delivered first.
    #[serde(default)]
    urgent: bool,
    /// Of one item.
    list_price: MoneyInput,
    /// Active substances.
    #[serde(default)]
    substances: Vec<String>,
    /// How many days one pack lasts.
    days_of_supply: Option<u16>,
    /// Tier, member price and offers together leave at least this of one item; above 0, at most the list price.
    floor_price: Option<MoneyInput>,
    /// Items that can be sold; absent leaves stock as it is, which for a new product is not limited.
    stock: Option<u64>,
}

/// Creates or changes products in bulk, all or none.
#[utoipa::path(
    post, path = "/v1/products/import", tag = "products", security(("api_key" = ["catalogue:write"])),
    params(OnceHeader), request_body = ImportBody, responses((status = 200, body = ImportedView)),
)]
async fn import(
    State(api): State<Api>,
    caller: Allowed<needs::CatalogueWrite>,
    Once { key, body: Json(body), .. }: Once<Json<ImportBody>>,
) -> Result<Reply<ImportedView>, Problem> {
    let mut fields = Fields::new(api.currency);
    let product = |(at, new): (usize, NewProductBody)| NewProduct {
        external_id: new.external_id,
        name: new.name,
        category: new.category,
        class: new.class,
        urgent: new.urgent,
        list_price: fields.money(&format!("/products/{at}/list_price"), &new.list_price),
        substances: new.substances,
        days_of_supply: new.days_of_supply,
        floor_price: new.floor_price.map(|floor| fields.money(&format!("/products/{at}/floor_price"), &floor)),
        stock: new.stock,
    };
    let products = body.products.into_iter().enumerate().map(product).collect();
    fields.finish()?;
    let done = api.services.import_products(*caller, key, products).await?;
    Ok(Reply::ok(done.value.into()).replayed(done.replayed))
}

/// Lists the products the key may see.
#[utoipa::path(
    get, path = "/v1/products", tag = "products", security(("api_key" = ["catalogue:read"])),
    params(PageQuery), responses((status = 200, body = List<ProductView>)),
)]
async fn list(
    State(api): State<Api>,
    caller: Allowed<needs::CatalogueRead>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<ProductView>, Problem> {
    let page = api.services.list_products(*caller, page.request()?).await?;
    Ok(List::new(page, &uri, |product| api.show().product(product)))
}

/// Reads a product.
#[utoipa::path(
    get, path = "/v1/products/{product}", tag = "products", security(("api_key" = ["catalogue:read"])),
    responses((status = 200, body = ProductView)),
)]
async fn read(
    State(api): State<Api>,
    caller: Allowed<needs::CatalogueRead>,
    Path(id): Path<ProductId>,
) -> Result<Reply<ProductView>, Problem> {
    let product = api.services.product(*caller, id).await?;
    let revision = product.revision;
    Ok(Reply::ok(api.show().product(product)).etag(revision))
}

/// Reads the product that the caller calls this.
#[utoipa::path(
    get, path = "/v1/products/by-external-id/{external_id}", tag = "products",
    security(("api_key" = ["catalogue:read"])), responses((status = 200, body = ProductView)),
)]
async fn read_by_external_id(
    State(api): State<Api>,
    caller: Allowed<needs::CatalogueRead>,
    Path(external_id): Path<ExternalId>,
) -> Result<Reply<ProductView>, Problem> {
    let product = api.services.product_by_external_id(*caller, external_id.as_str()).await?;
    let revision = product.revision;
    Ok(Reply::ok(api.show().product(product)).etag(revision))
}
