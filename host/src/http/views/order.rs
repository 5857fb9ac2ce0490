//! Quotes and orders, with the whole explanation of their price.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{InstalmentsView, MoneyView, Show, reason::ReasonView, schema};
use crate::{
    domain::{
        member::ExternalId,
        money::{Money, Points},
        offer::{Funder, FunderShare, OfferClass},
        order::{
            Allocation, Earning, OfferOutcome, Order, OrderState, Payment, PaymentMethod, Priced, PricedLine, Quote,
            Refund, RefundCause, ReleaseRef, Source,
        },
        product::Class,
    },
    ids::{
        CouponId, DecisionId, MemberId, OfferId, OrderId, PartnerId, PatientId, PrescriptionId, ProductId, QuoteId,
        RefundId,
    },
    pricing::reasons,
};

/// A priced cart that holds its price until it expires.
#[derive(Serialize, ToSchema)]
#[schema(as = Quote)]
pub(crate) struct QuoteView {
    #[schema(value_type = String)]
    id: QuoteId,
    #[schema(value_type = String)]
    member: MemberId,
    /// The tier it was priced at.
    tier: String,
    #[schema(value_type = String, format = DateTime)]
    quoted_at: Timestamp,
    /// Until when it can be placed.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The coupon it uses.
    #[schema(value_type = Option<String>)]
    coupon: Option<CouponId>,
    price: PriceView,
    /// The releases that priced it.
    releases: Vec<ReleaseRefView>,
    /// The record of the decision.
    #[schema(value_type = String)]
    decision: DecisionId,
}

/// A price and its explanation. For every line and for the whole, list less allocations is payable.
#[derive(Serialize, ToSchema)]
#[schema(as = Price)]
pub(crate) struct PriceView {
    /// In the cart's order.
    lines: Vec<LineView>,
    /// Goods after everything, without delivery.
    goods_payable: MoneyView,
    /// Before offers.
    delivery_fee: MoneyView,
    /// What offers took off the delivery fee.
    delivery_allocations: Vec<AllocationView>,
    delivery_payable: MoneyView,
    /// Points to spend.
    points: i64,
    /// What those points take off.
    points_value: MoneyView,
    /// The most points that could be spent on this cart by its amount.
    points_max: i64,
    /// What the member pays.
    payable: MoneyView,
    /// How every offer fared that was considered.
    offers: Vec<OutcomeView>,
    /// Offers could be combined in more ways than are compared: the best of those compared was taken.
    bounded: bool,
}

/// One line of a price.
#[derive(Serialize, ToSchema)]
#[schema(as = PricedLine)]
pub(crate) struct LineView {
    #[schema(value_type = String)]
    product: ProductId,
    #[schema(value_type = String)]
    external_id: ExternalId,
    category: String,
    #[schema(schema_with = schema::class)]
    class: Class,
    urgent: bool,
    quantity: u32,
    /// List price of one item.
    unit_price: MoneyView,
    /// Quantity times unit price.
    list: MoneyView,
    /// At the lower of member price and tier price: what thresholds test.
    base: MoneyView,
    /// What is to be paid for the line.
    payable: MoneyView,
    /// What took the difference off.
    allocations: Vec<AllocationView>,
}

/// An amount off one line, and whose money it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Allocation)]
pub(crate) struct AllocationView {
    source: SourceView,
    /// With the source `offer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    offer: Option<OfferId>,
    /// With the source `offer`, where a coupon was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    coupon: Option<CouponId>,
    amount: MoneyView,
    funders: Vec<FunderView>,
}

/// What took an amount off.
#[derive(Serialize, ToSchema)]
#[schema(as = Source)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SourceView {
    /// The member's tier.
    Tier,
    /// An offer.
    Offer,
    /// Points spent.
    Points,
}

/// Who pays what share.
#[derive(Serialize, ToSchema)]
#[schema(as = FunderShare)]
pub(crate) struct FunderView {
    #[schema(schema_with = schema::funder)]
    funder: Funder,
    /// 10 000 is all of it.
    share_basis_points: u32,
}

