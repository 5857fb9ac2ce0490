//! Values that requests bring and that need a second look.

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::Currency;
use crate::{domain::money::Money, http::problem::Problem, service::FieldError};

/// An amount of money in a request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MoneyInput)]
pub(crate) struct MoneyInput {
    /// Minor units, such as fen.
    #[schema(example = 19900)]
    minor: i64,
    /// ISO 4217; must be the deployment's.
    #[schema(example = "CNY")]
    currency: String,
}

/// Collects what is wrong with the fields of a request, so that a client learns it all at once.
pub(crate) struct Fields {
    currency: Currency,
    wrong: Vec<FieldError>,
}

impl Fields {
    /// Nothing wrong yet.
    pub(crate) fn new(currency: Currency) -> Self {
        Self { currency, wrong: Vec::new() }
    }

    /// Notes a field that is wrong.
    pub(crate) fn wrong(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.wrong.push(FieldError::new(pointer, message));
    }

    /// The amount, if its currency is the deployment's.
    pub(crate) fn money(&mut self, pointer: &str, input: &MoneyInput) -> Money {
        if input.currency != self.currency.as_str() {
            self.wrong(format!("{pointer}/currency"), format!("must be `{}`", self.currency.as_str()));
        }
        Money::new(input.minor)
    }

    /// Refuses the request if anything was wrong.
    ///
    /// # Errors
    ///
    /// With every field noted.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Problem::invalid(self.wrong)) }
    }
}

/// Tells null from absent: absent stays `None` by `#[serde(default)]`, null is `Some(None)`.
///
/// # Errors
///
/// Those of the value.
pub(crate) fn present<'de, T, D>(from: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(from).map(Some)
}
