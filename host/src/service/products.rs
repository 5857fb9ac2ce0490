//! The catalogue: imported in bulk, addressed by the partner's own ids.

use std::collections::HashMap;

use minicbor::{Decode, Encode};

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services,
    check::Checks,
    tables::{PRODUCTS, PRODUCTS_BY_EXTERNAL_ID},
};
use crate::{
    domain::{
        member::{ExternalId, Revision},
        money::Money,
        product::{Class, Product},
    },
    ids::{PartnerId, ProductId},
    ledger::counters::{self, CounterKey},
    store::{Scan, StoreError, Tx, WRITES_MAX},
};

/// Products of one import.
pub const IMPORT_MAX: usize = 200;
/// Rows that one import may write: a transaction has room for a few more. A product takes two, its stock a counter.
const ROWS_MAX: usize = WRITES_MAX - 11;
/// The highest list price, in minor units: sums of whole carts stay far inside 64 bits.
pub const LIST_PRICE_MAX: Money = Money::new(1_000_000_000_000);
/// The most items that stock can be said to hold.
const STOCK_MAX: u64 = 1_000_000_000;
const NAME_CHARS_MAX: usize = 128;
const CATEGORY_CHARS_MAX: usize = 64;
/// With the limits above this keeps a product in one row: chunks would not fit an import's transaction.
const SUBSTANCES_MAX: usize = 32;
const SUBSTANCES_BYTES_MAX: usize = 2_048;
/// Ten years.
const DAYS_OF_SUPPLY_MAX: u16 = 3_660;

/// A product as the partner describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProduct {
    /// What the partner calls it; names the product to create or to change.
    pub external_id: ExternalId,
    /// Shown to people.
    pub name: String,
    /// For offers and tags.
    pub category: String,
    /// What the law calls it.
    pub class: Class,
    /// Delivered first.
    pub urgent: bool,
    /// Of one item.
    pub list_price: Money,
    /// Active substances.
    pub substances: Vec<String>,
    /// How many days one pack lasts.
    pub days_of_supply: Option<u16>,
    /// Tier, member price and offers together leave at least this of one item.
    pub floor_price: Option<Money>,
    /// Items that can be sold. Absent leaves stock as it is: not limited, for a new product.
    pub stock: Option<u64>,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Imported {
    /// Products that are new.
    #[n(0)]
    pub created: u32,
    /// Products that changed.
    #[n(1)]
    pub updated: u32,
    /// Products that were the same already.
    #[n(2)]
    pub unchanged: u32,
}

impl Services {
    /// Creates or changes the caller's products, by their external ids, all or none.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field of every product.
    pub async fn import_products(
        &self,
        caller: Caller,
        once: Idempotency,
        products: Vec<NewProduct>,
    ) -> Result<Done<Imported>, Error> {
        check(&products)?;
        let now = self.clock.now();
        let products: Vec<(ProductId, NewProduct)> =
            products.into_iter().map(|product| (self.ids.ordered(now), product)).collect();
        let run = self.store.run(now, move |tx| once.once(tx, |tx| import(tx, caller.partner, &products)));
        run.await
    }

    /// One product.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn product(&self, caller: Caller, id: ProductId) -> Result<Product, Error> {
        self.store.read(move |tx| visible_product(tx, caller, id)).await
    }

    /// The product that the caller's partner calls this.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn product_by_external_id(&self, caller: Caller, external_id: &str) -> Result<Product, Error> {
        let external_id = external_id.to_owned();
        let read = self.store.read(move |tx| {
            let id = tx.get(&PRODUCTS_BY_EXTERNAL_ID, &(caller.partner, external_id.clone()))?;
            visible_product(tx, caller, id.ok_or_else(|| Error::unknown("product", &external_id))?)
        });
        read.await
    }

    /// The products that the caller's partner calls these, in the same order; `None` for those that do not exist.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn products_named(
        &self,
        caller: Caller,
        names: Vec<ExternalId>,
    ) -> Result<Vec<Option<ProductId>>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = names.iter().map(|name| (caller.partner, name.as_str().to_owned())).collect();
        let read: Result<_, StoreError> =
            self.store.read(move |tx| tx.get_many(&PRODUCTS_BY_EXTERNAL_ID, &names)).await;
        Ok(read?)
    }

    /// The products the caller may see: its own by external id, or all, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn list_products(&self, caller: Caller, page: PageRequest) -> Result<Page<Product>, Error> {
        let read = self.store.read(move |tx| {
            if caller.sees_all {
                let rows = tx.scan(&PRODUCTS, &page.scan(Scan::all())?)?;
                return Ok(page.page(rows)?.map(|(_, product)| product));
            }
            let rows = tx.scan(&PRODUCTS_BY_EXTERNAL_ID, &page.scan(Scan::prefix(&caller.partner))?)?;
            let rows = page.page(rows)?;
            let ids: Vec<ProductId> = rows.rows.iter().map(|(_, id)| *id).collect();
            Ok::<_, Error>(Page {
                rows: tx.get_many(&PRODUCTS, &ids)?.into_iter().flatten().collect(),
                next: rows.next,
            })
        });
        read.await
    }
}

