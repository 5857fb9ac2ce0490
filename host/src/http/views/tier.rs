//! The tier programme, and what members see of it.

use std::collections::HashMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    MoneyView, Show,
    reason::{ReasonView, TextView},
    schema,
};
use crate::{
    domain::{
        limit::Measure,
        member::{KeptTier, TierCause},
        money::Money,
        offer::{OfferClass, OfferState},
        programme::{Evaluation, Falls, Service, TierTerms},
        rule::{Parameter, Tier},
    },
    ids::OfferId,
    service::tiers::{Benefits, Entitlement, ProgrammeRow, Quota, Standing, Target},
};

/// When a tier is confirmed or lost.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[schema(as = TierEvaluation)]
#[allow(dead_code, reason = "describes the domain's own type, which is what is read and written")]
pub(crate) enum EvaluationView {
    /// What counts never lapses by itself: a tier is lost by refunds and new rules alone.
    Lifetime,
    /// What counts lapses day by day: a tier is lost as soon as the rule gives a lower one, after the grace.
    Rolling,
    /// A tier is kept until the end of the period in which the rule begins to give a lower one, and then the grace.
    Period {
        /// 1, 2, 3, 4, 6 or 12.
        months: u8,
        /// 1 to 12.
        #[schema(minimum = 1, maximum = 12)]
        first_month: u8,
    },
}

/// A benefit that is no money.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TierService)]
pub(crate) struct ServiceView {
    /// Stable: partners act on it.
    #[schema(example = "own-pharmacist")]
    pub(crate) code: String,
    /// Simplified Chinese.
    #[schema(example = "专属药师")]
    pub(crate) name_zh_cn: String,
    /// English.
    #[schema(example = "Own pharmacist")]
    pub(crate) name_en: String,
}

/// The tier programme.
#[derive(Serialize, ToSchema)]
#[schema(as = TierProgramme)]
pub(crate) struct ProgrammeView {
    /// Counts up with every change; also the `ETag`. 0 where nobody set one.
    version: u64,
    /// When it was set; null where nobody did.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    #[schema(value_type = EvaluationView)]
    evaluation: Evaluation,
    grace_days: u16,
    notice_days: u16,
    renewal_days: u16,
    /// Codes of offers.
    renewal_offers: Vec<String>,
    #[schema(schema_with = schema::falls)]
    on_refund: Falls,
    return_days: u16,
    gift_months: u16,
    tiers: Vec<TierTermsView>,
}

/// What a tier brings.
#[derive(Serialize, ToSchema)]
#[schema(as = TierTerms)]
struct TierTermsView {
    code: String,
    gift: TierGiftView,
    /// Codes of offers.
    entitlements: Vec<String>,
    services: Vec<ServiceView>,
}

/// What reaching a tier brings.
#[derive(Serialize, ToSchema)]
#[schema(as = TierGift)]
struct TierGiftView {
    points: i64,
    /// Codes of offers.
    offers: Vec<String>,
}

impl ProgrammeView {
    /// A version, with the codes of the offers it names.
    pub(crate) fn new(row: ProgrammeRow, codes: &HashMap<OfferId, String>) -> Self {
        let ProgrammeRow { programme, at } = row;
        let named = |ids: Vec<OfferId>| -> Vec<String> { ids.iter().filter_map(|id| codes.get(id).cloned()).collect() };
        let tier = |terms: TierTerms| TierTermsView {
            code: terms.code,
            gift: TierGiftView { points: terms.gift_points.get(), offers: named(terms.gift_offers) },
            entitlements: named(terms.entitlements),
            services: terms.services.into_iter().map(ServiceView::from).collect(),
        };
        Self {
            version: programme.version.get(),
            at: (programme.version.get() > 0).then_some(at),
            evaluation: programme.evaluation,
            grace_days: programme.grace_days,
            notice_days: programme.notice_days,
            renewal_days: programme.renewal_days,
            renewal_offers: named(programme.renewal_offers),
            on_refund: programme.on_refund,
            return_days: programme.return_days,
            gift_months: programme.gift_months,
            tiers: programme.tiers.into_iter().map(tier).collect(),
        }
    }
}

