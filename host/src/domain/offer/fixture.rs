//! Offers for tests.

use jiff::Timestamp;

use super::{Base, Funder, FunderShare, Offer, OfferClass, OfferState, Purpose, Validity};
use crate::{
    domain::{member::Revision, money::BasisPoints},
    ids::{Id as _, OfferId},
};

/// A live offer with this number and no terms, limits or group.
pub(crate) fn offer(n: u128, class: OfferClass, purpose: Purpose) -> Offer {
    Offer {
        id: OfferId::from_bits(n),
        code: format!("o{n}").parse().expect("an id"),
        name_zh_cn: "会员日".into(),
        name_en: "member day".into(),
        class,
        purpose,
        slot: "coupon".into(),
        terms: Vec::new(),
        exclusivity_group: None,
        priority: 0,
        funders: vec![FunderShare { funder: Funder::Platform, share: BasisPoints::ONE }],
        budget_uses: None,
        budget_amount: None,
        per_member: None,
        validity: Validity::OfferEnd,
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
        state: OfferState::Live,
        revision: Revision::FIRST,
        returns_on_refund: true,
        issued_on: None,
        limits: Vec::new(),
        windows: Vec::new(),
        conditions: Vec::new(),
        claimed: false,
        event: None,
        profile_fields: Vec::new(),
        listed_at: 0,
        launch: None,
        breaker: Vec::new(),
        paused_by: None,
        base: Base::Standard,
    }
}
