//! One delivery: what is due passes the gate and leaves, at most once, or waits, or ends.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    plan::{Plan, Seen, Terms, note, same, take_on},
    settle,
};
use crate::{
    domain::{
        channel::{Attempt, Failure},
        member::Member,
        touch::Channel,
    },
    ids::TouchId,
    reach::{
        carrier,
        gate::{Cleared, Verdict},
        tables::{QUEUE, TEMPLATES, TOUCHES},
        template,
        touch::{self, QUEUE_SHARDS, State, Touch},
    },
    service::{Error, Services, tables::MEMBERS},
    store::{SCAN_ROWS_MAX, Scan, Tx},
};

/// How often a touch is planned again because something moved under the plan.
const PLAN_TRIES: usize = 4;
/// What a lease has beyond the longest attempt, to record its end.
const LEASE_SPARE: SignedDuration = SignedDuration::from_secs(15);

/// What the transaction that may begin an attempt did.
enum Begun {
    /// Something moved since the plan was made.
    Moved,
    /// The touch waits or ended, as it stands now.
    Settled(Box<Touch>),
    /// The attempt with this number may begin, once.
    Cleared(Cleared, u32),
}

/// What became of a touch whose turn it was.
pub(super) enum End {
    /// It is somewhere else now.
    Moved,
    /// It stands where it stood: somebody else works on it, or it is not due any more.
    Stays,
    /// It goes by this channel, of which as many are under way as may be.
    Full(Channel),
}

