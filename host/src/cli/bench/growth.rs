//! What an order costs as the deployment grows: members, one member's history, coupons in one member's hand.
//!
//! Nothing on the order's way may grow worse than logarithmically. Beside the figures stands `growth.svg`, a plot of each
//! series with logarithmic axes: a flat line is what is wanted.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::StreamExt as _;
use serde_json::json;

use super::{
    Figure,
    orders::{CLIENTS, Shop, paid, timed},
    percentile_ms,
};
use crate::{
    domain::money::Points,
    ids::MemberId,
    service::{Caller, Idempotency, members::NewMember},
};

/// Orders that are measured at each number of members.
const ORDERS: usize = 2_000;
/// Quotes that are measured at each length of a history and each number of coupons.
const QUOTES: usize = 200;
/// Members that join at once.
const JOINING: usize = 256;
const POSTINGS: [usize; 4] = [10, 100, 1_000, 10_000];
const COUPONS: [usize; 4] = [1, 10, 30, 100];

/// One line of the plot: how many there are, and what one costs, in milliseconds.
struct Series {
    name: &'static str,
    points: Vec<(usize, f64)>,
}

pub(super) async fn measure(members_max: u32, out: &Path) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let shop = Shop::open(dir.path(), CLIENTS).await?;
    let caller = shop.caller().await?;
    let series = [
        by_coupons(&shop, caller).await?,
        by_history(&shop, caller).await?,
        by_members(&shop, caller, usize::try_from(members_max)?).await?,
    ];
    shop.server.stop().await?;
    let path = out.join("growth.svg");
    std::fs::write(&path, plot(&series)).with_context(|| format!("cannot write {}", path.display()))?;
    let mut figures = Vec::new();
    for Series { name, points } in series {
        let first = points.first().map_or(f64::NAN, |(_, cost)| *cost);
        for (count, cost) in points {
            let name = format!("{name}: {count}");
            figures.push(Figure::new(name, cost, "ms").against(first));
        }
    }
    Ok(figures)
}

fn once(caller: Caller, key: String) -> Idempotency {
    Idempotency { partner: caller.partner, key: format!("growth-{key}"), fingerprint: [0; 32] }
}

async fn join(shop: &Shop, caller: Caller, name: String) -> anyhow::Result<MemberId> {
    Ok(shop.server.services().create_member(caller, once(caller, name), NewMember::default()).await?.value.id)
}

/// The median of a quote for one member.
async fn quoted(shop: &Shop, caller: Caller, member: MemberId, round: &str) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(QUOTES);
    for n in 0..QUOTES {
        let (cart, begun) = (shop.cart(n)?, Instant::now());
        shop.server.services().quote(caller, once(caller, format!("quote-{round}-{n}")), member, cart).await?;
        times.push(begun.elapsed());
    }
    Ok(percentile_ms(&mut times, 50))
}

async fn by_coupons(shop: &Shop, caller: Caller) -> anyhow::Result<Series> {
    let offer = json!({
        "code": "growth", "name_zh_cn": "优惠", "name_en": "Offer", "class": "coupon",
        "terms": { "type": "amount", "amount": 100 },
    });
    let offer = shop.operator.client.post("/ops/v1/offers", offer).await?;
    let mut points = Vec::new();
    for count in COUPONS {
        let member = join(shop, caller, format!("coupons-{count}")).await?;
        for _ in 0..count {
            let coupon = json!({ "offer": offer["id"], "member": member.to_string() });
            shop.client.post("/v1/coupons", coupon).await?;
        }
        points.push((count, quoted(shop, caller, member, &format!("coupons-{count}")).await?));
    }
    Ok(Series { name: "quote p50 by coupons in hand", points })
}

async fn by_history(shop: &Shop, caller: Caller) -> anyhow::Result<Series> {
    let mut points = Vec::new();
    for count in POSTINGS {
        let member = join(shop, caller, format!("history-{count}")).await?;
        for n in 0..count {
            let key = once(caller, format!("posting-{count}-{n}"));
            shop.server.services().adjust_points(caller, key, member, Points::new(1), "benchmark").await?;
        }
        points.push((count, quoted(shop, caller, member, &format!("history-{count}")).await?));
    }
    Ok(Series { name: "quote p50 by postings of the member", points })
}

/// The time from one paid order to the next, of sixteen clients.
async fn by_members(shop: &Shop, caller: Caller, most: usize) -> anyhow::Result<Series> {
    let (mut points, mut joined, mut members) = (Vec::new(), 0, Vec::new());
    let sizes = [10_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= most.max(10_000));
    for size in sizes {
        let joins = (joined..size).map(|n| join(shop, caller, format!("member-{n}")));
        let mut joins = futures::stream::iter(joins).buffer_unordered(JOINING);
        while let Some(member) = joins.next().await {
            let member = member?;
            // One in so many is kept to buy.
            joined += 1;
            if joined % (size / ORDERS) == 0 {
                members.push(member);
            }
        }
        let buyers: Vec<MemberId> = members.iter().rev().take(ORDERS).copied().collect();
        let orders = buyers.into_iter().enumerate().map(|(n, member)| {
            let (services, cart) = (shop.server.services().clone(), shop.cart(n));
            // Numbers of their own for each size.
            async move { paid(&services, caller, member, cart?, size + n).await }
        });
        let timed = timed(CLIENTS, orders.collect()).await?;
        let each = Duration::from_secs_f64(1.0 / timed.per_second());
        points.push((size, each.as_secs_f64() * 1e3));
    }
    Ok(Series { name: "paid order by members", points })
}

/// The series side by side, as an image.
fn plot(series: &[Series]) -> String {
    let (width, height, margin) = (320.0, 240.0, 40.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n",
        width * f64::from(u8::try_from(series.len()).unwrap_or(u8::MAX)),
    );
    for (at, Series { name, points }) in series.iter().enumerate() {
        let left = width * f64::from(u8::try_from(at).unwrap_or(u8::MAX));
        let _ = writeln!(svg, "<text x=\"{}\" y=\"20\">{name}, ms</text>", left + margin);
        #[allow(clippy::cast_precision_loss, reason = "a place in an image")]
        let place = |count: usize, cost: f64| {
            // Seven decades across, from a hundredth of a millisecond to a hundred up.
            let x = left + margin + (count as f64).log10() / 7.0 * (width - 2.0 * margin);
            let y = height - margin - (cost.max(0.01).log10() + 2.0) / 4.0 * (height - 2.0 * margin);
            (x, y)
        };
        let line: Vec<String> =
            points.iter().map(|(n, cost)| place(*n, *cost)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ =
            writeln!(svg, "<polyline fill=\"none\" stroke=\"#06c\" stroke-width=\"2\" points=\"{}\"/>", line.join(" "));
        for (count, cost) in points {
            let (x, y) = place(*count, *cost);
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#06c\"/>");
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{cost:.2}</text>", y - 8.0);
            let _ =
                writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>", height - 20.0);
        }
    }
    svg.push_str("</svg>\n");
    svg
}