/// How an offer fared.
#[derive(Serialize, ToSchema)]
#[schema(as = OfferOutcome)]
pub(crate) struct OutcomeView {
    /// Nothing for a named coupon that is not the member's.
    #[schema(value_type = Option<String>)]
    offer: Option<OfferId>,
    /// What the operator calls it; nothing where `offer` is.
    #[schema(value_type = Option<String>)]
    code: Option<ExternalId>,
    #[schema(schema_with = schema::offer_class)]
    class: OfferClass,
    #[schema(value_type = Option<String>)]
    coupon: Option<CouponId>,
    applied: bool,
    /// What it took off in all.
    amount: MoneyView,
    /// Why; the first one is the outcome's.
    reasons: Vec<ReasonView>,
}

/// A release that answered.
#[derive(Serialize, ToSchema)]
#[schema(as = ReleaseRef)]
pub(crate) struct ReleaseRefView {
    #[schema(example = "coupon")]
    slot: String,
    number: u64,
}

/// An order from its commit to its end.
#[derive(Serialize, ToSchema)]
#[schema(as = Order)]
pub(crate) struct OrderView {
    #[schema(value_type = String)]
    id: OrderId,
    /// The partner that made it.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// What that partner calls it.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    #[schema(value_type = String)]
    member: MemberId,
    #[schema(schema_with = schema::order_state)]
    state: OrderState,
    /// The quote it was placed from.
    #[schema(value_type = String)]
    quote: QuoteId,
    /// The coupon it uses.
    #[schema(value_type = Option<String>)]
    coupon: Option<CouponId>,
    /// The prescription that covers it, as the partner names it.
    #[schema(value_type = Option<String>)]
    prescription: Option<ExternalId>,
    /// The same by its id, where lines consume it.
    #[schema(value_type = Option<String>)]
    prescription_id: Option<PrescriptionId>,
    /// Whether a pharmacist has yet to decide on the prescription: the order holds everything and cannot be paid.
    awaits_review: bool,
    /// The patient, where the member acts for another.
    #[schema(value_type = Option<String>)]
    acting_for: Option<PatientId>,
    /// Shipped and delivered before it is paid.
    cash_on_delivery: bool,
    price: PriceView,
    #[schema(value_type = String, format = DateTime)]
    placed_at: Timestamp,
    /// When the hold over coupon, points, budget and stock gives up: unpaid by then; with cash on delivery not shipped by
    /// then, or not paid long after that.
    #[schema(value_type = Option<String>, format = DateTime)]
    hold_until: Option<Timestamp>,
    payment: Option<PaymentView>,
    #[schema(value_type = Option<String>, format = DateTime)]
    shipped_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    delivered_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    cancelled_at: Option<Timestamp>,
    earning: Option<EarningView>,
    /// In the order they were made.
    refunds: Vec<RefundView>,
    /// Payments that came when the order was given up, as refunds to make.
    #[schema(value_type = Vec<String>)]
    refunds_due: Vec<RefundId>,
    /// How it is paid in parts.
    instalments: Option<InstalmentsView>,
    /// The releases that priced it.
    releases: Vec<ReleaseRefView>,
    /// The record of the pricing decision.
    #[schema(value_type = String)]
    decision: DecisionId,
    /// Moved by every write; also the `ETag`.
    revision: u64,
}

