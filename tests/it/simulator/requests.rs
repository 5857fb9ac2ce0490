//! How each step is asked of the engine.

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{
    drive::{Sent, World},
    script::{Line, Step},
};
use crate::app::cny;

impl World {
    /// The request of a step that has one.
    pub(super) fn request(&self, line: &Line) -> Sent {
        let id = |name: &String| self.names.id(name).to_owned();
        let post = |path: String, body: Json| (Method::POST, path, body, false);
        let of_order = |order: &String, step: &str| post(format!("/v1/orders/{}/{step}", id(order)), Json::Null);
        let (method, path, body, operator) = match &line.step {
            Step::Join { member, birthday } => {
                let body = json!({"external_id": member, "profile": {"birthday": birthday}});
                post("/v1/members".to_owned(), body)
            }
            Step::Product { product, price, category, class, stock } => {
                let product = json!({
                    "external_id": product, "name": product, "category": category, "class": class,
                    "list_price": cny(*price), "stock": stock,
                });
                post("/v1/products/import".to_owned(), json!({"products": [product]}))
            }
            Step::Offer(new) => (Method::POST, "/ops/v1/offers".to_owned(), new.body(), true),
            Step::Pause { offer } => (Method::POST, format!("/ops/v1/offers/{}/pause", id(offer)), Json::Null, true),
            Step::Resume { offer } => (Method::POST, format!("/ops/v1/offers/{}/resume", id(offer)), Json::Null, true),
            Step::Issue { coupon, offer, member } => {
                let body = json!({"external_id": coupon, "offer": id(offer), "member": id(member)});
                post("/v1/coupons".to_owned(), body)
            }
            Step::Adjust { member, points } => {
                let path = format!("/v1/members/{}/points/adjustments", id(member));
                (Method::POST, path, json!({"points": points, "reason": "simulated"}), true)
            }
            Step::Quote { .. } => self.of_quote(&line.step),
            Step::Place { order, quote, cash, .. } => {
                let body = json!({"quote": id(quote), "external_id": order, "cash_on_delivery": cash});
                post("/v1/orders".to_owned(), body)
            }
            Step::Pay { order, off } => {
                let found = &self.oracle.orders[order];
                let amount = i64::try_from(found.price.payable()).expect("fits") + off;
                let method = if found.cash_on_delivery { "cash-on-delivery" } else { "wechat-pay" };
                let body = json!({"reference": format!("pay-{}", line.n), "method": method, "amount": cny(amount)});
                post(format!("/v1/orders/{}/payment", id(order)), body)
            }
            Step::Ship { order } => of_order(order, "shipment"),
            Step::Deliver { order } => of_order(order, "delivery"),
            Step::Cancel { order } => of_order(order, "cancellation"),
            Step::Refund { order, lines, cause } => {
                let line = |(at, quantity): &(usize, i64)| json!({"line": at, "quantity": quantity});
                let lines = lines.as_ref().map(|lines| lines.iter().map(line).collect::<Vec<_>>());
                post(format!("/v1/orders/{}/refunds", id(order)), json!({"cause": cause, "lines": lines}))
            }
            Step::Wait { millis } => {
                let now = jiff::Timestamp::from_millisecond(self.oracle.now + millis).expect("an instant");
                (Method::PUT, "/ops/v1/clock".to_owned(), json!({"now": now}), true)
            }
            Step::Prescribe { .. } | Step::Decide { .. } => self.of_prescription(&line.step),
            Step::Gift { .. }
            | Step::Codes { .. }
            | Step::Take { .. }
            | Step::HandOver { .. }
            | Step::TakeBack { .. } => self.of_gift(line),
            Step::SwapTiers { score } => active("tier", self.releases.tier[usize::from(*score)]),
            Step::SwapCoupons { no_devices } => active("coupon", self.releases.coupon[usize::from(*no_devices)][0]),
            Step::Again { .. } | Step::Other { .. } | Step::Restart | Step::Crash => {
                unreachable!("no request of its own")
            }
        };
        let (key, at) = (format!("sim-{}", line.n), self.oracle.now);
        Sent { method, path, body, key, operator, at, answer: Json::Null }
    }

    fn of_quote(&self, step: &Step) -> Request {
        let Step::Quote { member, lines, coupon, prescription, points, delivery, .. } = step else {
            unreachable!("no quote")
        };
        let id = |name: &String| self.names.id(name).to_owned();
        let line = |(product, quantity): &(String, i64)| json!({"external_id": product, "quantity": quantity});
        let body = json!({
            "member": id(member), "lines": lines.iter().map(line).collect::<Vec<_>>(),
            "coupon": coupon.as_ref().map(id), "prescription": prescription, "points": points, "delivery_fee": cny(*delivery),
        });
        (Method::POST, "/v1/quotes".to_owned(), body, false)
    }

    fn of_prescription(&self, step: &Step) -> Request {
        match step {
            Step::Prescribe { prescription, member, items } => {
                let item = |(product, items): &(String, i64)| json!({"external_id": product, "quantity": items});
                let body = json!({
                    "external_id": prescription, "member": self.names.id(member), "name": "王芳", "issuer": "医院",
                    "image": "https://example.com/rx.jpg", "items": items.iter().map(item).collect::<Vec<_>>(),
                });
                (Method::POST, "/v1/prescriptions".to_owned(), body, false)
            }
            Step::Decide { prescription, approve } => {
                let path = format!("/ops/v1/prescriptions/{}", self.names.id(prescription));
                match approve {
                    true => (Method::POST, format!("{path}/approval"), Json::Null, true),
                    false => (Method::POST, format!("{path}/rejection"), json!({"reason": "illegible"}), true),
                }
            }
            _ => unreachable!("no prescription"),
        }
    }

    fn of_gift(&self, line: &Line) -> Request {
        let id = |name: &String| self.names.id(name).to_owned();
        let post = |path: String, body: Json, operator| (Method::POST, path, body, operator);
        match &line.step {
            Step::Gift { gift, product, offer, points } => {
                let kind = match (product, offer) {
                    (Some(product), _) => json!({"type": "product", "product": id(product)}),
                    (None, Some(offer)) => json!({"type": "credit", "offer": id(offer)}),
                    (None, None) => json!({"type": "service"}),
                };
                let body = json!({"code": gift, "name_zh_cn": gift, "name_en": gift, "kind": kind, "points": points});
                post("/ops/v1/gifts".to_owned(), body, true)
            }
            Step::Codes { gift, codes } => {
                let codes: Vec<String> = (0..*codes).map(|code| format!("CODE-{}-{code}", line.n)).collect();
                post(format!("/ops/v1/gifts/{}/codes", id(gift)), json!({"codes": codes}), true)
            }
            Step::Take { gift, member, .. } => {
                post(format!("/v1/members/{}/redemptions", id(member)), json!({"gift": id(gift)}), false)
            }
            Step::HandOver { redemption } => {
                post(format!("/v1/redemptions/{}/fulfilment", id(redemption)), Json::Null, false)
            }
            Step::TakeBack { redemption } => {
                post(format!("/v1/redemptions/{}/cancellation", id(redemption)), Json::Null, false)
            }
            _ => unreachable!("no gift"),
        }
    }
}

/// Method, path, body, and whether the operator asks.
type Request = (Method, String, Json, bool);

/// Lets a release answer.
pub(super) fn active(slot: &str, number: u64) -> Request {
    (Method::PUT, format!("/ops/v1/slots/{slot}/active"), json!({"number": number}), true)
}
