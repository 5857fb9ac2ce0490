//! Patients: the persons for whom a member acts (用药人). The first one is the member, "self".

use super::{
    Caller, Done, Error, Idempotency, Services,
    members::{active_member, visible_member},
    tables::PATIENTS,
};
use crate::{
    domain::member::{Patient, Relation},
    ids::{MemberId, PatientId},
    store::{Scan, StoreError, Tx},
};

/// Patients of one member.
const PATIENTS_MAX: usize = 20;

impl Services {
    /// Adds a patient under a member.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a second self and for one patient too many, [`Error::Unknown`], [`Error::Erased`].
    pub async fn add_patient(
        &self,
        caller: Caller,
        once: Idempotency,
        member: MemberId,
        relation: Relation,
    ) -> Result<Done<Patient>, Error> {
        if relation == Relation::Itself {
            return Err(Error::field("/relation", "every member is a patient already: name another relation"));
        }
        let (now, id) = (self.clock.now(), self.ids.unordered());
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                active_member(tx, caller, member)?;
                if patients(tx, member)?.len() >= PATIENTS_MAX {
                    return Err(Error::field("", format!("a member has at most {PATIENTS_MAX} patients")));
                }
                let patient = Patient { id, member, relation };
                tx.put(&PATIENTS, &(member, id), &patient)?;
                Ok(patient)
            })
        });
        run.await
    }

    /// A member's patients, the member among them.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn patients_of(&self, caller: Caller, member: MemberId) -> Result<Vec<Patient>, Error> {
        let read = self.store.read(move |tx| {
            visible_member(tx, caller, member)?;
            Ok::<_, Error>(patients(tx, member)?)
        });
        read.await
    }
}

fn patients(tx: &mut Tx<'_>, member: MemberId) -> Result<Vec<Patient>, StoreError> {
    let rows = tx.scan(&PATIENTS, &Scan::prefix(&member).limit(PATIENTS_MAX))?;
    Ok(rows.into_iter().map(|(_, patient)| patient).collect())
}

/// A patient under this member.
///
/// # Errors
///
/// [`Error::Unknown`].
pub(super) fn known(tx: &mut Tx<'_>, member: MemberId, id: PatientId) -> Result<Patient, Error> {
    tx.get(&PATIENTS, &(member, id))?.ok_or_else(|| Error::unknown("patient", id))
}
