//! Content guards: what a message may not say.

use std::ops::Range;

pub use crate::bindings::exports::galenic::plugin::content_guard::Finding;
use crate::{
    About, Config, Facts, FieldError, ReasonCode,
    bindings::exports::galenic::plugin::content_guard::{Draft as WireDraft, Guest},
    facts, glue,
    glue::{Export, Plugged},
    types::{Description, Reason},
};

/// Finds what a message may not say. Export it with [`export_content_guard!`](crate::export_content_guard!).
///
/// A message with a finding is not sent, and neither is one that the guard could not look at.
pub trait ContentGuard: Sized + Send + Sync + 'static {
    /// The configuration, see [`config!`](crate::config!).
    type Config: Config;

    /// What the guard wants to know of the message: facts that begin with `touch.`, or `()`.
    type Facts: Facts;

    /// Who the plugin is: [`about!()`](crate::about!).
    const ABOUT: About;

    /// Every reason the guard may give: the table of [`reasons!`](crate::reasons!). The phrase is always the first
    /// parameter.
    const REASONS: &'static [ReasonCode];

    /// Makes a guard of a configuration.
    ///
    /// # Errors
    ///
    /// Every field that is wrong; [`Errors`](crate::Errors) collects them.
    fn configure(config: Self::Config) -> Result<Self, Vec<FieldError>>;

    /// What the message may not say, at most 32 findings. None lets it pass.
    fn check(&self, draft: &Draft<'_, Self::Facts>) -> Vec<Finding>;
}

/// A message as it would be sent.
#[derive(Debug)]
pub struct Draft<'a, Facts> {
    /// What is known of it.
    pub facts: &'a Facts,
    /// What the reader sees, in order: subject, text, and the values put into a vendor's template. At most 16.
    pub parts: &'a [String],
}

impl Finding {
    /// These bytes of the part at this place may not be there; a range begins and ends between characters and is never
    /// empty.
    pub fn new(part: usize, bytes: Range<usize>, reason: impl Into<Reason>) -> Self {
        let place = |at: usize| u32::try_from(at).expect("a part is shorter than 4 GiB");
        let part = u16::try_from(part).expect("a message has at most 16 parts");
        Self { part, start: place(bytes.start), end: place(bytes.end), reason: reason.into() }
    }
}

pub(crate) fn describe<T: ContentGuard>() -> Description {
    glue::describe::<T::Config>(T::ABOUT, &[T::Facts::WANTED], T::REASONS)
}

pub(crate) fn check<T: ContentGuard>(guard: &T, drafts: Vec<WireDraft>) -> Vec<Vec<Finding>> {
    drafts
        .into_iter()
        .map(|draft| guard.check(&Draft { facts: &facts::read(draft.facts), parts: &draft.parts }))
        .collect()
}

impl<P: Plugged<Rule: ContentGuard>> Guest for Export<P> {
    fn describe() -> Description {
        describe::<P::Rule>()
    }

    fn configure(config: String) -> Result<(), Vec<FieldError>> {
        Self::configure(&config, P::Rule::configure)
    }

    fn check(drafts: Vec<WireDraft>) -> Vec<Vec<Finding>> {
        check(Self::rule(), drafts)
    }
}

/// Makes the crate a plugin of kind `content-guard`: `export_content_guard!(AdLaw);` where `AdLaw` is a
/// [`ContentGuard`].
#[macro_export]
macro_rules! export_content_guard {
    ($guard:ty) => {
        const _: () = assert!(
            $crate::facts::all_about(<<$guard as $crate::ContentGuard>::Facts as $crate::Facts>::WANTED, "touch.", true),
            "a content guard sees facts that begin with `touch.`"
        );
        $crate::__export! { $guard, CONTENT_GUARD,
            use $crate::bindings::exports::galenic::plugin::content_guard as interface;
            $crate::bindings::exports::galenic::plugin::content_guard::__export_galenic_plugin_content_guard_0_1_0_cabi!(
                Export with_types_in interface
            );
        }
    };
}