impl From<Service> for ServiceView {
    fn from(service: Service) -> Self {
        let Service { code, name_zh_cn, name_en } = service;
        Self { code, name_zh_cn, name_en }
    }
}

/// Where a member stands.
#[derive(Serialize, ToSchema)]
#[schema(as = TierStanding)]
pub(crate) struct StandingView {
    /// The tier as stored; it counts from the next order.
    tier: TierNameView,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// What moved the member there.
    #[schema(schema_with = schema::tier_cause)]
    cause: TierCause,
    /// The tier that the live rule gives today, by its code; null where it could not answer.
    given: Option<String>,
    /// Why, in the rule's words.
    reasons: Vec<ReasonView>,
    /// The period of evaluation that runs; a calendar year where the programme has no periods.
    period: PeriodView,
    /// There if the member no longer qualifies and holds the tier for a while.
    kept: Option<KeptView>,
    /// Until when the tier is held if nothing is bought; null where a year ahead shows no end.
    #[schema(value_type = Option<String>, format = DateTime)]
    held_until: Option<Timestamp>,
    /// What is missing to the tier above; null in the highest.
    next: Option<TargetView>,
    /// What is missing to keep this one; null where it is not lost within the year.
    keep: Option<TargetView>,
}

/// A tier by name.
#[derive(Serialize, ToSchema)]
#[schema(as = TierName)]
pub(crate) struct TierNameView {
    #[schema(example = "silver")]
    code: String,
    name_zh_cn: String,
    name_en: String,
}

/// A period, both days in it.
#[derive(Serialize, ToSchema)]
#[schema(as = TierPeriod)]
struct PeriodView {
    #[schema(value_type = String, format = Date)]
    first: Date,
    #[schema(value_type = String, format = Date)]
    last: Date,
}

/// A tier that is held although the rule gives a lower one.
#[derive(Serialize, ToSchema)]
#[schema(as = KeptTier)]
struct KeptView {
    /// The tier that comes instead.
    to: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// What took the tier away.
    #[schema(schema_with = schema::tier_cause)]
    cause: TierCause,
}

/// What is missing to a tier.
#[derive(Serialize, ToSchema)]
#[schema(as = TierTarget)]
struct TargetView {
    tier: TierNameView,
    /// Spend on goods, net; null where spend alone does not do it.
    missing: Option<MoneyView>,
    /// The last day on which it counts; null where there is no last day.
    #[schema(value_type = Option<String>, format = Date)]
    by: Option<Date>,
    /// For people.
    text: TextView,
}

/// What a member's tier brings today.
#[derive(Serialize, ToSchema)]
#[schema(as = TierBenefits)]
pub(crate) struct BenefitsView {
    tier: TierNameView,
    /// Off the list price; 10 000 is all of it.
    discount_basis_points: u32,
    /// Times the plain points; 10 000 is once. Of several the highest holds, they do not multiply.
    points_multiplier_basis_points: u32,
    /// The same in the birthday month.
    birthday_points_multiplier_basis_points: u32,
    /// Offers for members of the tier; their own terms say on what they may be used.
    entitlements: Vec<EntitlementView>,
    /// Benefits that are no money.
    services: Vec<ServiceView>,
}

/// An offer for members of the tier.
#[derive(Serialize, ToSchema)]
#[schema(as = TierEntitlement)]
struct EntitlementView {
    #[schema(value_type = String)]
    offer: OfferId,
    code: String,
    name_zh_cn: String,
    name_en: String,
    #[schema(schema_with = schema::offer_class)]
    class: OfferClass,
    #[schema(schema_with = schema::offer_state)]
    state: OfferState,
    /// How much of it the member may have; empty where there is no limit.
    quotas: Vec<QuotaView>,
}

/// How much of an offer a member may have.
#[derive(Serialize, ToSchema)]
#[schema(as = TierQuota)]
struct QuotaView {
    /// What is counted: `uses` (orders), `amount` (minor units) or `issues` (coupons).
    measure: &'static str,
    #[schema(schema_with = schema::limit_period)]
    period: crate::domain::limit::Period,
    /// The most in one period.
    most: i64,
    /// In the period that runs.
    used: i64,
    left: i64,
    /// When the next period begins; null where there is only one.
    #[schema(value_type = Option<String>, format = DateTime)]
    resets_at: Option<Timestamp>,
}

