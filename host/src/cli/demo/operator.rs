//! The operator's side of the demo: keys, offers, the clock and the swaps.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::client::Client;

/// How long points live in the demo.
pub(super) const POINTS_VALID_MONTHS: i64 = 3;

pub(in crate::cli) struct Operator {
    pub(in crate::cli) client: Client,
    server: String,
}

/// One swap that was made under load.
pub(in crate::cli) struct Swap {
    pub(in crate::cli) slot: String,
    pub(in crate::cli) release: u64,
    pub(in crate::cli) module: String,
    /// From the request to the answer, durable.
    pub(in crate::cli) took: Duration,
}

impl Operator {
    pub(in crate::cli) fn new(server: String, secret: &str) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(server.clone(), secret.to_owned())?, server })
    }

    /// A partner with a key of its own.
    pub(in crate::cli) async fn partner(&self, name: &str) -> anyhow::Result<Client> {
        let partner = self.client.post("/ops/v1/partners", json!({ "name": name })).await?;
        let scopes = [
            "members:read",
            "members:write",
            "catalogue:read",
            "catalogue:write",
            "coupons:read",
            "coupons:write",
            "orders:read",
            "orders:write",
            "points:read",
            "prescriptions:read",
            "prescriptions:write",
            "activities:write",
            "gifts:write",
        ];
        self.key(&partner, name, &scopes).await
    }

    /// Somebody else who approves offers. From then on none is live before.
    pub(super) async fn second_person(&self) -> anyhow::Result<Client> {
        let partner = self.client.post("/ops/v1/partners", json!({ "name": "head office" })).await?;
        self.key(&partner, "second person", &["offers:read", "offers:approve"]).await
    }

    async fn key(&self, partner: &Json, name: &str, scopes: &[&str]) -> anyhow::Result<Client> {
        let key = json!({ "partner": partner["id"], "name": name, "scopes": scopes });
        let key = self.client.post("/ops/v1/keys", key).await?;
        let secret = key["secret"].as_str().context("a new key shows its secret")?;
        Client::new(self.server.clone(), secret.to_owned())
    }

    /// Does what a sample of `host/deploy` says, call by call.
    pub(super) async fn apply(&self, sample: &str) -> anyhow::Result<()> {
        let calls: Vec<Json> = serde_json::from_str(sample)?;
        for mut call in calls {
            let path = call["path"].as_str().context("a call has a path")?.to_owned();
            let body = call["body"].take();
            match call["method"].as_str() {
                Some("POST") => self.client.post(&path, body).await?,
                Some("PUT") => self.client.put(&path, body).await?,
                other => anyhow::bail!("a sample does not {other:?}"),
            };
        }
        Ok(())
    }

    /// Reviews prescriptions, with the operator's key.
    pub(super) fn pharmacist(&self, secret: &str) -> anyhow::Result<Client> {
        Client::new(self.server.clone(), secret.to_owned())
    }

    /// Defines the year's offers; the id of the welcome offer.
    pub(in crate::cli) async fn offers(&self) -> anyhow::Result<String> {
        let welcome = json!({
            "code": "welcome-990", "name_zh_cn": "新人券", "name_en": "Welcome coupon", "class": "coupon",
            "terms": { "type": "amount", "amount": 990 }, "per_member": 1, "valid_days": 30,
        });
        let others = [
            json!({
                "code": "member-day-100-20", "name_zh_cn": "会员日满100减20", "name_en": "Member day 100−20",
                "class": "promotion", "exclusivity_group": "day", "priority": 10,
                "terms": { "type": "amount", "amount": 2000, "threshold": 10000, "days": ["15"] },
            }),
            json!({
                "code": "vitamins-3-items", "name_zh_cn": "维生素3件8折", "name_en": "Vitamins, 3 items 20 % off",
                "class": "promotion", "exclusivity_group": "day",
                "funders": [
                    { "funder": "brand", "share_basis_points": 6000 }, { "funder": "platform", "share_basis_points": 4000 }
                ],
                "terms": { "type": "percent", "percent": 2000, "min-items": 3, "categories": ["VITAMINS"], "cap": 10000 },
            }),
            json!({
                "code": "flu-season", "name_zh_cn": "流感季9折", "name_en": "Flu season 10 % off", "class": "promotion",
                "terms": { "type": "percent", "percent": 1000, "categories": ["COLD AND FLU"], "months": ["11-2"] },
            }),
            json!({
                "code": "second-half-price", "name_zh_cn": "护发第2件半价", "name_en": "Hair care, second at half price",
                "class": "promotion",
                "terms": { "type": "nth-item", "every": 2, "percent": 5000, "categories": ["HAIR CARE PRODUCTS"] },
            }),
            json!({
                "code": "free-delivery-200", "name_zh_cn": "满200包邮", "name_en": "Free delivery from 200",
                "class": "delivery", "terms": { "type": "free-delivery", "threshold": 20000 },
            }),
        ];
        for offer in others {
            self.client.post("/ops/v1/offers", offer).await?;
        }
        let birthday = json!({
            "code": "birthday-1000", "name_zh_cn": "生日礼券", "name_en": "Birthday coupon", "class": "coupon",
            "terms": { "type": "amount", "amount": 1000, "threshold": 5000 }, "valid_days": 30,
            "issued_on": "birthday",
        });
        self.client.post("/ops/v1/offers", birthday).await?;
        let welcome = self.client.post("/ops/v1/offers", welcome).await?;
        Ok(welcome["id"].as_str().context("an offer has an id")?.to_owned())
    }

    /// Lets points live for three months instead of twelve, so that a year shows them die.
    pub(in crate::cli) async fn short_lived_points(&self) -> anyhow::Result<()> {
        let mut config: Json = serde_json::from_str(include_str!("../../../../plugins/earning-standard/config.json"))?;
        config["valid_months"] = json!(POINTS_VALID_MONTHS);
        let release = json!({ "config": config, "grants": { "personal": true, "health": false } });
        self.release("earning", "earning-standard", release).await.map(drop)
    }

    /// Moves the clock and fires what is due.
    pub(in crate::cli) async fn clock(&self, now: Timestamp) -> anyhow::Result<()> {
        self.client.put("/ops/v1/clock", json!({ "now": now.to_string() })).await.map(drop)
    }

    /// Swaps the tier rule for the composite one and the coupon policy for a stricter configuration.
    pub(in crate::cli) async fn swap(&self) -> anyhow::Result<Vec<Swap>> {
        let tiers = json!({
            "config": serde_json::from_str::<Json>(include_str!("../../../../plugins/tier-composite/config.json"))?,
            "grants": { "personal": false, "health": false },
            "tier_map": { "member": "regular", "bronze": "regular" },
            "demote_now": true,
        });
        let coupons = json!({
            "config": { "percent_max": 5000, "excluded_classes": ["rx"] },
            "grants": { "personal": true, "health": false },
        });
        Ok(vec![
            self.release("tier", "tier-composite", tiers).await?,
            self.release("coupon", "coupon-standard", coupons).await?,
        ])
    }

    pub(in crate::cli) async fn release(&self, slot: &str, module: &str, mut release: Json) -> anyhow::Result<Swap> {
        let modules = self.client.list("/ops/v1/modules").await?;
        let digest = modules.iter().find(|known| known["name"] == module).map(|known| known["digest"].clone());
        release["module"] = digest.with_context(|| format!("the module {module} is not built in"))?;
        let made = self.client.post(&format!("/ops/v1/slots/{slot}/releases"), release).await?;
        let begun = Instant::now();
        let body = json!({ "number": made["number"] });
        self.client.put(&format!("/ops/v1/slots/{slot}/active"), body).await?;
        Ok(Swap {
            slot: slot.to_owned(),
            release: made["number"].as_u64().context("a release has a number")?,
            module: module.to_owned(),
            took: begun.elapsed(),
        })
    }
}
