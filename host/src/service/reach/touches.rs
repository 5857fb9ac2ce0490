//! Touches: asked for, read, counted, and what operators do with those that are stuck.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::touch::{Channel, Class, DropReason},
    ids::{MemberId, TouchId},
    members::vault::{KeyClass, VaultError},
    reach::{
        tables::{CONTENTS, STUCK, TEMPLATES, TOTALS, TOUCHES, TOUCHES_OF_MEMBER},
        touch::{self, Column, State, Touch},
    },
    service::{
        Caller, Done, Error, Idempotency, Page, PageRequest, Services, check::Checks, members::visible_member,
        tables::MEMBERS,
    },
    store::{SCAN_ROWS_MAX, Scan, StoreError, Tx},
};

/// Touches asked for in one request.
const BATCH_MAX: usize = 100;
/// Touches written in one transaction.
const WRITTEN_AT_ONCE: usize = 40;
const VARIABLES_MAX: usize = 32;
const VALUE_CHARS_MAX: usize = 256;
/// Bytes of all variables of one touch.
const VARIABLES_BYTES_MAX: usize = 2_048;
/// How long an operator's retry may take where the touch had less.
const RETRY_HOURS: i64 = 24;

/// A message that somebody wants a member to get.
#[derive(Clone, PartialEq, Eq)]
pub struct WantedTouch {
    /// To whom.
    pub member: MemberId,
    /// The template's code.
    pub template: String,
    /// Values by name. They may be personal: they are stored sealed.
    pub variables: Vec<(String, String)>,
    /// The asker's own key: asking again under the same member, template and key makes no second touch.
    pub dedupe: String,
    /// Not before.
    pub due: Timestamp,
    /// Not from here on.
    pub expires: Timestamp,
}

/// A wanted touch with its variables sealed, ready for [`ask`].
#[derive(Clone)]
pub(in crate::service) struct SealedTouch {
    id: TouchId,
    wanted: WantedTouch,
    sealed: Vec<u8>,
}

/// How many touches stand in one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Total {
    /// Of this class.
    pub class: Class,
    /// On this channel: the preferred one, until the gate picked another.
    pub channel: Channel,
    /// In this column.
    pub column: Column,
    /// So many.
    pub count: u64,
}

