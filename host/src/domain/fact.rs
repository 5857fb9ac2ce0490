//! The catalogue of facts: everything the host may tell a rule, by name, type and unit.
//!
//! The catalogue is a contract: names and types never change, new facts go at the end (the position is stored in
//! recorded decisions). A plugin names the facts it wants; a call passes those, and only those the release was granted.

use std::sync::Arc;

use minicbor::{Decode, Encode};

/// How a value is read. Everything but flags and texts travels as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// True or false.
    Flag,
    /// A count.
    Integer,
    /// Minor units.
    Money,
    /// Points.
    Points,
    /// A rate, 10 000 is 100 %.
    BasisPoints,
    /// Milliseconds since the epoch.
    Instant,
    /// UTF-8.
    Text,
    /// A list of texts.
    Texts,
}

impl ValueType {
    /// The name, as WIT has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Integer => "integer",
            Self::Money => "money",
            Self::Points => "points",
            Self::BasisPoints => "basis-points",
            Self::Instant => "instant",
            Self::Text => "text",
            Self::Texts => "texts",
        }
    }
}

/// One value, as it is passed to a rule and recorded with a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum Value {
    /// Not known, or not granted.
    #[n(0)]
    #[default]
    Absent,
    /// A flag.
    #[n(1)]
    Flag(#[n(0)] bool),
    /// A number of any type.
    #[n(2)]
    Integer(#[n(0)] i64),
    /// A text.
    #[n(3)]
    Text(#[n(0)] String),
    /// Texts.
    #[n(4)]
    Texts(#[n(0)] Vec<String>),
}

/// Who may see a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// Any release.
    Open,
    /// Releases granted `personal`: derived from the member's personal data.
    Personal,
    /// Releases granted `health`.
    Health,
}

/// Where a fact belongs: one per call, or one per cart line or candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Passed once.
    Subject,
    /// Passed for every line; the name begins with `line.`.
    Line,
    /// Passed for every product that might be recommended; the name begins with `candidate.`.
    Candidate,
}

/// An entry of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its position, in its scope.
    pub index: usize,
    /// For example `member.lifetime-net-spend`.
    pub name: &'static str,
    /// How to read it.
    pub value_type: ValueType,
    /// Who may see it.
    pub sensitivity: Sensitivity,
    /// One per call, per line or per candidate.
    pub scope: Scope,
    /// What it says, with its unit.
    pub summary: &'static str,
}

macro_rules! catalogue {
    ($all:ident, $scope:ident; $($name:ident, $text:literal, $kind:ident, $seen:ident, $summary:literal;)*) => {
        #[allow(non_camel_case_types, non_snake_case, clippy::upper_case_acronyms, reason = "only counts positions")]
        mod $all { pub(super) enum Position { $($name),* } }
        $(
            #[doc = $summary]
            pub const $name: Fact = Fact {
                index: $all::Position::$name as usize,
                name: $text,
                value_type: ValueType::$kind,
                sensitivity: Sensitivity::$seen,
                scope: Scope::$scope,
                summary: $summary,
            };
        )*
        #[doc = concat!("All facts of this scope (`", stringify!($scope), "`), by position.")]
        pub const $all: &[Fact] = &[$($name),*];
    };
}

catalogue! { SUBJECT, Subject;
    MEMBER_TIER, "member.tier", Text, Open, "The stored tier code, mapped to the current release";
    MEMBER_TENURE_MONTHS, "member.tenure-months", Integer, Open, "Full months since registration";
    MEMBER_LIFETIME_NET_SPEND, "member.lifetime-net-spend", Money, Open, "Goods paid, without delivery, less refunds, since registration";
    MEMBER_YEAR_NET_SPEND, "member.year-net-spend", Money, Open, "The same over the last 365 days";
    MEMBER_LIFETIME_PAID_ORDERS, "member.lifetime-paid-orders", Integer, Open, "Orders paid and not refunded in full, since registration";
    MEMBER_YEAR_PAID_ORDERS, "member.year-paid-orders", Integer, Open, "The same over the last 365 days";
    MEMBER_YEAR_INTERACTIONS, "member.year-interactions", Integer, Open, "Recorded interactions over the last 365 days";
    MEMBER_BIRTHDAY_MONTH, "member.birthday-month", Flag, Personal, "Whether it is the member's birthday month; absent where unknown";
    TIER_DISCOUNT, "tier.discount", BasisPoints, Open, "What the member's tier takes off the list price";
    TIER_POINTS_MULTIPLIER, "tier.points-multiplier", BasisPoints, Open, "How many times the plain points the tier earns; 10 000 is once";
    TIER_BIRTHDAY_POINTS_MULTIPLIER, "tier.birthday-points-multiplier", BasisPoints, Open, "The same in the birthday month";
    CALENDAR_DAY, "calendar.day", Integer, Open, "Day of the month in the deployment's zone, 1 to 31";
    CALENDAR_MONTH, "calendar.month", Integer, Open, "Month in the deployment's zone, 1 to 12";
    CALENDAR_WEEKDAY, "calendar.weekday", Integer, Open, "Day of the week in the deployment's zone, Monday is 1";
    CALENDAR_MINUTE, "calendar.minute", Integer, Open, "Minutes since midnight in the deployment's zone";
    ACTIVITY_KIND, "activity.kind", Text, Open, "What the member did: purchase, review, check-in, quiz, reading, like, share, test, event-sign-up";
    ACTIVITY_GOODS_NET, "activity.goods-net", Money, Open, "Goods of a paid order after all discounts and points, without delivery";
    ACTIVITY_TODAY_COUNT, "activity.today-count", Integer, Open, "How often the member did this today, before this time";
    ACTIVITY_TODAY_POINTS, "activity.today-points", Points, Open, "Points this kind of activity earned the member today, before this time";
    CART_LIST, "cart.list", Money, Open, "All lines at list price";
    CART_BASE, "cart.base", Money, Open, "All lines at the lower of member price and tier price: what thresholds test";
    CART_AMOUNT, "cart.amount", Money, Open, "All lines as they stand before this stage";
    CART_DELIVERY_FEE, "cart.delivery-fee", Money, Open, "The delivery fee before this stage";
    CART_QUANTITY, "cart.quantity", Integer, Open, "Items in the cart";
    TOUCH_CLASS, "touch.class", Text, Open, "What a message is: transactional, care, content or marketing";
    TOUCH_CHANNEL, "touch.channel", Text, Open, "The channel it would leave by, for example sms";
    TOUCH_LANGUAGE, "touch.language", Text, Open, "Its language: zh-CN or en";
    TOUCH_TEMPLATE, "touch.template", Text, Open, "The code of its template";
    MEMBER_BOUGHT_BASKETS, "member.bought-baskets", Integer, Open, "Paid orders, of all members, that hold what this member bought: the sum over those products";
}

