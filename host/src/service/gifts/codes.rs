//! Codes of partner services: uploaded in batches, given to one member each.

use crate::{
    domain::gift::{Gift, GiftKind, Redemption, ServiceCode},
    ids::{GiftId, Id as _, RedemptionId},
    service::{
        Caller, Done, Error, Idempotency, Services,
        check::Checks,
        tables::{GIFTS, SERVICE_CODES},
    },
    store::{Scan, StoreError, Tx},
};

/// Codes of one batch.
pub const CODES_AT_ONCE_MAX: usize = 400;
/// Characters of a code.
const CODE_BYTES: std::ops::RangeInclusive<usize> = 1..=128;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct CodesAdded {
    /// New ones.
    #[n(0)]
    pub added: u32,
    /// Those that were uploaded before, or stand twice in the batch.
    #[n(1)]
    pub known: u32,
}

impl Services {
    /// Adds codes to a gift. A code that was uploaded before, given or not, is not added again.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] by field.
    pub async fn add_service_codes(
        &self,
        _: Caller,
        once: Idempotency,
        id: GiftId,
        codes: Vec<String>,
    ) -> Result<Done<CodesAdded>, Error> {
        let mut checks = Checks::default();
        let count = 1..=CODES_AT_ONCE_MAX;
        checks.require(count.contains(&codes.len()), "/codes", format!("must be 1 to {CODES_AT_ONCE_MAX} codes"));
        for (i, code) in codes.iter().enumerate().take(CODES_AT_ONCE_MAX) {
            let fits = CODE_BYTES.contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_graphic());
            checks.require(fits, format!("/codes/{i}"), "must be 1 to 128 visible ASCII characters");
        }
        checks.finish()?;
        let sealed = codes.iter().map(|code| self.sealed_code(id, code)).collect::<Result<Vec<_>, Error>>()?;
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let gift: Gift = tx.get(&GIFTS, &id)?.ok_or_else(|| Error::unknown("gift", id))?;
                if gift.kind != GiftKind::Service {
                    return Err(Error::field("/codes", "only a gift of type `service` has codes"));
                }
                let mut done = CodesAdded { added: 0, known: 0 };
                for (digest, sealed) in &sealed {
                    let free = tx.get(&SERVICE_CODES, &(id, false, *digest))?.is_some();
                    if free || tx.get(&SERVICE_CODES, &(id, true, *digest))?.is_some() {
                        done.known += 1;
                        continue;
                    }
                    let code = ServiceCode { sealed: Some(sealed.clone()), redemption: None };
                    tx.put(&SERVICE_CODES, &(id, false, *digest), &code)?;
                    done.added += 1;
                }
                Ok(done)
            })
        });
        run.await
    }

    /// The code of a gift that was taken, for whoever may see it.
    ///
    /// # Errors
    ///
    /// [`Error::Vault`] if it does not open.
    pub fn code_of(&self, redemption: &Redemption) -> Result<Option<String>, Error> {
        let Some(sealed) = &redemption.code else { return Ok(None) };
        let plain = self.vault.open_own(&place(redemption.gift), sealed)?;
        Ok(Some(String::from_utf8_lossy(&plain).into_owned()))
    }

    /// A code as it is stored: its keyed digest, which a stolen store alone cannot try codes against, and sealed.
    fn sealed_code(&self, gift: GiftId, code: &str) -> Result<([u8; 16], Vec<u8>), Error> {
        let digest = self.vault.digest_own(&place(gift), code.as_bytes());
        let digest = digest.first_chunk().copied().unwrap_or_default();
        let sealed = self.vault.seal_own(&place(gift), code.as_bytes(), self.ids.bytes())?;
        Ok((digest, sealed))
    }
}

fn place(gift: GiftId) -> Vec<u8> {
    [SERVICE_CODES.name().as_bytes(), &gift.to_bits().to_be_bytes()].concat()
}

/// Takes a code that nobody has: sealed, as the member gets it.
///
/// # Errors
///
/// [`Error::GiftNotAvailable`] if there is none.
pub(super) fn give(tx: &mut Tx<'_>, gift: GiftId, to: RedemptionId) -> Result<Vec<u8>, Error> {
    let free = tx.scan(&SERVICE_CODES, &Scan::prefix(&(gift, false)).limit(1))?;
    let Some(((_, _, digest), code)) = free.into_iter().next() else {
        return Err(Error::GiftNotAvailable { gift, why: "no code is left" });
    };
    let sealed = code.sealed.ok_or_else(|| StoreError::Corrupt {
        table: SERVICE_CODES.name(),
        reason: format!("a free code of {gift} is empty").into(),
    })?;
    tx.delete(&SERVICE_CODES, &(gift, false, digest))?;
    tx.put(&SERVICE_CODES, &(gift, true, digest), &ServiceCode { sealed: None, redemption: Some(to) })?;
    Ok(sealed)
}