impl Services {
    /// Ends the attempts that a crash cut off, without waiting for their leases: nobody else holds this store. Call once,
    /// before the first [`Services::deliver_always`]; how many there were.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn reclaim_touches(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let horizon = now.checked_add(self.lease() + SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
        let mut found = 0;
        for shard in 0..QUEUE_SHARDS {
            let mut last = None;
            loop {
                let read = self.store.read(move |tx| {
                    let scan = Scan::prefix(&shard).until(&(shard, horizon)).limit(SCAN_ROWS_MAX);
                    let scan = if let Some(last) = &last { scan.after(last) } else { scan };
                    let rows = tx.scan(&QUEUE, &scan)?;
                    let ids: Vec<TouchId> = rows.iter().map(|((_, _, id), ())| *id).collect();
                    let touches = tx.get_many(&TOUCHES, &ids)?;
                    Ok::<_, Error>((rows.last().map(|(key, ())| *key), touches, rows.len()))
                });
                let (end, touches, rows) = read.await?;
                for touch in touches.into_iter().flatten().filter(|touch| matches!(touch.state, State::Sending { .. }))
                {
                    if let Some(_held) = self.reach.hold(touch.id) {
                        self.lost(touch.id, touch.attempts).await?;
                        found += 1;
                    }
                }
                last = end;
                if rows < SCAN_ROWS_MAX {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// One touch, which has a place among those of `channel`; if it goes by another one, it needs a place there.
    pub(super) async fn deliver_one(
        &self,
        id: TouchId,
        mut channel: Channel,
        mut lane: OwnedSemaphorePermit,
    ) -> Result<End, Error> {
        let Some(_held) = self.reach.hold(id) else { return Ok(End::Stays) };
        for _ in 0..PLAN_TRIES {
            let now = self.clock.now();
            let Some(seen) = self.store.peek(move |tx| Seen::load(tx, id, now)).await? else { return Ok(End::Stays) };
            if let State::Sending { token, .. } = seen.touch.state {
                // Nobody here works on it, so whoever did is gone.
                self.lost(id, token).await?;
                return Ok(End::Moved);
            }
            let plan = self.plan(&seen, now).await?;
            if plan.carrier.is_some() && plan.channel != channel {
                let Some(other) = self.reach.lane(plan.channel) else { return Ok(End::Full(plan.channel)) };
                (lane, channel) = (other, plan.channel);
            }
            match self.begin(&seen.touch, &plan, now).await? {
                Begun::Moved => {}
                Begun::Settled(touch) => {
                    settle::count(&touch);
                    return Ok(End::Moved);
                }
                Begun::Cleared(cleared, token) => {
                    let attempt = self.attempt(cleared, &plan).await;
                    drop(lane);
                    self.settle(id, token, attempt, plan.more).await?;
                    return Ok(End::Moved);
                }
            }
        }
        Ok(End::Stays)
    }

    /// Asks the gate in the transaction that begins the attempt.
    async fn begin(&self, planned: &Touch, plan: &Plan, now: Timestamp) -> Result<Begun, Error> {
        let (planned, terms) = (planned.clone(), plan.terms(self));
        let lease = now.checked_add(self.lease()).unwrap_or(Timestamp::MAX);
        self.store.run(now, move |tx| begin(tx, &planned, &terms, now, lease)).await
    }

    /// Calls the carrier; an attempt that takes too long ends as unknown.
    async fn attempt(&self, cleared: Cleared, plan: &Plan) -> Attempt {
        let (Some(carrier), Some(message)) = (&plan.carrier, &plan.message) else {
            let failure = Failure { code: "no-message".to_owned(), message: "nothing to send".to_owned() };
            return Attempt::Rejected(failure);
        };
        let (now, nonce) = (self.clock.now(), self.ids.bytes());
        let sending = carrier::send(cleared, &**carrier, message, now, nonce);
        let attempt = match tokio::time::timeout(self.settings.reach.attempt_max, sending).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Unknown(Failure {
                code: "timeout".to_owned(),
                message: "the provider did not answer in time".to_owned(),
            }),
        };
        let outcome = match &attempt {
            Attempt::Accepted(_) => "accepted",
            Attempt::Rejected(_) => "rejected",
            Attempt::Retry(_) => "retry",
            Attempt::Unknown(_) => "unknown",
        };
        metrics::counter!("galenic_touch_attempts_total", "slot" => carrier.slot().to_owned(), "outcome" => outcome)
            .increment(1);
        attempt
    }

    fn lease(&self) -> SignedDuration {
        SignedDuration::try_from(self.settings.reach.attempt_max).unwrap_or(SignedDuration::from_mins(1)) + LEASE_SPARE
    }
}

fn begin(tx: &mut Tx<'_>, planned: &Touch, terms: &Terms, now: Timestamp, lease: Timestamp) -> Result<Begun, Error> {
    let Some(mut touch) = tx.get(&TOUCHES, &planned.id)? else { return Ok(Begun::Moved) };
    let member = tx.get(&MEMBERS, &touch.member)?.ok_or_else(|| Error::unknown("member", touch.member))?;
    if !same(&touch, planned) || !text_stands(tx, &touch, &member, terms)? {
        return Ok(Begun::Moved);
    }
    let template = tx.get(&TEMPLATES, &touch.template)?.ok_or_else(|| Error::unknown("template", &touch.template))?;
    let (verdict, day) = terms.judge(tx, &touch, &member, &template, now)?;
    if matches!(verdict, Verdict::AskGuard) {
        return Ok(Begun::Moved);
    }
    let repeats = terms.deduplicates && terms.slot == touch.slot;
    if touch.uncertain && !(matches!(verdict, Verdict::Pass(_)) && repeats) {
        // It may have gone already, and cannot go again now: only a person can tell.
        touch.note = Some(note("uncertain", "an attempt may have been taken, and it cannot be repeated"));
        let channel = touch.channel;
        touch::shift(tx, &mut touch, (State::Unknown, channel), None)?;
        return Ok(Begun::Settled(Box::new(touch)));
    }
    match verdict {
        Verdict::AskGuard => Ok(Begun::Moved),
        Verdict::Drop(reason) => {
            touch::give_back(tx, &mut touch)?;
            touch.note = terms.note.clone().or(touch.note);
            touch::shift(tx, &mut touch, (State::Dropped(reason), terms.channel), None)?;
            Ok(Begun::Settled(Box::new(touch)))
        }
        Verdict::Defer(reason, until) => {
            touch::give_back(tx, &mut touch)?;
            touch.note = terms.note.clone().or(touch.note);
            touch::shift(tx, &mut touch, (State::Deferred { reason, until }, terms.channel), Some(until))?;
            Ok(Begun::Settled(Box::new(touch)))
        }
        Verdict::Pass(cleared) => {
            if touch.class.capped() {
                touch::reserve(tx, &mut touch, day)?;
            }
            take_on(&mut touch, terms);
            let token = touch.attempts;
            let state = State::Sending { token, lease, deduplicates: terms.deduplicates };
            touch::shift(tx, &mut touch, (state, terms.channel), Some(lease))?;
            Ok(Begun::Cleared(cleared, token))
        }
    }
}

/// Whether the text that was rendered and reviewed is still the one that goes out to this member.
fn text_stands(tx: &mut Tx<'_>, touch: &Touch, member: &Member, terms: &Terms) -> Result<bool, Error> {
    let Some((language, version)) = terms.text else { return Ok(true) };
    let languages = template::languages(member.language);
    let approved = template::approved(tx, &touch.template, terms.channel, &languages)?;
    Ok(approved.is_some_and(|variant| (variant.language, variant.version) == (language, version)))
}
