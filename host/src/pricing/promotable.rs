//! What may be promoted at all, whatever a plugin proposes.

use crate::domain::{offer::Purpose, product::Class, score::Shelf};

/// Whether an offer of this purpose may touch a product of this class.
///
/// Prescription medicines are never in a flash sale, group buying or marketing; they and class A medicines are never a
/// gift, a trial, a mission reward or a gift for points.
pub const fn may_promote(purpose: Purpose, class: Class) -> bool {
    match purpose {
        Purpose::General => true,
        Purpose::FlashSale | Purpose::GroupBuying | Purpose::Marketing => !matches!(class, Class::Rx),
        Purpose::Gift | Purpose::Trial | Purpose::MissionReward | Purpose::PointsGift => {
            !matches!(class, Class::Rx | Class::OtcA)
        }
    }
}

/// Whether a product of this class may be recommended on this shelf: to discover a prescription medicine is not for
/// members; to buy again what was prescribed is.
pub const fn may_recommend(shelf: Shelf, class: Class) -> bool {
    match shelf {
        Shelf::BuyAgain => true,
        Shelf::Discover => !matches!(class, Class::Rx),
    }
}
