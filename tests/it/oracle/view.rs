//! What the API shows, as far as the oracle knows it: money as plain fen, ids as the script's names.

use serde_json::{Value as Json, json};

use super::{
    orders::{Order, Refund},
    pricing::{By, Line, Price, Taken},
};

/// A number of the oracle as JSON.
pub(super) fn number(value: i128) -> Json {
    json!(i64::try_from(value).expect("fits"))
}

fn allocation(taken: &Taken) -> Json {
    match &taken.by {
        By::Tier => json!({"source": "tier", "amount": number(taken.amount)}),
        By::Points => json!({"source": "points", "amount": number(taken.amount)}),
        By::Offer(code, None) => json!({"source": "offer", "offer": code, "amount": number(taken.amount)}),
        By::Offer(code, Some(coupon)) => {
            json!({"source": "offer", "offer": code, "coupon": coupon, "amount": number(taken.amount)})
        }
    }
}

fn line(line: &Line) -> Json {
    json!({
        "external_id": line.product, "quantity": number(line.quantity), "unit_price": number(line.unit),
        "list": number(line.unit * line.quantity), "base": number(line.base), "payable": number(line.left),
        "allocations": line.taken.iter().map(allocation).collect::<Vec<_>>(),
    })
}

pub(super) fn price(price: &Price) -> Json {
    let mut applied = price.applied.clone();
    applied.sort();
    let applied = applied.iter().map(|(code, coupon, amount)| match coupon {
        Some(coupon) => json!({"code": code, "coupon": coupon, "amount": number(*amount)}),
        None => json!({"code": code, "amount": number(*amount)}),
    });
    json!({
        "lines": price.lines.iter().map(line).collect::<Vec<_>>(), "goods_payable": number(price.goods()),
        "delivery_fee": number(price.delivery_fee), "delivery_payable": number(price.delivery_left()),
        "delivery_allocations": price.delivery.iter().map(allocation).collect::<Vec<_>>(),
        "points": number(price.points), "points_max": number(price.points_max), "payable": number(price.payable()),
        "applied": applied.collect::<Vec<_>>(),
    })
}

fn refund(refund: &Refund) -> Json {
    let lines = refund.lines.iter().map(|line| {
        json!({
            "line": line.line, "quantity": number(line.quantity), "amount": number(line.amount),
            "points": number(line.points),
        })
    });
    json!({
        "lines": lines.collect::<Vec<_>>(), "delivery": number(refund.delivery), "amount": number(refund.amount),
        "points_restored": number(refund.restored), "points_clawed_back": number(refund.clawed_back),
        "points_short": number(refund.short),
    })
}

pub(super) fn order(order: &Order) -> Json {
    let mut shown = json!({
        "member": order.member, "state": order.state.name(), "price": price(&order.price),
        "refunds": order.refunds.iter().map(refund).collect::<Vec<_>>(), "cash_on_delivery": order.cash_on_delivery,
    });
    shown["awaits_review"] = json!(order.awaits_review);
    if order.earned > 0 {
        let (taken, short) = (order.refunds.iter()).fold((0, 0), |(a, b), back| (a + back.clawed_back, b + back.short));
        shown["earning"] =
            json!({"points": number(order.earned), "clawed_back": number(taken), "short": number(short)});
    }
    shown
}
