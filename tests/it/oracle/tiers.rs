//! Tiers by lifetime spend (C1), and what they give.

/// A tier's place in its ladder, and what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) code: &'static str,
    /// The least spend in fen.
    from: i128,
    /// Basis points off goods.
    pub(crate) discount: i128,
    doubles: bool,
    doubles_in_birthday_month: bool,
}

const fn tier(code: &'static str, from: i128, discount: i128, doubles: bool, birthday: bool) -> Tier {
    Tier { code, from, discount, doubles, doubles_in_birthday_month: birthday }
}

const SPEND: [Tier; 4] = [
    tier("member", 0, 0, false, false),
    tier("bronze", 19_900, 500, false, true),
    tier("silver", 99_900, 1_000, false, true),
    tier("gold", 299_900, 1_200, true, true),
];

/// The tier of this code.
pub(crate) fn named(code: &str) -> Tier {
    *SPEND.iter().find(|tier| tier.code == code).expect("a tier of the rule")
}

/// The highest tier that this spend reaches.
pub(crate) fn reached(lifetime_spend: i128) -> Tier {
    let mut found = SPEND[0];
    for tier in SPEND {
        if tier.from <= lifetime_spend {
            found = tier;
        }
    }
    found
}

impl Tier {
    /// Points for goods paid: 1 per whole yuan, and the highest multiplier (rule R3).
    pub(crate) fn points(self, goods: i128, birthday_month: bool) -> i128 {
        let doubled = self.doubles || (self.doubles_in_birthday_month && birthday_month);
        goods / 100 * if doubled { 2 } else { 1 }
    }
}
