//! Codes in bulk: made in steps that a timer drives, exported, and redeemed for a coupon, each once.
//!
//! A batch has a secret of its own; its codes follow from the secret and their numbers, so a step that runs twice makes
//! the same ones, and an export reads one row. The store has a row for each code that can be redeemed.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use minicbor::{Decode, Encode};
use sha2::Sha256;

use super::{How, Issue, issue};
use crate::{
    domain::{
        cbor::{instant, maybe_instant},
        code::{Code, SIGNS},
        offer::{Coupon, OfferClass},
    },
    ids::{Id as _, MemberId, OfferId},
    scheduler::{self, TimerKey, TimerKind},
    service::{
        Caller, Done, Error, Idempotency, Page, PageRequest, Services, members, offers,
        tables::{CODE_BATCHES, CODES, GUESSES},
    },
    store::{Scan, Tx},
};

/// Codes of one batch.
const CODES_MAX: u32 = 1_000_000;
/// Codes made in one transaction, of the writes that one may have.
const CODES_AT_ONCE: u32 = 500;
/// Wrong codes in one hour: by one member, and with one key.
const WRONG_BY_MEMBER_MAX: u32 = 10;
const WRONG_BY_KEY_MAX: u32 = 600;

/// Codes of an offer that were made together.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct CodeBatch {
    /// Of which offer.
    #[n(0)]
    pub offer: OfferId,
    /// Which of the offer's batches: 1, 2 …
    #[n(1)]
    pub number: u32,
    /// How many there shall be.
    #[n(2)]
    pub count: u32,
    /// How many there are.
    #[n(3)]
    pub made: u32,
    /// When they were asked for.
    #[cbor(n(4), with = "instant")]
    pub at: Timestamp,
    /// When the last one was made.
    #[cbor(n(5), with = "maybe_instant")]
    pub done_at: Option<Timestamp>,
    /// What the codes follow from.
    #[cbor(n(6), with = "minicbor::bytes")]
    secret: [u8; 32],
}

impl std::fmt::Debug for CodeBatch {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeBatch").field("offer", &self.offer).field("number", &self.number).finish_non_exhaustive()
    }
}

impl CodeBatch {
    /// The codes that were made, from this one on and at most so many.
    pub fn codes(&self, from: u32, most: u32) -> impl Iterator<Item = Code> + '_ {
        (from..self.made.min(from.saturating_add(most))).map(|index| self.code(index))
    }

    fn code(&self, index: u32) -> Code {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(&index.to_be_bytes());
        let random: [u8; 32] = mac.finalize().into_bytes().into();
        Code::of(random.first_chunk::<SIGNS>().expect("a MAC is longer than a code"))
    }
}

/// A code that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MadeCode {
    /// Of which offer.
    #[n(0)]
    pub offer: OfferId,
    /// Of which of its batches.
    #[n(1)]
    pub batch: u32,
    /// Who redeemed it.
    #[n(2)]
    pub by: Option<MemberId>,
}

/// Wrong codes that somebody tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Guesses {
    /// In this hour since the epoch.
    #[n(0)]
    pub hour: i64,
    /// So many.
    #[n(1)]
    pub count: u32,
}

/// What became of a code that somebody typed.
enum Redeemed {
    Issued(Done<Coupon>),
    /// No such code: the guess is counted.
    Unknown,
}

