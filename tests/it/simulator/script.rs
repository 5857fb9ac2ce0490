//! What a script is: steps with numbers, one line of JSON each, so that a failing one can be kept, shortened and replayed.
//!
//! Things are named after the step that made them (`o17` is the order that step 17 placed). A step whose things were never
//! made does nothing: that is what makes a script with steps left out still a script.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::{
    app::cny,
    oracle::{
        Answer, Oracle, Product,
        coupons::Offer,
        gifts::{Buys, Gift},
        orders::State,
        pricing::Stage,
        quotes::Ask,
        terms::Terms,
        tiers::Rule,
    },
};

/// One line of a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) n: usize,
    /// Whether the request is sent twice at the same time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) twice: bool,
    /// Whether the coupon policy is swapped for one that says the same while the request is under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) swap: bool,
    /// So many microseconds after the request was sent the engine is killed; then the request is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kill: Option<u64>,
    #[serde(flatten)]
    pub(crate) step: Step,
}

/// One thing that somebody does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Step {
    Join {
        member: String,
        birthday: Option<jiff::civil::Date>,
    },
    Product {
        product: String,
        price: i64,
        category: String,
        class: String,
        stock: Option<i64>,
    },
    Offer(Box<NewOffer>),
    Pause {
        offer: String,
    },
    Resume {
        offer: String,
    },
    Issue {
        coupon: String,
        offer: String,
        member: String,
    },
    Adjust {
        member: String,
        points: i64,
    },
    Quote {
        quote: String,
        member: String,
        lines: Vec<(String, i64)>,
        coupon: Option<String>,
        #[serde(default)]
        prescription: Option<String>,
        points: i64,
        delivery: i64,
    },
    Prescribe {
        prescription: String,
        member: String,
        items: Vec<(String, i64)>,
    },
    /// A pharmacist approves or rejects.
    Decide {
        prescription: String,
        approve: bool,
    },
    /// Defines what points buy: a product, an offer's coupon, or else a service's code.
    Gift {
        gift: String,
        product: Option<String>,
        offer: Option<String>,
        points: i64,
    },
    /// Adds codes to a service.
    Codes {
        gift: String,
        codes: i64,
    },
    /// A member takes a gift; a coupon gets the name `coupon`.
    Take {
        redemption: String,
        gift: String,
        member: String,
        coupon: String,
    },
    HandOver {
        redemption: String,
    },
    TakeBack {
        redemption: String,
    },
    /// Lets the tier rule by score answer, or the one by spend.
    SwapTiers {
        score: bool,
    },
    /// Lets a coupon policy answer that leaves devices out, or one that does not.
    SwapCoupons {
        no_devices: bool,
    },
    /// A quote that changed comes back as a fresh one, under the name `fresh`.
    Place {
        order: String,
        quote: String,
        fresh: String,
        cash: bool,
    },
    /// Pays what the order costs, and so much more or less.
    Pay {
        order: String,
        off: i64,
    },
    Ship {
        order: String,
    },
    Deliver {
        order: String,
    },
    Cancel {
        order: String,
    },
    /// Items by line; all that is left where it is not said.
    Refund {
        order: String,
        lines: Option<Vec<(usize, i64)>>,
        cause: String,
    },
    /// Lets so many milliseconds pass.
    Wait {
        millis: i64,
    },
    /// Sends the request of an earlier step again, with its key.
    Again {
        of: usize,
    },
    /// Sends another request with the key of an earlier step.
    Other {
        of: usize,
    },
    /// Stops in order and starts again.
    Restart,
    /// Is killed and starts again.
    Crash,
}

/// An offer to define.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NewOffer {
    pub(crate) offer: String,
    pub(crate) class: String,
    pub(crate) terms: Terms,
    #[serde(default)]
    pub(crate) priority: i64,
    #[serde(default)]
    pub(crate) group: Option<String>,
    #[serde(default)]
    pub(crate) budget_uses: Option<i64>,
    #[serde(default)]
    pub(crate) budget_amount: Option<i64>,
    #[serde(default)]
    pub(crate) per_member: Option<i64>,
    #[serde(default)]
    pub(crate) valid_days: Option<i64>,
    #[serde(default)]
    pub(crate) returns_on_refund: bool,
}

impl NewOffer {
    /// As the API takes it.
    pub(crate) fn body(&self) -> Json {
        json!({
            "code": self.offer, "name_zh_cn": self.offer, "name_en": self.offer, "class": self.class,
            "terms": self.terms, "priority": self.priority, "exclusivity_group": self.group,
            "budget_uses": self.budget_uses, "budget_amount": self.budget_amount.map(cny),
            "per_member": self.per_member, "valid_days": self.valid_days,
            "returns_on_refund": self.returns_on_refund,
        })
    }

    fn of_oracle(&self) -> Offer {
        let stage = match self.class.as_str() {
            "member-price" => Stage::MemberPrice,
            "promotion" => Stage::Promotion,
            "coupon" => Stage::Coupon,
            _ => Stage::Delivery,
        };
        Offer {
            stage,
            terms: self.terms.clone(),
            priority: self.priority,
            group: self.group.clone(),
            budget_uses: self.budget_uses,
            budget_amount: self.budget_amount,
            per_member: self.per_member,
            valid_days: self.valid_days,
            returns_on_refund: self.returns_on_refund,
            paused: false,
            rank: String::new(),
        }
    }
}