catalogue! { LINE, Line;
    LINE_PRODUCT, "line.product", Text, Open, "The partner's id of the product";
    LINE_CATEGORY, "line.category", Text, Open, "The product's category";
    LINE_CLASS, "line.class", Text, Open, "rx, otc-a, otc-b, device, food or other";
    LINE_URGENT, "line.urgent", Flag, Open, "Whether the product is delivered first";
    LINE_QUANTITY, "line.quantity", Integer, Open, "Items on the line";
    LINE_UNIT_PRICE, "line.unit-price", Money, Open, "List price of one item";
    LINE_LIST, "line.list", Money, Open, "The line at list price";
    LINE_BASE, "line.base", Money, Open, "The line at the lower of member price and tier price";
    LINE_AMOUNT, "line.amount", Money, Open, "The line as it stands before this stage";
}

catalogue! { CANDIDATE, Candidate;
    CANDIDATE_PRODUCT, "candidate.product", Text, Open, "The partner's id of the product";
    CANDIDATE_CATEGORY, "candidate.category", Text, Open, "The product's category";
    CANDIDATE_CLASS, "candidate.class", Text, Open, "rx, otc-a, otc-b, device, food or other";
    CANDIDATE_PRICE, "candidate.price", Money, Open, "List price of one item";
    CANDIDATE_DAYS_OF_SUPPLY, "candidate.days-of-supply", Integer, Open, "How many days one pack lasts; absent where unknown";
    CANDIDATE_BASKETS, "candidate.baskets", Integer, Open, "Paid orders of all members that hold it";
    CANDIDATE_BOUGHT_TOGETHER, "candidate.bought-together", Integer, Open, "Paid orders of other members that hold it together with what this member bought, at least: the sum over those products; absent for what this member bought";
    CANDIDATE_CATEGORY_BOUGHT, "candidate.category-bought", Integer, Open, "Paid orders of this member that hold something of its category";
}

/// The fact of this name, in any scope.
pub fn find(name: &str) -> Option<&'static Fact> {
    SUBJECT.iter().chain(LINE).chain(CANDIDATE).find(|fact| fact.name == name)
}

/// Values by position in the catalogue: all that the host knows of one subject or one line. A copy costs nothing until
/// it is changed: the stages of a price share what stays the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Arc<Vec<Value>>);

impl<C> Encode<C> for Facts {
    fn encode<W: minicbor::encode::Write>(
        &self,
        to: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.as_ref().encode(to, context)
    }
}

impl<'b, C> Decode<'b, C> for Facts {
    fn decode(from: &mut minicbor::Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self(Arc::new(Vec::decode(from, context)?)))
    }
}

impl Facts {
    /// Nothing known yet, with room for a scope.
    pub fn of(scope: Scope) -> Self {
        let known = match scope {
            Scope::Subject => SUBJECT.len(),
            Scope::Line => LINE.len(),
            Scope::Candidate => CANDIDATE.len(),
        };
        Self(Arc::new(vec![Value::Absent; known]))
    }

    /// The same facts and this one.
    #[must_use]
    pub fn with(mut self, fact: &Fact, value: Value) -> Self {
        self.set(fact, value);
        self
    }

    /// Sets one fact.
    pub fn set(&mut self, fact: &Fact, value: Value) {
        if fact.index < self.0.len() && self.0[fact.index] != value {
            Arc::make_mut(&mut self.0)[fact.index] = value;
        }
    }

    /// One fact; absent where it is not known, also for facts added after this was recorded.
    pub fn get(&self, fact: &Fact) -> &Value {
        self.0.get(fact.index).unwrap_or(&Value::Absent)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<super::money::Money> for Value {
    fn from(amount: super::money::Money) -> Self {
        Self::Integer(amount.get())
    }
}

impl From<super::money::BasisPoints> for Value {
    fn from(rate: super::money::BasisPoints) -> Self {
        Self::Integer(i64::from(rate.get()))
    }
}