/// A product, if the caller may see it.
pub(super) fn visible_product(tx: &mut Tx<'_>, caller: Caller, id: ProductId) -> Result<Product, Error> {
    let product = tx.get(&PRODUCTS, &id)?.filter(|product| caller.sees(product.partner));
    product.ok_or_else(|| Error::unknown("product", id))
}

fn check(products: &[NewProduct]) -> Result<(), Error> {
    let mut checks = Checks::default();
    if !(1..=IMPORT_MAX).contains(&products.len()) {
        let message = format!("must hold 1 to {IMPORT_MAX} products, holds {}: split the import", products.len());
        return Err(Error::field("/products", message));
    }
    let stocked = products.iter().filter(|product| product.stock.is_some()).count();
    let rows = 2 * products.len() + usize::from(counters::SHARDS) * stocked;
    let message = format!("sets the stock of {stocked} of {} products, too many at once: split it", products.len());
    checks.require(rows <= ROWS_MAX, "/products", message);
    let mut first: HashMap<&ExternalId, usize> = HashMap::new();
    for (at, product) in products.iter().enumerate() {
        let pointer = |field: &str| format!("/products/{at}/{field}");
        if let Some(other) = first.insert(&product.external_id, at) {
            checks.wrong(pointer("external_id"), format!("is that of /products/{other} too"));
        }
        checks.text(pointer("name"), &product.name, NAME_CHARS_MAX);
        checks.text(pointer("category"), &product.category, CATEGORY_CHARS_MAX);
        let price = (Money::ZERO..=LIST_PRICE_MAX).contains(&product.list_price);
        checks.require(price, pointer("list_price"), format!("must be 0 to {} minor units", LIST_PRICE_MAX.get()));
        let floor = product.floor_price.is_none_or(|floor| (Money::new(1)..=product.list_price).contains(&floor));
        checks.require(floor, pointer("floor_price"), "must be above 0 and at most the list price");
        check_substances(&mut checks, &pointer("substances"), &product.substances);
        let days = product.days_of_supply.is_none_or(|days| (1..=DAYS_OF_SUPPLY_MAX).contains(&days));
        checks.require(days, pointer("days_of_supply"), format!("must be 1 to {DAYS_OF_SUPPLY_MAX}"));
        let stock = product.stock.is_none_or(|stock| stock <= STOCK_MAX);
        checks.require(stock, pointer("stock"), format!("must be 0 to {STOCK_MAX}"));
    }
    checks.finish()
}

fn check_substances(checks: &mut Checks, pointer: &str, substances: &[String]) {
    let bytes: usize = substances.iter().map(String::len).sum();
    let fit = substances.len() <= SUBSTANCES_MAX && bytes <= SUBSTANCES_BYTES_MAX;
    let message = format!("must be at most {SUBSTANCES_MAX} names of {SUBSTANCES_BYTES_MAX} bytes together");
    checks.require(fit, pointer, message);
    for (at, name) in substances.iter().take(SUBSTANCES_MAX).enumerate() {
        checks.text(format!("{pointer}/{at}"), name, NAME_CHARS_MAX);
    }
}

/// Writes what differs. The ids are taken for new products alone.
fn import(tx: &mut Tx<'_>, partner: PartnerId, products: &[(ProductId, NewProduct)]) -> Result<Imported, Error> {
    let name = |new: &NewProduct| (partner, new.external_id.as_str().to_owned());
    let names: Vec<_> = products.iter().map(|(_, new)| name(new)).collect();
    let known = tx.get_many(&PRODUCTS_BY_EXTERNAL_ID, &names)?;
    let ids: Vec<ProductId> = known.iter().copied().flatten().collect();
    let mut stored = tx.get_many(&PRODUCTS, &ids)?.into_iter();
    let mut imported = Imported::default();
    for (((fresh, new), name), known) in products.iter().zip(&names).zip(known) {
        let before = if known.is_some() { stored.next().flatten() } else { None };
        let after = described(partner, known.unwrap_or(*fresh), new, before.as_ref());
        if let Some(stock) = new.stock {
            counters::set_limit(tx, CounterKey::Stock(after.id), i64::try_from(stock).unwrap_or(i64::MAX))?;
        }
        match &before {
            None => {
                tx.put(&PRODUCTS_BY_EXTERNAL_ID, name, &after.id)?;
                imported.created += 1;
            }
            Some(before) if *before == after => {
                imported.unchanged += 1;
                continue;
            }
            Some(_) => imported.updated += 1,
        }
        let revision = before.map_or(Revision::FIRST, |before| before.revision.next());
        tx.put(&PRODUCTS, &after.id, &Product { revision, ..after })?;
    }
    Ok(imported)
}

/// The product as described, with the revision it has.
fn described(partner: PartnerId, id: ProductId, new: &NewProduct, before: Option<&Product>) -> Product {
    Product {
        id,
        partner,
        external_id: new.external_id.clone(),
        name: new.name.clone(),
        category: new.category.clone(),
        class: new.class,
        urgent: new.urgent,
        list_price: new.list_price,
        substances: new.substances.clone(),
        days_of_supply: new.days_of_supply,
        stock_tracked: new.stock.is_some() || before.is_some_and(|before| before.stock_tracked),
        revision: before.map_or(Revision::FIRST, |before| before.revision),
        floor_price: new.floor_price,
    }
}

#[cfg(test)]
mod tests;