impl Step {
    /// Whether everything that it names was made.
    pub(crate) fn makes_sense(&self, oracle: &Oracle) -> bool {
        let order = |name: &String| oracle.orders.contains_key(name);
        let member = |name: &String| oracle.members.contains_key(name);
        let offer = |name: &String| oracle.offers.contains_key(name);
        match self {
            Self::Join { .. } | Self::Product { .. } | Self::Offer(_) | Self::Wait { .. } | Self::Restart => true,
            Self::Again { .. } | Self::Other { .. } | Self::Crash => true,
            Self::SwapTiers { .. } | Self::SwapCoupons { .. } => true,
            Self::Prescribe { member: name, items, .. } => {
                member(name) && items.iter().all(|(product, _)| oracle.products.contains_key(product))
            }
            Self::Decide { prescription, .. } => oracle.prescriptions.contains_key(prescription),
            Self::Gift { product, offer: code, .. } => {
                product.as_ref().is_none_or(|product| oracle.products.contains_key(product))
                    && code.as_ref().is_none_or(offer)
            }
            Self::Codes { gift, .. } => oracle.gifts.contains_key(gift),
            Self::Take { gift, member: name, .. } => oracle.gifts.contains_key(gift) && member(name),
            Self::HandOver { redemption } | Self::TakeBack { redemption } => {
                oracle.redemptions.contains_key(redemption)
            }
            Self::Pause { offer: code } | Self::Resume { offer: code } => offer(code),
            Self::Issue { offer: code, member: name, .. } => offer(code) && member(name),
            Self::Adjust { member: name, .. } => member(name),
            Self::Quote { member: name, lines, coupon, prescription, .. } => {
                let known = coupon.as_ref().is_none_or(|coupon| oracle.coupons.contains_key(coupon));
                let rx = prescription.as_ref().is_none_or(|rx| oracle.prescriptions.contains_key(rx));
                member(name) && known && rx && lines.iter().all(|(product, _)| oracle.products.contains_key(product))
            }
            Self::Place { quote, .. } => oracle.quotes.contains_key(quote),
            Self::Pay { order: name, .. }
            | Self::Ship { order: name }
            | Self::Deliver { order: name }
            | Self::Cancel { order: name }
            | Self::Refund { order: name, .. } => order(name),
        }
    }

    /// Tells the oracle; what the API must answer.
    pub(crate) fn tell(&self, oracle: &mut Oracle) -> Answer {
        match self {
            Self::Join { member, birthday } => oracle.join(member, *birthday),
            Self::Product { product, price, category, class, stock } => {
                let (category, class) = (category.clone(), class.clone());
                oracle.product(product, Product { price: *price, category, class, stock: *stock })
            }
            Self::Offer(new) => oracle.offer(&new.offer, new.of_oracle()),
            Self::Pause { offer } => oracle.pause(offer, true),
            Self::Resume { offer } => oracle.pause(offer, false),
            Self::Issue { coupon, offer, member } => oracle.issue(coupon, offer, member),
            Self::Adjust { member, points } => oracle.adjust(member, *points),
            Self::Quote { quote, member, lines, coupon, prescription, points, delivery } => {
                let (member, lines, coupon) = (member.clone(), lines.clone(), coupon.clone());
                let (prescription, points, delivery_fee) = (prescription.clone(), *points, *delivery);
                oracle.quote(quote, &Ask { member, lines, coupon, prescription, points, delivery_fee })
            }
            Self::Prescribe { prescription, member, items } => oracle.prescribe(prescription, member, items),
            Self::Decide { prescription, approve } => oracle.decide(prescription, *approve),
            Self::Gift { gift, product, offer, points } => {
                let buys = match (product, offer) {
                    (Some(product), _) => Buys::Product(product.clone()),
                    (None, Some(offer)) => Buys::Coupon(offer.clone()),
                    (None, None) => Buys::Code(0),
                };
                oracle.gift(gift, Gift { buys, points: *points })
            }
            Self::Codes { gift, codes } => oracle.codes(gift, *codes),
            Self::Take { redemption, gift, member, coupon } => oracle.take_gift(redemption, gift, member, coupon),
            Self::HandOver { redemption } => oracle.hand_over(redemption),
            Self::TakeBack { redemption } => oracle.take_back(redemption),
            Self::SwapTiers { score } => {
                oracle.swap_tiers(if *score { Rule::Score } else { Rule::Spend });
                Ok(json!({}))
            }
            Self::SwapCoupons { no_devices } => {
                oracle.no_devices = *no_devices;
                Ok(json!({}))
            }
            Self::Place { order, quote, fresh, cash } => oracle.place(order, quote, fresh, *cash),
            Self::Pay { order, off } => {
                let amount = oracle.orders[order].price.payable() + i128::from(*off);
                oracle.pay(order, amount)
            }
            Self::Ship { order } => oracle.fulfil(order, State::Shipped),
            Self::Deliver { order } => oracle.fulfil(order, State::Delivered),
            Self::Cancel { order } => oracle.cancel(order),
            Self::Refund { order, lines, cause } => {
                let lines = lines.as_ref().map(|lines| lines.iter().map(|(at, q)| (*at, i128::from(*q))).collect());
                oracle.refund(order, lines, cause == "change-of-mind")
            }
            Self::Wait { millis } => oracle.wait(oracle.now + millis),
            Self::Again { .. } | Self::Other { .. } | Self::Restart | Self::Crash => Ok(json!({})),
        }
    }
}

/// A script as text, to be kept and replayed.
pub(crate) fn text(script: &[Line]) -> String {
    let line = |line: &Line| serde_json::to_string(line).expect("a script can be written");
    script.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A script from its text.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}
