//! One member's points: pending per order, active in lots that die, held for unpaid orders.

/// When something does not die.
pub(crate) const NEVER: i64 = i64::MAX;

/// Points with one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lot {
    pub(crate) expires: i64,
    /// Counts up: which of two that die together came first.
    pub(crate) born: u64,
    pub(crate) points: i128,
}

/// All points of one member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wallet {
    /// By order.
    pub(crate) pending: Vec<(String, i128)>,
    pub(crate) active: Vec<Lot>,
    /// Parts of lots by order.
    pub(crate) held: Vec<(String, Vec<Lot>)>,
    births: u64,
    /// Which lot an order's points became.
    earned: Vec<(String, u64)>,
}

impl Wallet {
    pub(crate) fn pending(&self) -> i128 {
        self.pending.iter().map(|(_, points)| points).sum()
    }

    pub(crate) fn active(&self) -> i128 {
        self.active.iter().map(|lot| lot.points).sum()
    }

    pub(crate) fn held(&self) -> i128 {
        self.held.iter().flat_map(|(_, lots)| lots).map(|lot| lot.points).sum()
    }

    /// Adds a new lot.
    pub(crate) fn grant(&mut self, points: i128, expires: i64) {
        self.births += 1;
        self.put(Lot { expires, born: self.births, points });
    }

    /// Puts points of a lot back to the rest of it.
    pub(crate) fn put(&mut self, part: Lot) {
        match self.active.iter_mut().find(|lot| lot.born == part.born) {
            Some(lot) => lot.points += part.points,
            None => self.active.push(part),
        }
        self.active.sort_by_key(|lot| (lot.expires, lot.born));
    }

    /// Takes points, earliest expiry first; the parts it took. The caller knows that there are enough.
    pub(crate) fn take(&mut self, points: i128) -> Vec<Lot> {
        let mut parts = Vec::new();
        let mut missing = points;
        for lot in &mut self.active {
            let part = lot.points.min(missing);
            lot.points -= part;
            missing -= part;
            if part > 0 {
                parts.push(Lot { points: part, ..*lot });
            }
        }
        assert_eq!(missing, 0, "the oracle took more than there was");
        self.active.retain(|lot| lot.points > 0);
        parts
    }

    /// Reserves points for an order.
    pub(crate) fn hold(&mut self, order: &str, points: i128) {
        if points > 0 {
            let parts = self.take(points);
            self.held.push((order.to_owned(), parts));
        }
    }

    /// Ends an order's hold; the parts it was over.
    pub(crate) fn end_hold(&mut self, order: &str) -> Vec<Lot> {
        match self.held.iter().position(|(holder, _)| holder == order) {
            Some(at) => self.held.remove(at).1,
            None => Vec::new(),
        }
    }

    /// Takes back earned points: of the order's own first, pending or not, then of the balance; how many it got.
    pub(crate) fn claw_back(&mut self, order: &str, points: i128) -> i128 {
        let mut missing = points;
        for (earner, pending) in &mut self.pending {
            if earner == order {
                let part = missing.min(*pending);
                *pending -= part;
                missing -= part;
            }
        }
        self.pending.retain(|(_, points)| *points > 0);
        let own = self.earned.iter().find(|(earner, _)| earner == order).map(|(_, born)| *born);
        for lot in self.active.iter_mut().filter(|lot| Some(lot.born) == own) {
            let part = missing.min(lot.points);
            lot.points -= part;
            missing -= part;
        }
        self.active.retain(|lot| lot.points > 0);
        let part = missing.min(self.active());
        self.take(part);
        points - missing + part
    }

    /// The order's pending points can be spent until `expires`.
    pub(crate) fn activate(&mut self, order: &str, expires: i64) {
        let points: i128 = self.pending.iter().filter(|(earner, _)| earner == order).map(|(_, points)| points).sum();
        self.pending.retain(|(earner, _)| earner != order);
        if points > 0 {
            self.grant(points, expires);
            self.earned.push((order.to_owned(), self.births));
        }
    }

    /// What has died by `now` is gone.
    pub(crate) fn expire(&mut self, now: i64) {
        self.active.retain(|lot| lot.expires > now);
    }
}