impl Services {
    /// Asks for codes of an offer; they are made step by step. Every batch has a secret of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for the count, and for an offer that has no coupons or whose last batch is still being made;
    /// [`Error::Unknown`].
    pub async fn make_codes(
        &self,
        _: Caller,
        once: Idempotency,
        offer: OfferId,
        count: u32,
    ) -> Result<Done<CodeBatch>, Error> {
        if !(1..=CODES_MAX).contains(&count) {
            return Err(Error::field("/count", format!("must be 1 to {CODES_MAX}")));
        }
        let (now, secret) = (self.clock.now(), self.ids.bytes());
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                if offers::known_offer(tx, offer)?.class != OfferClass::Coupon {
                    return Err(Error::field("/offer", "it applies without a coupon, so no code can bring one"));
                }
                let last =
                    tx.scan(&CODE_BATCHES, &Scan::prefix(&offer).reverse().limit(1))?.pop().map(|(_, last)| last);
                if last.as_ref().is_some_and(|last| last.done_at.is_none()) {
                    return Err(Error::field("/offer", "its last codes are still being made: wait for them"));
                }
                let number = last.map_or(1, |last| last.number + 1);
                let batch = CodeBatch { offer, number, count, made: 0, at: now, done_at: None, secret };
                tx.put(&CODE_BATCHES, &(offer, number), &batch)?;
                scheduler::schedule_for(tx, TimerKey::new(now, TimerKind::MakeCodes, offer), i64::from(number))?;
                Ok(batch)
            })
        });
        run.await
    }

    /// A batch of codes as it stands.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn code_batch(&self, offer: OfferId, number: u32) -> Result<CodeBatch, Error> {
        let read = self.store.read(move |tx| tx.get(&CODE_BATCHES, &(offer, number)));
        read.await
            .map_err(|error: crate::store::StoreError| Error::Store(error))?
            .ok_or_else(|| Error::unknown("batch of codes", number))
    }

    /// The batches of an offer, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] for a bad page.
    pub async fn code_batches(&self, offer: OfferId, page: PageRequest) -> Result<Page<CodeBatch>, Error> {
        let read = self.store.read(move |tx| {
            offers::known_offer(tx, offer)?;
            let rows = tx.scan(&CODE_BATCHES, &page.scan(Scan::prefix(&offer))?)?;
            Ok::<_, Error>(page.page(rows)?.map(|(_, batch)| batch))
        });
        read.await
    }

    /// Gives a member the coupon that a code stands for. A code is redeemed once, by one member.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is no code or was mistyped, [`Error::Unknown`] for one that was never made,
    /// [`Error::CodeUsed`], [`Error::TooManyGuesses`], and the refusals of issuing.
    pub async fn redeem_code(
        &self,
        caller: Caller,
        once: Idempotency,
        member: MemberId,
        code: &str,
    ) -> Result<Done<Coupon>, Error> {
        let code: Code =
            code.parse().map_err(|bad: crate::domain::code::BadCode| Error::field("/code", bad.to_string()))?;
        let now = self.clock.now();
        let (id, settings) = (self.ids.ordered(now), Arc::clone(&self.settings));
        let run = self.store.run(now, move |tx| {
            if let Some(done) = once.look_up(tx)? {
                return Ok(Redeemed::Issued(done));
            }
            members::active_member(tx, caller, member)?;
            let hour = now.as_second().div_euclid(3_600);
            let guessers =
                [((0, member.to_bits()), WRONG_BY_MEMBER_MAX), ((1, caller.key.to_bits()), WRONG_BY_KEY_MAX)];
            for (who, most) in guessers {
                if guesses(tx, who, hour)? >= most {
                    return Err(Error::TooManyGuesses);
                }
            }
            let Some(made) = tx.get(&CODES, &code.bytes())? else {
                for (who, _) in guessers {
                    let count = guesses(tx, who, hour)? + 1;
                    tx.put(&GUESSES, &who, &Guesses { hour, count })?;
                }
                return Ok(Redeemed::Unknown);
            };
            if made.by.is_some() {
                return Err(Error::CodeUsed);
            }
            let done = once.once(tx, |tx| {
                tx.put(&CODES, &code.bytes(), &MadeCode { by: Some(member), ..made })?;
                let wanted = Issue { id, offer: made.offer, member, external_id: None, how: How::Code };
                issue(tx, caller, &wanted, now, &settings)
            })?;
            Ok(Redeemed::Issued(done))
        });
        match run.await? {
            Redeemed::Issued(done) => Ok(done),
            Redeemed::Unknown => Err(Error::unknown("code", "as typed")),
        }
    }
}

fn guesses(tx: &mut Tx<'_>, who: (u8, u128), hour: i64) -> Result<u32, Error> {
    let row = tx.get(&GUESSES, &who)?.filter(|guesses| guesses.hour == hour);
    Ok(row.map_or(0, |guesses| guesses.count))
}

/// The timer's work: the next codes of a batch; the next step is due at once.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn step(tx: &mut Tx<'_>, offer: OfferId, number: i64, now: Timestamp) -> Result<(), Error> {
    let row = (offer, u32::try_from(number).unwrap_or(0));
    let Some(mut batch) = tx.get(&CODE_BATCHES, &row)?.filter(|batch| batch.done_at.is_none()) else { return Ok(()) };
    let until = batch.count.min(batch.made.saturating_add(CODES_AT_ONCE));
    for index in batch.made..until {
        tx.put(&CODES, &batch.code(index).bytes(), &MadeCode { offer, batch: batch.number, by: None })?;
    }
    batch.made = until;
    if batch.made < batch.count {
        scheduler::schedule_for(tx, TimerKey::new(now, TimerKind::MakeCodes, offer), number)?;
    } else {
        batch.done_at = Some(now);
    }
    Ok(tx.put(&CODE_BATCHES, &row, &batch)?)
}
