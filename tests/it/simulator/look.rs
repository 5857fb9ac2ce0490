//! Holds everything a step touched against the oracle.

use serde_json::Value as Json;

use super::{
    compare::{covers, explained},
    drive::{Difference, World},
    script::Step,
};
use crate::oracle::Oracle;

impl World {
    /// Compares whatever the step was about, and whatever the oracle says has changed.
    pub(super) async fn compare_touched(&self, step: &Step, before: &Oracle) -> Result<(), Difference> {
        let order = match step {
            Step::Place { order, .. }
            | Step::Pay { order, .. }
            | Step::Ship { order }
            | Step::Deliver { order }
            | Step::Cancel { order }
            | Step::Refund { order, .. } => Some(order),
            _ => None,
        };
        let member = match step {
            Step::Join { member, .. }
            | Step::Issue { member, .. }
            | Step::Adjust { member, .. }
            | Step::Quote { member, .. } => Some(member),
            _ => order.and_then(|order| self.oracle.orders.get(order)).map(|order| &order.member),
        };
        let waited = matches!(step, Step::Wait { .. });
        for name in self.oracle.members.keys().filter(|name| waited || Some(*name) == member) {
            self.compare_member(name).await?;
        }
        for name in self.oracle.coupons.keys() {
            let changed = before.coupons.get(name).is_none_or(|before| before.state != self.oracle.coupons[name].state);
            if changed {
                self.compare_coupon(name).await?;
            }
        }
        for (name, order) in self.oracle.orders.iter().filter(|_| waited) {
            if before.orders[name].state != order.state {
                self.compare_order(name).await?;
            }
        }
        // A decision lets an order go on, or gives it up.
        if let Step::Decide { prescription, .. } = step
            && let Some(order) = before.prescriptions[prescription].waiting.as_ref()
        {
            self.compare_order(order).await?;
            self.compare_member(&self.oracle.orders[order].member).await?;
        }
        for name in self.oracle.prescriptions.keys() {
            let known = before.prescriptions.contains_key(name);
            if !known || before.prescription(name) != self.oracle.prescription(name) {
                self.compare_prescription(name).await?;
            }
        }
        for name in self.oracle.redemptions.keys() {
            let known = before.redemptions.contains_key(name);
            if !known || before.redemption(name) != self.oracle.redemption(name) {
                self.compare_redemption(name).await?;
                self.compare_member(&self.oracle.redemptions[name].member).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn compare_all(&self) -> Result<(), Difference> {
        for name in self.oracle.members.keys() {
            self.compare_member(name).await?;
        }
        for name in self.oracle.orders.keys() {
            self.compare_order(name).await?;
        }
        for name in self.oracle.coupons.keys() {
            self.compare_coupon(name).await?;
        }
        for name in self.oracle.prescriptions.keys() {
            self.compare_prescription(name).await?;
        }
        for name in self.oracle.redemptions.keys() {
            self.compare_redemption(name).await?;
        }
        let report = self.server.operator().post("/ops/v1/verify", Json::Null).await.json;
        if report["sound"] != true || report["ledger"]["sum"] != 0 {
            return Err(format!("the books do not close: {report:#}"));
        }
        Ok(())
    }

    async fn compare_member(&self, name: &str) -> Result<(), Difference> {
        let path = format!("/v1/members/{}", self.names.id(name));
        let shown = self.server.shop().get(&path).await.json;
        self.same(name, &self.oracle.member(name), &shown)?;
        let shown = self.server.shop().get(&format!("{path}/points")).await.json;
        self.same(&format!("{name}'s points"), &self.oracle.points(name), &shown)
    }

    async fn compare_order(&self, name: &str) -> Result<(), Difference> {
        let shown = self.server.shop().get(&format!("/v1/orders/{}", self.names.id(name))).await.json;
        self.same(name, &self.oracle.order(name), &shown)
    }

    async fn compare_coupon(&self, name: &str) -> Result<(), Difference> {
        let shown = self.server.shop().get(&format!("/v1/coupons/{}", self.names.id(name))).await.json;
        self.same(name, &self.oracle.coupon(name), &shown)
    }

    async fn compare_prescription(&self, name: &str) -> Result<(), Difference> {
        let shown = self.server.shop().get(&format!("/v1/prescriptions/{}", self.names.id(name))).await.json;
        self.same(name, &self.oracle.prescription(name), &shown)
    }

    async fn compare_redemption(&self, name: &str) -> Result<(), Difference> {
        let shown = self.server.shop().get(&format!("/v1/redemptions/{}", self.names.id(name))).await.json;
        self.same(name, &self.oracle.redemption(name), &shown)
    }

    /// Whether the engine shows what the oracle expects, and its prices add up.
    pub(super) fn same(&self, what: &str, expected: &Json, actual: &Json) -> Result<(), Difference> {
        explained(actual).map_err(|difference| format!("{what}: {difference}"))?;
        covers(expected, &self.names.plain(actual)).map_err(|difference| format!("{what}{difference}"))
    }
}
