//! The catalogue.

use serde::Serialize;
use utoipa::ToSchema;

use super::{MoneyView, Show, schema};
use crate::{
    domain::{
        member::ExternalId,
        product::{Class, Product},
    },
    ids::{PartnerId, ProductId},
    service::products::Imported,
};

/// A catalogue entry.
#[derive(Serialize, ToSchema)]
#[schema(as = Product)]
pub(crate) struct ProductView {
    #[schema(value_type = String)]
    id: ProductId,
    /// The partner that sells it.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// What that partner calls it.
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
    urgent: bool,
    /// Of one item.
    list_price: MoneyView,
    /// Tier, member price and offers together leave at least this of one item.
    floor_price: Option<MoneyView>,
    /// Active substances.
    substances: Vec<String>,
    /// How many days one pack lasts.
    days_of_supply: Option<u16>,
    /// Whether sales are limited by stock.
    stock_tracked: bool,
    /// Moved by every write; also the `ETag`.
    revision: u64,
}

/// What an import did.
#[derive(Serialize, ToSchema)]
#[schema(as = Imported)]
pub(crate) struct ImportedView {
    /// Products that are new.
    created: u32,
    /// Products that changed.
    updated: u32,
    /// Products that were the same already.
    unchanged: u32,
}

impl Show<'_> {
    /// A product.
    pub(crate) fn product(&self, product: Product) -> ProductView {
        ProductView {
            id: product.id,
            partner: product.partner,
            external_id: product.external_id,
            name: product.name,
            category: product.category,
            class: product.class,
            urgent: product.urgent,
            list_price: self.money(product.list_price),
            floor_price: product.floor_price.map(|floor| self.money(floor)),
            substances: product.substances,
            days_of_supply: product.days_of_supply,
            stock_tracked: product.stock_tracked,
            revision: product.revision.get(),
        }
    }
}

impl From<Imported> for ImportedView {
    fn from(imported: Imported) -> Self {
        let Imported { created, updated, unchanged } = imported;
        Self { created, updated, unchanged }
    }
}