impl Services {
    /// Asks for touches; their ids, in order. Asking again for the same changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field, a member that the caller may not see and a template that there is not.
    pub async fn ask_touches(
        &self,
        caller: Caller,
        once: Idempotency,
        wanted: Vec<WantedTouch>,
    ) -> Result<Done<Vec<TouchId>>, Error> {
        let now = self.clock.now();
        check(&wanted)?;
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        self.check_named(caller, &wanted).await?;
        let sealed: Vec<SealedTouch> = wanted.into_iter().map(|one| self.seal_touch(one)).collect::<Result<_, _>>()?;
        let mut chunks = sealed.chunks(WRITTEN_AT_ONCE).map(<[SealedTouch]>::to_vec);
        let last = chunks.next_back().unwrap_or_default();
        let mut ids = Vec::with_capacity(sealed.len());
        // A request that is cut off here is made again: what was written is found by its key.
        for chunk in chunks {
            let run = self.store.run(now, move |tx| chunk.iter().map(|one| ask(tx, now, one)).collect());
            let written: Result<Vec<TouchId>, Error> = run.await;
            ids.extend(written?);
        }
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let mut ids = ids.clone();
                for one in &last {
                    ids.push(ask(tx, now, one)?);
                }
                Ok::<_, Error>(ids)
            })
        });
        run.await
    }

    /// Seals a wanted touch, outside the transaction that will [`ask`] for it. The touch of an erased member holds
    /// nothing; the gate drops it.
    pub(in crate::service) fn seal_touch(&self, wanted: WantedTouch) -> Result<SealedTouch, Error> {
        let plain = minicbor::to_vec(&wanted.variables)
            .map_err(|error| StoreError::Encode { table: CONTENTS.name(), reason: error.to_string().into() })?;
        let place = CONTENTS.name().as_bytes();
        let sealed = match self.vault.seal(wanted.member, KeyClass::Profile, place, &plain, self.ids.bytes()) {
            Ok(sealed) => sealed,
            Err(VaultError::Erased) => Vec::new(),
            Err(VaultError::Unknown) => return Err(Error::unknown("member", wanted.member)),
            Err(other) => return Err(other.into()),
        };
        Ok(SealedTouch { id: self.ids.ordered(self.clock.now()), wanted, sealed })
    }

    /// One touch.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn touch(&self, caller: Caller, id: TouchId) -> Result<Touch, Error> {
        self.store.read(move |tx| visible_touch(tx, caller, id)).await
    }

    /// A member's touches, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] for a bad page.
    pub async fn touches_of(&self, caller: Caller, member: MemberId, page: PageRequest) -> Result<Page<Touch>, Error> {
        let read = self.store.read(move |tx| {
            visible_member(tx, caller, member)?;
            let rows = page.page(tx.scan(&TOUCHES_OF_MEMBER, &page.scan(Scan::prefix(&member))?)?)?;
            let ids: Vec<TouchId> = rows.rows.iter().map(|((_, id), ())| *id).collect();
            let touches = tx.get_many(&TOUCHES, &ids)?.into_iter().flatten().collect();
            Ok::<_, Error>(Page { rows: touches, next: rows.next })
        });
        read.await
    }

    /// Touches that wait for an operator, as far as the caller sees them: dead letters, and those of which nobody knows
    /// whether they were sent.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn stuck_touches(&self, caller: Caller, page: PageRequest) -> Result<Page<Touch>, Error> {
        let read = self.store.read(move |tx| {
            let rows = page.page(tx.scan(&STUCK, &page.scan(Scan::all())?)?)?;
            let ids: Vec<TouchId> = rows.rows.iter().map(|(id, ())| *id).collect();
            let touches = tx.get_many(&TOUCHES, &ids)?.into_iter().flatten();
            Ok::<_, Error>(Page { rows: touches.filter(|touch| caller.sees(touch.partner)).collect(), next: rows.next })
        });
        read.await
    }

    /// Tries a stuck touch again, from its first provider, through the gate as ever and with the same key.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] if it is not stuck, or so old that what it said was deleted.
    pub async fn retry_touch(&self, caller: Caller, once: Idempotency, id: TouchId) -> Result<Done<Touch>, Error> {
        let now = self.clock.now();
        let until = now.checked_add(SignedDuration::from_hours(RETRY_HOURS)).unwrap_or(Timestamp::MAX);
        self.unstick(caller, once, id, move |tx, touch| {
            if tx.get(&CONTENTS, &touch.id)?.is_none() {
                return Err(Error::field("/touch", "is so old that what it said was deleted: ask for a new one"));
            }
            (touch.tries, touch.providers_passed, touch.uncertain) = (0, 0, false);
            touch.expires = touch.expires.max(until);
            Ok(touch::shift(tx, touch, (State::Pending, touch.channel), Some(now))?)
        })
        .await
    }

    /// Gives a stuck touch up.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] if it is not stuck.
    pub async fn discard_touch(&self, caller: Caller, once: Idempotency, id: TouchId) -> Result<Done<Touch>, Error> {
        self.unstick(caller, once, id, |tx, touch| {
            // What may have been sent keeps its place in the member's day.
            if touch.state == State::Dead {
                touch::give_back(tx, touch)?;
            }
            Ok(touch::shift(tx, touch, (State::Dropped(DropReason::Discarded), touch.channel), None)?)
        })
        .await
    }

    /// Says that a touch of which nobody knew was sent.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] if it is not stuck.
    pub async fn confirm_touch(&self, caller: Caller, once: Idempotency, id: TouchId) -> Result<Done<Touch>, Error> {
        let now = self.clock.now();
        self.unstick(caller, once, id, move |tx, touch| {
            touch.sent_at = Some(now);
            Ok(touch::shift(tx, touch, (State::Sent, touch.channel), None)?)
        })
        .await
    }

    async fn unstick(
        &self,
        caller: Caller,
        once: Idempotency,
        id: TouchId,
        act: impl Fn(&mut Tx<'_>, &mut Touch) -> Result<(), Error> + Send + 'static,
    ) -> Result<Done<Touch>, Error> {
        let run = self.store.run(self.clock.now(), move |tx| {
            once.once(tx, |tx| {
                let mut touch = visible_touch(tx, caller, id)?;
                if !matches!(touch.state, State::Dead | State::Unknown) {
                    let state = touch.state;
                    return Err(Error::field(
                        "/touch",
                        format!("is {state}: only dead and unknown ones are decided on"),
                    ));
                }
                act(tx, &mut touch)?;
                Ok(touch)
            })
        });
        run.await
    }

    /// How many touches stand where, of one moment: for each class the candidates are the sum of all other columns.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn touch_totals(&self) -> Result<Vec<Total>, Error> {
        let rows = self.store.read(move |tx| {
            let mut sums: BTreeMap<(Class, Channel, u8), u64> = BTreeMap::new();
            let mut scan = Scan::all().limit(SCAN_ROWS_MAX);
            loop {
                let rows = tx.scan(&TOTALS, &scan)?;
                for ((class, channel, column, _), count) in &rows {
                    *sums.entry((*class, *channel, *column)).or_default() += count;
                }
                match rows.last() {
                    Some((key, _)) if rows.len() == SCAN_ROWS_MAX => {
                        scan = Scan::all().limit(SCAN_ROWS_MAX).after(key);
                    }
                    _ => return Ok::<_, Error>(sums),
                }
            }
        });
        let total =
            |((class, channel, column), count)| Some(Total { class, channel, column: Column::of_code(column)?, count });
        Ok(rows.await?.into_iter().filter_map(total).collect())
    }

    /// Members and templates that there are, before anything is sealed or written.
    async fn check_named(&self, caller: Caller, wanted: &[WantedTouch]) -> Result<(), Error> {
        let named: Vec<(MemberId, String)> = wanted.iter().map(|one| (one.member, one.template.clone())).collect();
        let read = self.store.read(move |tx| {
            let mut checks = Checks::default();
            for (at, (member, template)) in named.iter().enumerate() {
                let member = tx.get(&MEMBERS, member)?.filter(|member| caller.sees(member.partner));
                checks.require(member.is_some(), format!("/touches/{at}/member"), "does not exist");
                let template = tx.get(&TEMPLATES, template)?;
                checks.require(template.is_some(), format!("/touches/{at}/template"), "does not exist");
            }
            checks.finish()
        });
        read.await
    }
}

