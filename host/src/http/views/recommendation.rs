//! What a member might want.

use serde::Serialize;
use utoipa::ToSchema;

use super::{ProductView, ReleaseRefView, Show, reason::ReasonView, schema};
use crate::{domain::score::Shelf, service::recommend::Recommendations};

/// Recommended products of one shelf.
#[derive(Serialize, ToSchema)]
#[schema(as = Recommendations)]
pub(crate) struct RecommendationsView {
    /// Where they belong.
    #[schema(schema_with = schema::shelf)]
    shelf: Shelf,
    /// The best first.
    items: Vec<RecommendationView>,
    /// The release that scored them.
    release: ReleaseRefView,
}

/// A recommended product.
#[derive(Serialize, ToSchema)]
#[schema(as = Recommendation)]
pub(crate) struct RecommendationView {
    product: ProductView,
    /// Higher is better; comparable within one answer only.
    #[schema(example = 1.5)]
    value: f64,
    /// Why.
    reasons: Vec<ReasonView>,
}

impl Show<'_> {
    /// The recommendations of a shelf.
    pub(crate) fn recommendations(&self, shelf: Shelf, found: Recommendations) -> RecommendationsView {
        let Recommendations { items, release } = found;
        let releases = std::slice::from_ref(&release);
        let item = |item: crate::service::recommend::Recommended| RecommendationView {
            product: self.product(item.product),
            value: item.value,
            reasons: self.reasons(item.reasons, releases),
        };
        let items = items.into_iter().map(item).collect();
        RecommendationsView { shelf, items, release: release.into() }
    }
}
