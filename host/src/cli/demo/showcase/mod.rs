//! The rest of the business: what the year's orders alone do not show.
//!
//! When the year is over, the members who joined first and a few new ones go on for three weeks, on the same server and
//! in the same books: codes, claims, a flash sale, gifts, refunds, prescriptions, a tier programme, a takeover. Each row
//! of the business ends with figures, and beside a figure of the server's stands what the demo itself knows of it.

mod books;
mod offers;
mod orders;
mod people;
mod points;
mod row;
mod stage;
mod tiers;
mod year;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};

pub(super) use self::stage::adds_up;
use self::{row::Row, stage::Stage};
use super::{operator::Operator, shop::Shop};

/// What became of the rows.
#[derive(Default)]
pub(super) struct Showcase {
    rows: Vec<Row>,
    /// What ended before its rows were counted, and why.
    broken: Vec<String>,
}

/// Plays all themes, one after the other; `now` is when the year ended.
pub(super) async fn play(shop: &Shop, operator: &Operator, now: Timestamp) -> anyhow::Result<Showcase> {
    let stage = Stage::open(shop, operator, now).await.context("the rest of the business does not begin")?;
    let mut all = Showcase::default();
    all.take("the year", year::rows(&stage, shop).await);
    all.take("points", points::rows(&stage).await);
    all.take("offers", offers::rows(&stage, shop).await);
    all.take("orders", orders::rows(&stage).await);
    all.take("flash sale", offers::flash_sale(&stage).await.map(|row| vec![row]));
    all.take("tiers", tiers::rows(&stage).await);
    all.take("people", people::rows(&stage).await);
    all.take("books", books::rows(&stage, shop).await);
    all.rows.sort_by_key(Row::place);
    Ok(all)
}

impl Showcase {
    fn take(&mut self, theme: &str, rows: anyhow::Result<Vec<Row>>) {
        match rows {
            Ok(rows) => self.rows.extend(rows),
            Err(error) => self.broken.push(format!("{theme}: {error:#}")),
        }
    }

    /// Every theme came to its end, and what was counted twice came to the same.
    pub(super) fn is_sound(&self) -> bool {
        self.broken.is_empty() && !self.rows.is_empty() && self.rows.iter().all(Row::is_sound)
    }

    pub(super) fn print(&self) {
        println!("\nTHE REST OF THE BUSINESS, row by row");
        self.rows.iter().for_each(Row::print);
        for broken in &self.broken {
            println!("  BROKEN OFF  {broken}");
        }
    }

    /// By row.
    pub(super) fn json(&self) -> Json {
        let rows: Map<String, Json> = self.rows.iter().map(|row| (row.id.to_owned(), row.json())).collect();
        Json::Object(rows)
    }
}
