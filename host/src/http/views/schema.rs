//! Schemas of the domain's choices, by the names that JSON has.

use utoipa::openapi::{
    RefOr, Schema,
    schema::{ObjectBuilder, Type},
};

macro_rules! choices {
    ($($name:ident: $($value:literal)*;)*) => {
        $(
            pub(crate) fn $name() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some([$($value),*])).into()
            }
        )*

        #[cfg(test)]
        const ALL: &[(&str, &[&str])] = &[$((stringify!($name), &[$($value),*])),*];
    };
}

choices! {
    approval: "draft" "approved" "rejected";
    channel: "sms" "email" "webhook" "wechat" "app";
    catch_up: "once" "all" "skip";
    class: "rx" "otc-a" "otc-b" "device" "food" "other";
    base: "standard" "list" "after-promotions" "after-coupons";
    consent_purpose: "health-data" "personalisation" "retargeting" "marketing" "device-readings" "third-party-sharing" "community" "guardian";
    coupon_state: "issued" "held" "redeemed" "expired" "revoked";
    falls: "now" "period-end";
    entry_cause: "earned" "activated" "held" "released" "spent" "restored" "clawed-back" "expired" "adjusted" "opening" "debt-paid";
    funder: "platform" "brand" "pharmacy";
    instalment_plan: "monthly" "quarterly";
    job_state: "running" "done" "given-up";
    kind: "tier-rule" "earning-rule" "coupon-policy" "scorer" "content-guard" "channel";
    language: "zh-CN" "en";
    member_state: "active" "erased";
    offer_class: "member-price" "promotion" "coupon" "delivery";
    limit_period: "ever" "day" "week" "month" "hour" "minute";
    limit_whose: "all" "member";
    offer_state: "live" "paused" "draft";
    order_state: "placed" "paid" "shipped" "delivered" "cancelled";
    pause_cause: "operator" "breaker";
    payment_method: "wechat-pay" "alipay" "unionpay" "huabei" "cash-on-delivery";
    prescription_state: "under-review" "approved" "rejected" "expired";
    purpose: "general" "flash-sale" "group-buying" "marketing" "gift" "trial" "mission-reward" "points-gift";
    purse: "pending" "active" "held" "debt";
    referral_state: "waiting" "succeeded" "phone-seen";
    redemption_state: "held" "redeemed" "cancelled";
    refund_cause: "change-of-mind" "quality" "fault";
    relation: "itself" "parent" "child" "spouse" "other";
    shelf: "buy-again" "discover";
    suppression_cause: "unsubscribed" "hard-bounce" "operator";
    valid_until: "end-of-day" "end-of-month";
    trigger: "registration" "birthday" "anniversary" "profile-completed" "event";
    tier_cause: "registered" "paid" "refunded" "rule-change" "scheduled" "opening" "activity";
    touch_class: "transactional" "care" "content" "marketing";
}

/// A JSON value of any type.
pub(crate) fn any() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue).into()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::{
        domain::{
            gift, instalment, launch, limit, member, offer, order, points, prescription, product, programme, score,
            touch,
        },
        reach::{suppression::Cause, template::Approval},
    };

    fn check<T: DeserializeOwned>(name: &str) {
        let (_, values) = ALL.iter().find(|(known, _)| *known == name).expect("a choice");
        for value in *values {
            assert!(serde_json::from_value::<T>((*value).into()).is_ok(), "{name} has no {value}");
        }
        // serde lists the variants it knows when it gets one it does not.
        let error = serde_json::from_value::<T>("no-such-name".into()).err().map(|error| error.to_string());
        let listed = error.as_deref().map_or(0, |text| text.matches('`').count() / 2 - 1);
        assert_eq!(listed, values.len(), "{name}: {error:?}");
    }

    #[test]
    fn the_schemas_name_what_the_domain_reads() {
        check::<crate::service::timers::CatchUp>("catch_up");
        check::<product::Class>("class");
        check::<offer::Funder>("funder");
        check::<instalment::InstalmentPlan>("instalment_plan");
        check::<member::MemberState>("member_state");
        check::<offer::OfferClass>("offer_class");
        check::<offer::OfferState>("offer_state");
        check::<order::OrderState>("order_state");
        check::<order::PaymentMethod>("payment_method");
        check::<prescription::PrescriptionState>("prescription_state");
        check::<offer::Purpose>("purpose");
        check::<points::Purse>("purse");
        check::<gift::RedemptionState>("redemption_state");
        check::<crate::service::referrals::ReferralState>("referral_state");
        check::<order::RefundCause>("refund_cause");
        check::<member::Relation>("relation");
        check::<score::Shelf>("shelf");
        check::<member::TierCause>("tier_cause");
        check::<touch::Class>("touch_class");
        check::<touch::Channel>("channel");
        check::<touch::ConsentPurpose>("consent_purpose");
        check::<touch::Language>("language");
        check::<Approval>("approval");
        check::<Cause>("suppression_cause");
        check::<offer::Trigger>("trigger");
        check::<limit::Period>("limit_period");
        check::<limit::Whose>("limit_whose");
        check::<programme::Falls>("falls");
        check::<launch::PauseCause>("pause_cause");
        check::<offer::Base>("base");
    }
}
