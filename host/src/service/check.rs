//! Everything wrong with a request, collected so that a client learns it all at once.

use super::{Error, FieldError};

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<FieldError>);

impl Checks {
    /// Notes a field that is wrong.
    pub(super) fn wrong(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError::new(pointer, message));
    }

    /// Notes a field unless it is right.
    pub(super) fn require(&mut self, right: bool, pointer: impl Into<String>, message: impl Into<String>) {
        if !right {
            self.wrong(pointer, message);
        }
    }

    /// Notes a text that is not 1 to `max` characters, is blank, or holds control characters.
    pub(super) fn text(&mut self, pointer: impl Into<String>, text: &str, max: usize) {
        let fits = !text.trim().is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control);
        self.require(fits, pointer, format!("must be 1 to {max} characters, not blank, without control characters"));
    }

    /// Refuses the request if anything was wrong with it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every field noted.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}