/// A payment as the partner reported it.
#[derive(Serialize, ToSchema)]
#[schema(as = Payment)]
pub(crate) struct PaymentView {
    #[schema(value_type = String)]
    reference: ExternalId,
    #[schema(schema_with = schema::payment_method)]
    method: PaymentMethod,
    amount: MoneyView,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// What an order earned.
#[derive(Serialize, ToSchema)]
#[schema(as = Earning)]
pub(crate) struct EarningView {
    /// As awarded at payment.
    points: i64,
    /// Taken back by refunds.
    clawed_back: i64,
    /// No longer due after refunds, but not taken back: they were spent.
    short: i64,
    /// Whole days from delivery until they can be spent.
    pending_days: u16,
    /// Calendar months from then until they expire.
    valid_months: u16,
    reasons: Vec<ReasonView>,
    release: ReleaseRefView,
    #[schema(value_type = String)]
    decision: DecisionId,
}

/// A refund of an order or of some of its lines.
#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
pub(crate) struct RefundView {
    #[schema(value_type = String)]
    id: RefundId,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[schema(schema_with = schema::refund_cause)]
    cause: RefundCause,
    lines: Vec<RefundedLineView>,
    /// Of the delivery fee.
    delivery: MoneyView,
    /// Money paid back in all.
    amount: MoneyView,
    /// Spent points given back.
    points_restored: i64,
    /// Earned points taken back.
    points_clawed_back: i64,
    /// Earned points that could not be taken back because they were spent.
    points_short: i64,
    /// Discounts that were lost with it: the refund is lowered by them, and they come back with their lines.
    repriced: Vec<RepricedView>,
}

/// A discount that was lost with a refund.
#[derive(Serialize, ToSchema)]
#[schema(as = Repriced)]
pub(crate) struct RepricedView {
    #[schema(value_type = String)]
    offer: OfferId,
    /// Index into the order's lines.
    line: u16,
    amount: MoneyView,
}

/// Items of one line that were refunded.
#[derive(Serialize, ToSchema)]
#[schema(as = RefundedLine)]
pub(crate) struct RefundedLineView {
    /// Index into the order's lines.
    line: u16,
    /// Zero where an amount was asked.
    quantity: u32,
    /// Before what the refund is lowered by.
    amount: MoneyView,
    points: i64,
}

impl Show<'_> {
    /// A quote.
    pub(crate) fn quote(&self, quote: Quote) -> QuoteView {
        QuoteView {
            id: quote.id,
            member: quote.member,
            tier: quote.tier,
            quoted_at: quote.at,
            expires_at: quote.expires_at,
            coupon: quote.coupon,
            price: self.price(quote.priced, &quote.releases),
            releases: quote.releases.into_iter().map(ReleaseRefView::from).collect(),
            decision: quote.decision,
        }
    }

    /// An order.
    pub(crate) fn order(&self, order: Order) -> OrderView {
        OrderView {
            id: order.id,
            partner: order.partner,
            external_id: order.external_id,
            member: order.member,
            state: order.state,
            quote: order.quote,
            coupon: order.coupon,
            prescription: order.prescription,
            prescription_id: order.prescription_id,
            awaits_review: order.awaits_review,
            acting_for: order.acting_for,
            cash_on_delivery: order.cash_on_delivery,
            price: self.price(order.priced, &order.releases),
            placed_at: order.placed_at,
            hold_until: order.hold_until,
            payment: order.payment.map(|payment| self.payment(payment)),
            shipped_at: order.shipped_at,
            delivered_at: order.delivered_at,
            cancelled_at: order.cancelled_at,
            earning: order.earning.map(|earning| self.earning(earning, &order.refunds)),
            refunds: order.refunds.into_iter().map(|refund| self.refund(refund)).collect(),
            refunds_due: order.refunds_due,
            instalments: order.instalments.map(|parts| self.instalments(parts)),
            releases: order.releases.into_iter().map(ReleaseRefView::from).collect(),
            decision: order.decision,
            revision: order.revision.get(),
        }
    }

    fn price(&self, priced: Priced, releases: &[ReleaseRef]) -> PriceView {
        let mut offers: Vec<OutcomeView> =
            priced.offers.into_iter().map(|outcome| self.outcome(outcome, releases)).collect();
        offers.extend(priced.not_yours.map(|coupon| self.not_yours(coupon)));
        PriceView {
            lines: priced.lines.into_iter().map(|line| self.line(line)).collect(),
            goods_payable: self.money(priced.goods_payable),
            delivery_fee: self.money(priced.delivery_fee),
            delivery_allocations: self.allocations(priced.delivery_allocations),
            delivery_payable: self.money(priced.delivery_payable),
            points: priced.points.get(),
            points_value: self.money(priced.points_value),
            points_max: priced.points_max.get(),
            payable: self.money(priced.payable),
            offers,
            bounded: priced.bounded,
        }
    }

