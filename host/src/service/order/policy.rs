//! What a refund that loses an offer's threshold costs: declared by the offer, fixed for an order when it is placed.

use crate::{
    domain::money::Money,
    ids::OfferId,
    service::{
        Caller, Done, Error, Idempotency, Services,
        tables::{OFFERS, REPRICED_BELOW},
    },
};

impl Services {
    /// Below which amount of its lines an offer's discount is lost with a refund; nothing where it is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn refund_policy(&self, id: OfferId) -> Result<Option<Money>, Error> {
        let read = self.store.read(move |tx| {
            tx.get(&OFFERS, &id)?.ok_or_else(|| Error::unknown("offer", id))?;
            Ok::<_, Error>(tx.get(&REPRICED_BELOW, &id)?)
        });
        read.await
    }

    /// Declares it, for orders placed from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Invalid`] for an amount that is not above zero.
    pub async fn set_refund_policy(
        &self,
        _: Caller,
        once: Idempotency,
        id: OfferId,
        below: Option<Money>,
    ) -> Result<Done<Option<Money>>, Error> {
        if below.is_some_and(|below| below <= Money::ZERO) {
            return Err(Error::field("/reprice_below/minor", "must be above zero; null keeps the discount"));
        }
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                tx.get(&OFFERS, &id)?.ok_or_else(|| Error::unknown("offer", id))?;
                match &below {
                    Some(below) => tx.put(&REPRICED_BELOW, &id, below)?,
                    None => tx.delete(&REPRICED_BELOW, &id)?,
                }
                Ok(below)
            })
        });
        run.await
    }
}