impl From<Quota> for QuotaView {
    fn from(Quota { limit, used, resets_at }: Quota) -> Self {
        let measure = match limit.measure {
            Measure::Uses => "uses",
            Measure::Amount => "amount",
            Measure::Issues => "issues",
        };
        let left = limit.most.saturating_sub(used).max(0);
        Self { measure, period: limit.period, most: limit.most, used, left, resets_at }
    }
}

impl From<Entitlement> for EntitlementView {
    fn from(Entitlement { offer, quotas }: Entitlement) -> Self {
        Self {
            offer: offer.id,
            code: offer.code.to_string(),
            name_zh_cn: offer.name_zh_cn,
            name_en: offer.name_en,
            class: offer.class,
            state: offer.state,
            quotas: quotas.into_iter().map(QuotaView::from).collect(),
        }
    }
}

impl From<Benefits> for BenefitsView {
    fn from(Benefits { tier, entitlements, services }: Benefits) -> Self {
        Self {
            discount_basis_points: tier.discount.get(),
            points_multiplier_basis_points: tier.points_multiplier.get(),
            birthday_points_multiplier_basis_points: tier.birthday_points_multiplier.get(),
            tier: tier.into(),
            entitlements: entitlements.into_iter().map(EntitlementView::from).collect(),
            services: services.into_iter().map(ServiceView::from).collect(),
        }
    }
}

impl From<Tier> for TierNameView {
    fn from(tier: Tier) -> Self {
        Self { code: tier.code.to_string(), name_zh_cn: tier.name_zh_cn, name_en: tier.name_en }
    }
}

impl From<KeptTier> for KeptView {
    fn from(kept: KeptTier) -> Self {
        Self { to: kept.to.to_string(), since: kept.since, until: kept.until, cause: kept.cause }
    }
}

impl Show<'_> {
    /// Where a member stands.
    pub(crate) fn standing(&self, standing: Standing) -> StandingView {
        let Standing { member, tier, given, reasons, release, period, until, next, keep } = standing;
        let last = period.next.yesterday().unwrap_or(period.next);
        StandingView {
            tier: tier.into(),
            since: member.tier.since,
            cause: member.tier.cause,
            given: given.map(|given| given.to_string()),
            reasons: self.reasons(reasons, &[release]),
            period: PeriodView { first: period.first, last },
            kept: member.tier.kept.map(KeptView::from),
            held_until: until,
            next: next.map(|next| self.target(next, false)),
            keep: keep.map(|keep| self.target(keep, true)),
        }
    }

    fn target(&self, target: Target, held: bool) -> TargetView {
        TargetView {
            text: self.target_in_words(&target, held),
            missing: target.missing.map(|missing| self.money(missing)),
            by: target.by,
            tier: target.tier.into(),
        }
    }

    fn target_in_words(&self, target: &Target, held: bool) -> TextView {
        let (zh, en) = (&target.tier.name_zh_cn, &target.tier.name_en);
        let Some(missing) = target.missing else {
            return TextView {
                zh_cn: format!("仅靠消费不能达到{zh}"),
                en: format!("spending alone does not reach {en}"),
            };
        };
        let amount = self.in_words(&Parameter::Money(missing));
        let (before, by) = match target.by {
            Some(day) => {
                let (year, month, day_of) = (day.year(), day.month(), day.day());
                (format!("{year}年{month}月{day_of}日前"), format!(" by {}", day.strftime("%-d %B %Y")))
            }
            None => (String::new(), String::new()),
        };
        let (zh_cn, en) = match (missing == Money::ZERO, held) {
            (true, true) => (format!("可保留{zh}"), format!("keeps {en}")),
            (true, false) => (format!("可升级为{zh}"), format!("qualifies for {en}")),
            (false, true) => (format!("{before}再消费{amount}可保留{zh}"), format!("{amount} more{by} to keep {en}")),
            (false, false) => (format!("{before}再消费{amount}可升级为{zh}"), format!("{amount} more{by} for {en}")),
        };
        TextView { zh_cn, en }
    }
}
