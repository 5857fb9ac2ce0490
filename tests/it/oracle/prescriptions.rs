//! Prescriptions (D5): what a doctor lets a member buy, once a pharmacist agrees; orders use it up.

use serde_json::{Value as Json, json};

use super::{Answer, DAY, Oracle, pricing::Line, refused};

/// How long one can be used.
const VALID: i64 = 3 * DAY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    Under,
    Approved,
    Rejected,
    Expired,
}

#[derive(Clone, Debug)]
pub(crate) struct Prescription {
    pub(crate) member: String,
    pub(crate) state: Review,
    /// Product, items, and how many of them were used.
    pub(crate) items: Vec<(String, i64, i64)>,
    valid_until: i64,
    /// The order that waits for the decision.
    pub(crate) waiting: Option<String>,
}

impl Prescription {
    /// When its time is over.
    pub(crate) fn next_due(&self) -> Option<i64> {
        matches!(self.state, Review::Under | Review::Approved).then_some(self.valid_until)
    }

    fn used(&mut self, product: &str) -> Option<(i64, &mut i64)> {
        self.items.iter_mut().find(|item| item.0 == product).map(|item| (item.1, &mut item.2))
    }
}

/// The items of prescription medicine among lines.
fn needed(lines: &[Line]) -> Vec<(String, i64)> {
    let rx = lines.iter().filter(|line| line.class == "rx");
    rx.map(|line| (line.product.clone(), i64::try_from(line.quantity).expect("a count"))).collect()
}

impl Oracle {
    /// What the API shows of a prescription.
    pub(crate) fn prescription(&self, name: &str) -> Json {
        let found = &self.prescriptions[name];
        let state = match found.state {
            Review::Under => "under-review",
            Review::Approved => "approved",
            Review::Rejected => "rejected",
            Review::Expired => "expired",
        };
        let item = |(_, items, used): &(String, i64, i64)| json!({"quantity": items, "left": items - used});
        let items: Vec<Json> = found.items.iter().map(item).collect();
        json!({"state": state, "member": found.member, "items": items, "waiting_order": found.waiting})
    }

    pub(crate) fn prescribe(&mut self, name: &str, member: &str, items: &[(String, i64)]) -> Answer {
        let new = Prescription {
            member: member.to_owned(),
            state: Review::Under,
            items: items.iter().map(|(product, items)| (product.clone(), *items, 0)).collect(),
            valid_until: self.now + VALID,
            waiting: None,
        };
        self.prescriptions.insert(name.to_owned(), new);
        Ok(self.prescription(name))
    }

    /// A pharmacist decides; an order that waited can be paid, or gives everything back.
    pub(crate) fn decide(&mut self, name: &str, approve: bool) -> Answer {
        let now = self.now;
        let found = self.prescriptions.get_mut(name).expect("a prescription");
        if found.state != Review::Under || found.valid_until <= now {
            return refused("prescription-not-usable");
        }
        found.state = if approve { Review::Approved } else { Review::Rejected };
        self.decided(name);
        Ok(self.prescription(name))
    }

    pub(super) fn prescription_due(&mut self, name: &str) {
        let now = self.now;
        let found = self.prescriptions.get_mut(name).expect("a prescription");
        if found.next_due().is_some_and(|due| due <= now) {
            found.state = Review::Expired;
            self.decided(name);
        }
    }

    fn decided(&mut self, name: &str) {
        let found = self.prescriptions.get_mut(name).expect("a prescription");
        let approved = found.state == Review::Approved;
        let Some(waiting) = found.waiting.take() else { return };
        let now = self.now;
        let order = self.orders.get_mut(&waiting).expect("an order");
        order.awaits_review = false;
        if approved {
            order.hold_until = Some(order.gives_up_at(now));
        } else {
            self.cancel(&waiting).expect("it is placed");
        }
    }

    /// Whether a prescription covers the lines; else why not.
    pub(super) fn covered(
        &self,
        member: &str,
        lines: &[Line],
        named: Option<&String>,
    ) -> Result<(), Vec<&'static str>> {
        let needs = needed(lines);
        if needs.is_empty() {
            return Ok(());
        }
        let Some(named) = named else { return refused("prescription-required") };
        let Some(found) = self.prescriptions.get(named).filter(|found| found.member == member) else {
            return refused("not-found");
        };
        let usable = match found.state {
            Review::Under => found.waiting.is_none(),
            Review::Approved => true,
            Review::Rejected | Review::Expired => false,
        };
        if !usable || found.valid_until <= self.now {
            return refused("prescription-not-usable");
        }
        let fits = |(product, quantity): &(String, i64)| {
            found.items.iter().any(|(known, items, used)| known == product && used + quantity <= *items)
        };
        if needs.iter().all(fits) { Ok(()) } else { refused("prescription-exceeded") }
    }

    /// Uses it up for an order; whether that has to wait for the decision.
    pub(super) fn use_up(&mut self, order: &str, lines: &[Line], named: Option<&String>) -> bool {
        let needs = needed(lines);
        let Some(found) = named.filter(|_| !needs.is_empty()).and_then(|named| self.prescriptions.get_mut(named))
        else {
            return false;
        };
        for (product, quantity) in needs {
            *found.used(&product).expect("it is covered").1 += quantity;
        }
        let waits = found.state == Review::Under;
        if waits {
            found.waiting = Some(order.to_owned());
        }
        waits
    }

    /// Items of an order that never left can be bought again.
    pub(super) fn prescribe_again(&mut self, name: &str, items: &[(usize, i128)]) {
        let order = self.orders[name].clone();
        let Some(found) = order.prescription.as_ref().and_then(|named| self.prescriptions.get_mut(named)) else {
            return;
        };
        for (at, quantity) in items {
            let line = &order.price.lines[*at];
            if let Some((_, used)) = found.used(&line.product).filter(|_| line.class == "rx") {
                *used -= i64::try_from(*quantity).expect("a count");
            }
        }
        if found.waiting.as_deref() == Some(name) {
            found.waiting = None;
        }
    }
}