    fn line(&self, line: PricedLine) -> LineView {
        LineView {
            product: line.product,
            external_id: line.external_id,
            category: line.category,
            class: line.class,
            urgent: line.urgent,
            quantity: line.quantity,
            unit_price: self.money(line.unit_price),
            list: self.money(line.list),
            base: self.money(line.base),
            payable: self.money(line.payable),
            allocations: self.allocations(line.allocations),
        }
    }

    fn allocations(&self, allocations: Vec<Allocation>) -> Vec<AllocationView> {
        let view = |allocation: Allocation| {
            let (source, offer, coupon) = match allocation.source {
                Source::Tier => (SourceView::Tier, None, None),
                Source::Offer(offer, coupon) => (SourceView::Offer, Some(offer), coupon),
                Source::Points => (SourceView::Points, None, None),
            };
            let funders = allocation.funders.into_iter().map(FunderView::from).collect();
            AllocationView { source, offer, coupon, amount: self.money(allocation.amount), funders }
        };
        allocations.into_iter().map(view).collect()
    }

    fn outcome(&self, outcome: OfferOutcome, releases: &[ReleaseRef]) -> OutcomeView {
        OutcomeView {
            offer: Some(outcome.offer),
            code: Some(outcome.code),
            class: outcome.class,
            coupon: outcome.coupon,
            applied: !outcome.amount.is_zero(),
            amount: self.money(outcome.amount),
            reasons: self.reasons(outcome.reasons, releases),
        }
    }

    /// The outcome of a named coupon that is another member's or nobody's: nothing tells which.
    fn not_yours(&self, coupon: CouponId) -> OutcomeView {
        OutcomeView {
            offer: None,
            code: None,
            class: OfferClass::Coupon,
            coupon: Some(coupon),
            applied: false,
            amount: self.money(Money::ZERO),
            reasons: self.reasons(vec![reasons::NOT_YOURS.plain()], &[]),
        }
    }

    fn payment(&self, payment: Payment) -> PaymentView {
        let Payment { reference, method, amount, at } = payment;
        PaymentView { reference, method, amount: self.money(amount), at }
    }

    fn earning(&self, earning: Earning, refunds: &[Refund]) -> EarningView {
        let sum = |of: fn(&Refund) -> Points| refunds.iter().map(|refund| of(refund).get()).sum();
        EarningView {
            points: earning.points.get(),
            clawed_back: sum(|refund| refund.points_clawed_back),
            short: sum(|refund| refund.points_short),
            pending_days: earning.pending_days,
            valid_months: earning.valid_months,
            reasons: self.reasons(earning.reasons, std::slice::from_ref(&earning.release)),
            release: earning.release.into(),
            decision: earning.decision,
        }
    }

    fn refund(&self, refund: Refund) -> RefundView {
        let line = |line: &crate::domain::order::RefundedLine| RefundedLineView {
            line: line.line,
            quantity: line.quantity,
            amount: self.money(line.amount),
            points: line.points.get(),
        };
        let repriced = |lost: &crate::domain::order::Repriced| RepricedView {
            offer: lost.offer,
            line: lost.line,
            amount: self.money(lost.amount),
        };
        RefundView {
            id: refund.id,
            at: refund.at,
            cause: refund.cause,
            lines: refund.lines.iter().map(line).collect(),
            delivery: self.money(refund.delivery),
            amount: self.money(refund.amount),
            points_restored: refund.points_restored.get(),
            points_clawed_back: refund.points_clawed_back.get(),
            points_short: refund.points_short.get(),
            repriced: refund.repriced.iter().map(repriced).collect(),
        }
    }
}

impl From<ReleaseRef> for ReleaseRefView {
    fn from(release: ReleaseRef) -> Self {
        Self { slot: release.slot, number: release.number }
    }
}

impl From<FunderShare> for FunderView {
    fn from(share: FunderShare) -> Self {
        Self { funder: share.funder, share_basis_points: share.share.get() }
    }
}
