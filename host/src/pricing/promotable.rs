//! What may be promoted at all, whatever a plugin proposes.

use crate::domain::{offer::Purpose, product::Class};

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
