//! Birthdays and anniversaries of members who joined before there were any: a job that runs once, at the first start.
//!
//! It walks all members. A birthday is sealed in the vault, so profiles are opened in between two transactions, a bounded
//! page at a time, and what is written is checked against the profile that was opened. Nobody is told of a day that was
//! past before the job came to them.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};

use super::{
    jobs::{JobKind, Turn, members_page},
    occasions,
};
use crate::{
    domain::member::MemberState,
    ids::MemberId,
    scheduler::{
        jobs::{self, JobState, Step},
        schedules::Occurrence,
    },
    service::{
        Error, Services, Settings,
        facts::sealed_profile,
        tables::{MEMBERS, PROFILES},
    },
    store::Tx,
};

/// Members given their days in one step: up to four rows are written for each.
const MEMBERS_AT_ONCE: usize = 100;
/// How often a page is read again because a profile moved meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// A member who lacks a day.
struct Lacking {
    member: MemberId,
    /// The sealed profile of one who lacks a birthday.
    sealed: Option<Vec<u8>>,
    anniversary: bool,
}

/// What a member is given.
struct Given {
    member: MemberId,
    /// The birthday, and the profile that it was found in.
    birthday: Option<(Date, Vec<u8>)>,
    anniversary: bool,
}

impl Services {
    /// Begins the job unless it was ever done; one that runs goes on, one that was given up begins anew.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn ensure_occasions(&self) -> Result<(), Error> {
        let (now, name) = (self.clock.now(), JobKind::Occasions.name());
        let run = self.store.run(now, move |tx| {
            let last = jobs::last(tx, name)?;
            if last.is_none_or(|job| job.state == JobState::GivenUp) {
                jobs::begin(tx, name, Occurrence { at: now, local: false }, now)?;
            }
            Ok::<_, Error>(())
        });
        run.await
    }

    /// Gives a page of members the days that they lack.
    pub(super) async fn fill_occasions(&self, turn: Turn) -> Result<Option<Step>, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let cursor = turn.job.cursor.clone();
            let (lacking, step) = self.store.read(move |tx| page(tx, cursor.as_deref())).await?;
            let given: Vec<Given> = lacking.into_iter().map(|one| self.given(one)).collect::<Result<_, _>>()?;
            let (now, settings) = (turn.now, Arc::clone(&self.settings));
            let commit = self.commit_step(turn.clone(), move |tx| {
                let mut step = step.clone();
                for one in &given {
                    step.changed += u64::from(give(tx, one, now, &settings)?);
                }
                Ok(step)
            });
            match commit.await {
                Err(Error::Busy) => {}
                done => return done,
            }
        }
        Err(Error::Busy)
    }

    fn given(&self, Lacking { member, sealed, anniversary }: Lacking) -> Result<Given, Error> {
        let birthday = self.open_profile(member, sealed.as_deref())?.birthday;
        Ok(Given { member, birthday: birthday.zip(sealed), anniversary })
    }
}

/// Those of the next page who lack a day, and the step that the page makes.
fn page(tx: &mut Tx<'_>, cursor: Option<&[u8]>) -> Result<(Vec<Lacking>, Step), Error> {
    let (members, step) = members_page(tx, cursor, MEMBERS_AT_ONCE)?;
    let mut lacking = Vec::new();
    for member in members.into_iter().filter(|member| member.state == MemberState::Active) {
        let [birthday, anniversary] = occasions::lacking(tx, member.id)?;
        let sealed = if birthday { sealed_profile(tx, member.id)? } else { None };
        lacking.push(Lacking { member: member.id, sealed, anniversary });
    }
    Ok((lacking, step))
}

/// Whether anything was given. Who was erased meanwhile gets nothing, and whose profile moved is read again.
fn give(tx: &mut Tx<'_>, one: &Given, now: Timestamp, settings: &Settings) -> Result<bool, Error> {
    let member = tx.get(&MEMBERS, &one.member)?.filter(|member| member.state == MemberState::Active);
    let Some(member) = member else { return Ok(false) };
    let [no_birthday, no_anniversary] = occasions::lacking(tx, member.id)?;
    let birthday = one.birthday.as_ref().filter(|_| no_birthday);
    if let Some((birthday, sealed)) = birthday {
        if tx.get(&PROFILES, &member.id)?.as_ref() != Some(sealed) {
            return Err(Error::Busy);
        }
        occasions::set_birthday(tx, member.id, Some(*birthday), now, settings)?;
    }
    let anniversary = one.anniversary && no_anniversary;
    if anniversary {
        occasions::set_anniversary(tx, &member, now, settings)?;
    }
    Ok(birthday.is_some() || anniversary)
}

#[cfg(test)]
mod tests;
