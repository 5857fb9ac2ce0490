//! What there is to take: defined by operators, paused and resumed.

use crate::{
    domain::{
        gift::{Gift, GiftKind},
        member::ExternalId,
        money::Points,
        offer::{OfferClass, Purpose},
    },
    ids::GiftId,
    pricing::promotable::may_promote,
    service::{
        Caller, Done, Error, Idempotency, Page, PageRequest, Services,
        check::Checks,
        offers,
        tables::{GIFTS, GIFTS_BY_CODE, PRODUCTS},
    },
    store::{Scan, Tx},
};

/// Characters of a gift's name.
const NAME_CHARS_MAX: usize = 100;

/// The gift to define.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGift {
    /// What operators call it; unique.
    pub code: ExternalId,
    /// Shown to people, in Chinese.
    pub name_zh_cn: String,
    /// And in English.
    pub name_en: String,
    /// What a member gets.
    pub kind: GiftKind,
    /// What it costs.
    pub points: Points,
}

impl Services {
    /// Defines a gift, live at once.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] by field, also where a medicine may not be given for points; [`Error::Taken`] for the code.
    pub async fn define_gift(&self, caller: Caller, once: Idempotency, new: NewGift) -> Result<Done<Gift>, Error> {
        let mut checks = Checks::default();
        checks.text("/name_zh_cn", &new.name_zh_cn, NAME_CHARS_MAX);
        checks.text("/name_en", &new.name_en, NAME_CHARS_MAX);
        checks.require(new.points > Points::ZERO, "/points", "must be more than 0");
        checks.finish()?;
        let now = self.clock.now();
        let gift = Gift {
            id: self.ids.ordered(now),
            code: new.code,
            name_zh_cn: new.name_zh_cn,
            name_en: new.name_en,
            kind: new.kind,
            points: new.points,
            live: true,
            created_at: now,
            created_by: caller.key,
        };
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                may_be_given(tx, gift.kind)?;
                let code = gift.code.as_str().to_owned();
                if let Some(id) = tx.get(&GIFTS_BY_CODE, &code)? {
                    return Err(Error::Taken { what: "gift", name: gift.code.clone(), id: id.to_string() });
                }
                tx.put(&GIFTS_BY_CODE, &code, &gift.id)?;
                tx.put(&GIFTS, &gift.id, &gift)?;
                Ok(gift.clone())
            })
        });
        run.await
    }

    /// Lets a gift be taken, or not.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] if its product may no longer be given.
    pub async fn set_gift_live(
        &self,
        _: Caller,
        once: Idempotency,
        id: GiftId,
        live: bool,
    ) -> Result<Done<Gift>, Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let mut gift: Gift = tx.get(&GIFTS, &id)?.ok_or_else(|| Error::unknown("gift", id))?;
                if live {
                    may_be_given(tx, gift.kind)?;
                }
                gift.live = live;
                tx.put(&GIFTS, &id, &gift)?;
                Ok(gift)
            })
        });
        run.await
    }

    /// All gifts, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for the page.
    pub async fn gifts(&self, page: PageRequest) -> Result<Page<Gift>, Error> {
        let read = self.store.read(move |tx| {
            let page = page.page(tx.scan(&GIFTS, &page.scan(Scan::all())?)?)?;
            Ok::<_, Error>(page.map(|(_, gift)| gift))
        });
        read.await
    }
}

/// Whether members may have it for points at all, whoever asks.
fn may_be_given(tx: &mut Tx<'_>, kind: GiftKind) -> Result<(), Error> {
    match kind {
        GiftKind::Service => Ok(()),
        GiftKind::Product(id) => {
            let product = tx.get(&PRODUCTS, &id)?;
            let product = product.ok_or_else(|| Error::field("/product", "does not exist"))?;
            if may_promote(Purpose::PointsGift, product.class) {
                return Ok(());
            }
            let message = format!("is of class {}, which is never given for points", product.class.name());
            Err(Error::field("/product", message))
        }
        GiftKind::Credit(id) => {
            let offer = match offers::known_offer(tx, id) {
                Err(Error::Unknown { .. }) => return Err(Error::field("/offer", "does not exist")),
                found => found?,
            };
            if offer.class == OfferClass::Coupon {
                return Ok(());
            }
            Err(Error::field("/offer", "must be of class `coupon`"))
        }
    }
}
