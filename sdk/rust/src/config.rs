//! Configurations as plain types: JSON in, every wrong field out with a pointer to it.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::types::FieldError;

/// A configuration: any type that serde can read and schemars can describe. [`config!`](crate::config!) makes one.
pub trait Config: DeserializeOwned + JsonSchema {}
impl<T: DeserializeOwned + JsonSchema> Config for T {}

/// The JSON Schema (2020-12) of a configuration.
pub(crate) fn schema<C: Config>() -> String {
    schemars::schema_for!(C).as_value().to_string()
}

/// Reads a configuration.
///
/// # Errors
///
/// The first thing that is not as the type says, with its place.
pub(crate) fn parse<C: Config>(text: &str) -> Result<C, Vec<FieldError>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let config = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| vec![FieldError::new(pointer(error.path()), error.inner().to_string())])?;
    json.end().map_err(|error| vec![FieldError::new("", error.to_string())])?;
    Ok(config)
}

/// The JSON pointer of a path (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

impl FieldError {
    /// `message` says what is wrong with the field at `pointer` (for example `/tiers/0/from`) and what would be right.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// Collects everything that is wrong, so that the operator sees it all at once.
#[derive(Debug, Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// Nothing wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the field at `pointer` is wrong unless `right`.
    pub fn require(&mut self, right: bool, pointer: impl Into<String>, message: impl Into<String>) {
        if !right {
            self.0.push(FieldError::new(pointer, message));
        }
    }

    /// `value`, if nothing was wrong.
    ///
    /// # Errors
    ///
    /// Everything noted.
    pub fn into_result<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Declares a type of the configuration: the struct or enum as written, readable from JSON and with a schema.
/// Documentation becomes the schema's descriptions; a field that the type does not know is refused.
///
/// ```
/// use galenic_sdk::prelude::*;
///
/// config! {
///     /// When points become points.
///     pub struct Config {
///         /// What one point costs.
///         pub per: Money,
///         /// At most this many a day.
///         #[serde(default)]
///         pub daily: Option<Points>,
///     }
/// }
/// let config: Config = serde_json::from_str(r#"{"per": 100}"#).expect("is a configuration");
/// assert_eq!(config.per, Money::new(100));
/// ```
#[macro_export]
macro_rules! config {
    ($($item:item)*) => {$(
        #[derive(Clone, Debug, $crate::serde::Deserialize, $crate::schemars::JsonSchema)]
        #[serde(crate = "galenic_sdk::serde", deny_unknown_fields)]
        #[schemars(crate = "galenic_sdk::schemars")]
        $item
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Money;

    crate::config! {
        struct Step {
            from: Money,
        }
        struct Ladder {
            steps: Vec<Step>,
        }
    }

    fn refusal(text: &str) -> String {
        let errors = parse::<Ladder>(text).expect_err("is refused");
        errors.iter().map(|error| format!("{}: {}", error.pointer, error.message)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_refusal_points_at_the_field() {
        let ladder = parse::<Ladder>(r#"{"steps": [{"from": 5}]}"#).expect("is right");
        assert_eq!(ladder.steps[0].from, Money::new(5));
        assert!(refusal(r#"{"steps": [{"from": 5}, {"from": "x"}]}"#).starts_with("/steps/1/from: invalid type"));
        assert!(refusal(r#"{"steps": [{"form": 5}]}"#).contains("unknown field `form`"));
        assert!(refusal("{").starts_with(": EOF"));
        assert!(refusal(r#"{"steps": []} x"#).contains("trailing characters"));
    }
}