/// Asks for a touch in the caller's own transaction; the id of the touch that there is now. The gate decides later.
///
/// # Errors
///
/// [`Error::Unknown`] for a member or template that there is not.
pub(in crate::service) fn ask(tx: &mut Tx<'_>, now: Timestamp, one: &SealedTouch) -> Result<TouchId, Error> {
    let SealedTouch { id, wanted, sealed } = one;
    let template = tx.get(&TEMPLATES, &wanted.template)?;
    let template = template.ok_or_else(|| Error::unknown("template", &wanted.template))?;
    let member = tx.get(&MEMBERS, &wanted.member)?.ok_or_else(|| Error::unknown("member", wanted.member))?;
    let touch = Touch {
        id: *id,
        member: wanted.member,
        partner: member.partner,
        template: template.code,
        class: template.class,
        channel: template.channels.first().copied().unwrap_or(Channel::Sms),
        state: State::Pending,
        asked_at: now,
        due: wanted.due,
        expires: wanted.expires,
        queued: None,
        attempts: 0,
        tries: 0,
        providers_passed: 0,
        slot: None,
        uncertain: false,
        day: None,
        address: None,
        provider_id: None,
        language: None,
        version: None,
        note: None,
        sent_at: None,
        delivered_at: None,
        opened_at: None,
        clicked_at: None,
        failed_at: None,
        dedupe: wanted.dedupe.clone(),
    };
    Ok(touch::ask(tx, &touch, sealed)?)
}

fn visible_touch(tx: &mut Tx<'_>, caller: Caller, id: TouchId) -> Result<Touch, Error> {
    let touch = tx.get(&TOUCHES, &id)?.filter(|touch| caller.sees(touch.partner));
    touch.ok_or_else(|| Error::unknown("touch", id))
}

fn check(wanted: &[WantedTouch]) -> Result<(), Error> {
    let mut checks = Checks::default();
    checks.require((1..=BATCH_MAX).contains(&wanted.len()), "/touches", format!("must be 1 to {BATCH_MAX}"));
    for (at, one) in wanted.iter().take(BATCH_MAX).enumerate() {
        let pointer = |field: &str| format!("/touches/{at}/{field}");
        let key = (1..=128).contains(&one.dedupe.len()) && one.dedupe.bytes().all(|byte| byte.is_ascii_graphic());
        checks.require(key, pointer("dedupe"), "must be 1 to 128 visible ASCII characters");
        checks.require(one.expires > one.due, pointer("expires"), "must be later than `due`");
        let few = one.variables.len() <= VARIABLES_MAX;
        checks.require(few, pointer("variables"), format!("are at most {VARIABLES_MAX}"));
        let bytes: usize = one.variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        let fits = bytes <= VARIABLES_BYTES_MAX;
        checks.require(fits, pointer("variables"), format!("must have {VARIABLES_BYTES_MAX} bytes at most, together"));
        for (name, value) in one.variables.iter().take(VARIABLES_MAX) {
            let fits = value.chars().count() <= VALUE_CHARS_MAX && !value.chars().any(char::is_control);
            let message = format!("must be at most {VALUE_CHARS_MAX} characters, without control characters");
            checks.require(
                fits,
                pointer(&format!("variables/{}", name.replace('~', "~0").replace('/', "~1"))),
                message,
            );
        }
    }
    checks.finish()
}
