//! Who brings whom, and what people run out of.

use jiff::ToSpan as _;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{
    row::Row,
    stage::{CATEGORY, Guest, HOUR, Stage, cny, count, each, text},
};

/// Whom the first guest brings.
const REFERRED: usize = 6;
/// How many packs each member buys at once, and how many days one lasts.
const PACKS: usize = 2;
const PACK_DAYS: i64 = 5;
/// When the notice comes, in days after the purchase: three before the last pack is empty.
const NOTICE: i64 = PACK_DAYS * 2 - 3;

pub(super) async fn rows(stage: &Stage<'_>) -> anyhow::Result<Vec<Row>> {
    Ok(vec![referrals(stage).await?, refills(stage).await?])
}

/// R8: a referral counts once the phone is verified and was never seen before, by nobody, erased members included.
async fn referrals(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let event = json!({ "issued_on": "event", "event": "referral-succeeded", "valid_days": 30, "claimed": false });
    let thanks =
        stage.launch("show-referrer-30", "coupon", json!({ "type": "amount", "amount": 3_000 }), event).await?;
    let by = stage.newcomers("refers", 1).await?.remove(0);
    let join = async |name: &str, phone: usize| {
        let body = json!({
            "external_id": format!("show-{name}-{phone}"), "profile": { "phone": format!("+8613900{phone:06}") },
            "phone_verified": true, "referred_by": by.id,
        });
        stage.shop.post("/v1/members", body).await
    };
    let phones: Vec<usize> = (0..REFERRED).collect();
    let joined = each(&phones, async |phone| join("friend", *phone).await).await?;
    stage.shop.call(Method::DELETE, &format!("/v1/members/{}", text(&joined[0]["id"])?), None).await?;
    // The one who was erased, and one who is still there, under other names.
    let again = each(&phones[..2], async |phone| join("again", *phone).await).await?;
    stage.settle().await?;
    let of = stage.shop.list(&format!("/v1/members/{}/referrals", by.id)).await?;
    let state = |state: &str| count(of.iter().filter(|referral| referral["state"] == state));
    let thanked = stage.coupons(&by, &thanks).await?;
    Ok(Row::new("R8", "referrals by verified phone")
        .agrees("succeeded", state("succeeded"), count(&joined))
        .agrees("phone seen before", state("phone-seen"), count(&again))
        .agrees("coupons for the referrer", count(&thanked), count(&joined)))
}

/// R9: two packs last twice as long as one; one notice, three days before the second is empty.
async fn refills(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let pack = json!({
        "external_id": "show-pack", "name": "show-pack", "category": CATEGORY, "class": "otc-b",
        "list_price": cny(3_000), "days_of_supply": PACK_DAYS,
    });
    stage.shop.post("/v1/products/import", json!({ "products": [pack] })).await?;
    let event = json!({ "issued_on": "event", "event": "refill-due", "valid_days": 30, "claimed": false });
    let nudge = stage.launch("show-refill", "coupon", json!({ "type": "amount", "amount": 100 }), event).await?;
    let takers = stage.newcomers("takes", 4).await?;
    for _ in 0..PACKS {
        each(&takers, async |guest| stage.arrive(&stage.buy(guest, &[("show-pack", 1)], json!({})).await?).await)
            .await?;
    }
    let bought = stage.now().date();
    let supplies = async || {
        let shown = each(&takers, async |guest: &Guest| {
            stage.operator.list(&format!("/v1/members/{}/refills", guest.id)).await
        });
        Ok::<Vec<Json>, anyhow::Error>(shown.await?.into_iter().flatten().collect())
    };
    let empty = bought.checked_add((PACK_DAYS * 2).days())?.to_string();
    let in_time = count(supplies().await?.iter().filter(|supply| supply["runs_out"] == empty.as_str()));
    // The day on which the first pack alone would have been spoken of passes in silence.
    stage.until(bought.checked_add((NOTICE - 1).days())?.at(HOUR, 0, 0, 0)).await?;
    let early = count(supplies().await?.iter().filter(|supply| supply["told"] == true));
    stage.until(bought.checked_add(NOTICE.days())?.at(HOUR, 0, 0, 0)).await?;
    stage.settle().await?;
    let told = count(supplies().await?.iter().filter(|supply| supply["told"] == true));
    let nudges = each(&takers, async |guest| stage.coupons(guest, &nudge).await).await?;
    Ok(Row::new("R9", "refills, carried forward")
        .agrees("run out on the day", in_time, count(&takers))
        .agrees("told too early", early, 0)
        .agrees("told three days before", told, count(&takers))
        .agrees("told once", count(nudges.iter().flatten()), count(&takers)))
}
