//! Why a module or a release was refused, or could not answer.

use crate::{
    domain::rule::Kind,
    plugin::{ActivateError, AdmissionError, Fault, ReleaseError},
    service::error::{Error, Nature},
};

/// Why a plugin was refused, or cannot take a slot. Messages say what would be right.
#[derive(Debug, thiserror::Error)]
pub enum PluginRefusal {
    /// The module is not taken in.
    #[error("the module is refused: {0}")]
    Admission(#[from] AdmissionError),
    /// The release cannot be made ready.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The engine does not take the release for this slot.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// The module is of another kind than the slot.
    #[error("slot `{slot}` takes a {}, the module is a {}", wanted.name(), given.name())]
    Kind {
        /// The slot.
        slot: String,
        /// The slot's kind.
        wanted: Kind,
        /// The module's kind.
        given: Kind,
    },
    /// Members may hold tiers that the release neither gives nor maps.
    #[error(
        "release {release} says nothing of tier codes that members may hold: {}; \
         make a release whose `tier_map` names a tier of its own for each",
        codes.join(", ")
    )]
    Tiers {
        /// The release.
        release: String,
        /// The codes.
        codes: Vec<String>,
    },
    /// Live offers have terms that the release does not understand.
    #[error("release {release} cannot judge live offers: {}; pause them first or keep their terms", misfits.join("; "))]
    Terms {
        /// The release.
        release: String,
        /// Offer and term.
        misfits: Vec<String>,
    },
    /// No release was live before the one that is.
    #[error("slot `{slot}` has no release to go back to")]
    NothingBefore {
        /// The slot.
        slot: String,
    },
    /// No release is live.
    #[error("slot `{slot}` has no live release: activate one first")]
    Empty {
        /// The slot.
        slot: String,
    },
    /// The live release failed when it was asked.
    #[error("release {release} could not answer: {fault}")]
    Faulted {
        /// The release.
        release: String,
        /// How.
        fault: Fault,
    },
}

impl PluginRefusal {
    /// Stable, in kebab case: clients branch on it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Admission(_) => "module-refused",
            Self::Release(_) => "release-refused",
            Self::Activate(_) | Self::Kind { .. } => "wrong-kind",
            Self::Tiers { .. } => "tier-codes-unmapped",
            Self::Terms { .. } => "offer-terms-unknown",
            Self::NothingBefore { .. } => "nothing-to-roll-back",
            Self::Empty { .. } => "slot-empty",
            Self::Faulted { .. } => "plugin-failed",
        }
    }

    /// What sort of refusal it is.
    pub fn nature(&self) -> Nature {
        match self {
            Self::Admission(AdmissionError::Host(_)) | Self::Release(ReleaseError::Host(_)) => Nature::Internal,
            Self::Admission(_) | Self::Release(_) | Self::Activate(_) | Self::Kind { .. } => Nature::Invalid,
            Self::Tiers { .. } | Self::Terms { .. } | Self::NothingBefore { .. } => Nature::Conflict,
            Self::Empty { .. } | Self::Faulted { .. } => Nature::Unavailable,
        }
    }
}

impl From<PluginRefusal> for Error {
    fn from(refusal: PluginRefusal) -> Self {
        Self::Plugin(refusal)
    }
}
