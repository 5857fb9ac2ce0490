//! Partners and their API keys.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ids::{KeyId, PartnerId},
    service::keys::{ApiKey, Partner, Secret},
};

/// An API client.
#[derive(Serialize, ToSchema)]
#[schema(as = Partner)]
pub(crate) struct PartnerView {
    #[schema(value_type = String)]
    id: PartnerId,
    /// Shown to operators.
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// An API key, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct KeyView {
    /// Public: names the key.
    #[schema(value_type = String)]
    id: KeyId,
    /// Whose.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// Shown to operators.
    name: String,
    /// What it may do.
    #[schema(example = json!(["members:read"]))]
    scopes: Vec<&'static str>,
    /// Whether it sees what other partners made.
    sees_all: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Since when it opens nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

/// A key just made, with the secret that is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub(crate) struct NewKeyView {
    #[serde(flatten)]
    key: KeyView,
    /// Send it as `Authorization: Bearer <secret>`. It is shown here and never again.
    secret: String,
}

impl From<Partner> for PartnerView {
    fn from(partner: Partner) -> Self {
        Self { id: partner.id, name: partner.name, created_at: partner.created_at }
    }
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            partner: key.partner,
            name: key.name,
            scopes: key.scopes.iter().map(|scope| scope.name()).collect(),
            sees_all: key.sees_all,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
        }
    }
}

impl NewKeyView {
    /// A key and its secret.
    pub(crate) fn new(key: ApiKey, secret: &Secret) -> Self {
        Self { key: key.into(), secret: secret.expose().to_owned() }
    }
}
