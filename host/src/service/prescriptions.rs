//! Prescriptions: uploaded by partners, decided by pharmacists, consumed by orders.
//!
//! What a person would be known by — real name, issuer, image — is sealed under the person's statutory key and lies beside
//! the row: it outlives the erasure of the profile, as the law wants. How orders consume a prescription is
//! `order::prescription`'s.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services, Settings,
    check::Checks,
    members::{active_member, visible_member},
    order::prescription::decided,
    patients,
    tables::{PAPERS, PRESCRIPTIONS, PRESCRIPTIONS_BY_EXTERNAL_ID, PRESCRIPTIONS_OF_PATIENT, PRODUCTS, REVIEW_QUEUE},
};
use crate::{
    domain::{
        member::{ExternalId, Member, Revision},
        prescription::{Paper, PrescribedItem, Prescription, PrescriptionState, Ruling},
    },
    events::{self, What},
    ids::{MemberId, PatientId, PrescriptionId, ProductId},
    members::vault::{KeyClass, VaultError},
    scheduler::{self, TimerKey, TimerKind},
    store::{Scan, StoreError, Tx},
};

const NAME_CHARS_MAX: usize = 64;
const ISSUER_CHARS_MAX: usize = 128;
const IMAGE_CHARS_MAX: usize = 512;
const REASON_CHARS_MAX: usize = 200;
/// Products on one prescription.
const ITEMS_MAX: usize = 20;
/// Items of one product.
const QUANTITY_MAX: u32 = 1_000;

/// The prescription to upload.
#[derive(Clone, Debug)]
pub struct NewPrescription {
    /// What the partner calls it.
    pub external_id: Option<ExternalId>,
    /// The member who acts.
    pub member: MemberId,
    /// For whom it was written; the member where it is not said.
    pub patient: Option<PatientId>,
    /// What a pharmacist looks at.
    pub paper: Paper,
    /// When it was written; now where it is not said.
    pub issued_at: Option<Timestamp>,
    /// Whether the partner wants it reviewed before others; urgent products make it so, too.
    pub urgent: bool,
    /// Products and items.
    pub items: Vec<(ProductId, u32)>,
}

impl Services {
    /// Takes a prescription in and puts it into the pharmacists' queue.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field, [`Error::Unknown`] for member, patient or a product,
    /// [`Error::Taken`] for an external id in use.
    pub async fn upload_prescription(
        &self,
        caller: Caller,
        once: Idempotency,
        new: NewPrescription,
    ) -> Result<Done<Prescription>, Error> {
        let now = self.clock.now();
        self.check_prescription(&new, now)?;
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        let member = self.member(caller, new.member).await?;
        let prescription = self.new_prescription(caller, &member, &new, now);
        let sealed = self.seal_paper(&prescription, &new.paper)?;
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                active_member(tx, caller, prescription.member)?;
                upload(tx, caller, prescription.clone(), &sealed)
            })
        });
        run.await
    }

    /// A prescription, without what is sealed.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn prescription(&self, caller: Caller, id: PrescriptionId) -> Result<Prescription, Error> {
        self.store.read(move |tx| seen(tx, caller, id)).await
    }

    /// What a pharmacist looks at.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Erased`] once its time of keeping is over.
    pub async fn prescription_paper(&self, caller: Caller, id: PrescriptionId) -> Result<Paper, Error> {
        let read = self.store.read(move |tx| {
            let prescription = seen(tx, caller, id)?;
            Ok::<_, Error>((prescription.member, tx.get(&PAPERS, &id)?.ok_or(Error::Erased)?))
        });
        let (member, sealed) = read.await?;
        let opened = self.vault.open(member, KeyClass::Statutory, associated(id).as_bytes(), &sealed);
        let plain = opened.map_err(super::members::destroyed_is_erased)?;
        minicbor::decode(&plain).map_err(|_| Error::Vault(VaultError::Tampered))
    }

    /// A member's prescriptions by patient, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the member, [`Error::Invalid`] for the page.
    pub async fn prescriptions_of(
        &self,
        caller: Caller,
        member: MemberId,
        patient: Option<PatientId>,
        page: PageRequest,
    ) -> Result<Page<Prescription>, Error> {
        let read = self.store.read(move |tx| {
            visible_member(tx, caller, member)?;
            let scan = match patient {
                Some(patient) => Scan::prefix(&(member, patient)),
                None => Scan::prefix(&member),
            };
            let rows = page.page(tx.scan(&PRESCRIPTIONS_OF_PATIENT, &page.scan(scan)?)?)?;
            let ids: Vec<PrescriptionId> = rows.rows.iter().map(|((_, _, id), ())| *id).collect();
            let found = tx.get_many(&PRESCRIPTIONS, &ids)?.into_iter().flatten();
            Ok::<_, Error>(Page { rows: found.filter(|row| caller.sees(row.partner)).collect(), next: rows.next })
        });
        read.await
    }

    /// What waits for a pharmacist, as far as the caller sees it: urgent ones first, then by when they are due.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for the page.
    pub async fn review_queue(&self, caller: Caller, page: PageRequest) -> Result<Page<Prescription>, Error> {
        let read = self.store.read(move |tx| {
            let rows = page.page(tx.scan(&REVIEW_QUEUE, &page.scan(Scan::all())?)?)?;
            let ids: Vec<PrescriptionId> = rows.rows.iter().map(|((_, _, id), ())| *id).collect();
            let found = tx.get_many(&PRESCRIPTIONS, &ids)?.into_iter().flatten();
            Ok::<_, Error>(Page { rows: found.filter(|row| caller.sees(row.partner)).collect(), next: rows.next })
        });
        read.await
    }

    /// Records what a pharmacist decided: approved, or rejected for a reason. An order that waits for it gets its time to
    /// be paid, or gives back all it held.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for the reason, [`Error::Unknown`], [`Error::PrescriptionNotUsable`] if it was decided or its
    /// time is over.
    pub async fn decide_prescription(
        &self,
        caller: Caller,
        once: Idempotency,
        id: PrescriptionId,
        rejected: Option<String>,
    ) -> Result<Done<Prescription>, Error> {
        let now = self.clock.now();
        let mut checks = Checks::default();
        if let Some(reason) = &rejected {
            checks.text("/reason", reason, REASON_CHARS_MAX);
        }
        checks.finish()?;
        let settings = Arc::clone(&self.settings);
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let mut found = seen(tx, caller, id)?;
                let why = match found.state {
                    PrescriptionState::UnderReview if found.valid_until > now => None,
                    PrescriptionState::UnderReview | PrescriptionState::Expired => Some("it has expired"),
                    PrescriptionState::Approved | PrescriptionState::Rejected => Some("it was decided before"),
                };
                if let Some(why) = why {
                    return Err(Error::PrescriptionNotUsable { prescription: id.to_string(), why });
                }
                found.ruling = Some(Ruling { at: now, by: caller.key, reason: rejected.clone() });
                let (state, what) = match rejected {
                    None => (PrescriptionState::Approved, What::PrescriptionApproved(id)),
                    Some(_) => (PrescriptionState::Rejected, What::PrescriptionRejected(id)),
                };
                leave_queue(tx, &mut found, state)?;
                decided(tx, &mut found, now, &settings)?;
                events::append(tx, found.member, [what])?;
                Ok(found)
            })
        });
        run.await
    }

    fn check_prescription(&self, new: &NewPrescription, now: Timestamp) -> Result<(), Error> {
        let mut checks = Checks::default();
        checks.text("/name", &new.paper.name, NAME_CHARS_MAX);
        checks.text("/issuer", &new.paper.issuer, ISSUER_CHARS_MAX);
        checks.text("/image", &new.paper.image, IMAGE_CHARS_MAX);
        let items = (1..=ITEMS_MAX).contains(&new.items.len());
        checks.require(items, "/items", format!("a prescription has 1 to {ITEMS_MAX} items"));
        for (i, (product, quantity)) in new.items.iter().take(ITEMS_MAX).enumerate() {
            let fits = (1..=QUANTITY_MAX).contains(quantity);
            checks.require(fits, format!("/items/{i}/quantity"), format!("must be 1 to {QUANTITY_MAX}"));
            let again = new.items[..i].iter().any(|(other, _)| other == product);
            checks.require(!again, format!("/items/{i}"), "the product is named twice: add the quantities");
        }
        if let Some(at) = new.issued_at {
            let oldest = now.checked_sub(self.settings.orders.prescription_valid).unwrap_or(Timestamp::MIN);
            checks.require(at <= now, "/issued_at", "must not lie in the future");
            checks.require(at > oldest, "/issued_at", format!("it has expired: must be after {oldest}"));
        }
        checks.finish()
    }

    fn new_prescription(&self, caller: Caller, member: &Member, new: &NewPrescription, now: Timestamp) -> Prescription {
        let (orders, issued_at) = (&self.settings.orders, new.issued_at.unwrap_or(now));
        let patient = new.patient.unwrap_or(member.self_patient);
        let item =
            |(product, quantity): &(ProductId, u32)| PrescribedItem { product: *product, quantity: *quantity, used: 0 };
        Prescription {
            id: self.ids.ordered(now),
            partner: caller.partner,
            external_id: new.external_id.clone(),
            member: new.member,
            patient,
            acting_for: (patient != member.self_patient).then_some(patient),
            items: new.items.iter().map(item).collect(),
            urgent: new.urgent,
            uploaded_at: now,
            due_at: orders.service_hours.after(now, orders.review_within, &self.settings.zone),
            issued_at,
            valid_until: issued_at.checked_add(orders.prescription_valid).unwrap_or(Timestamp::MAX),
            state: PrescriptionState::UnderReview,
            ruling: None,
            waiting: None,
            revision: Revision::FIRST,
        }
    }

    fn seal_paper(&self, prescription: &Prescription, paper: &Paper) -> Result<Vec<u8>, Error> {
        let plain = minicbor::to_vec(paper)
            .map_err(|error| StoreError::Encode { table: PAPERS.name(), reason: error.to_string().into() })?;
        let (member, place) = (prescription.member, associated(prescription.id));
        Ok(self.vault.seal(member, KeyClass::Statutory, place.as_bytes(), &plain, self.ids.bytes())?)
    }
}

/// Where sealed bytes belong: they open in no other row.
fn associated(id: PrescriptionId) -> String {
    format!("{}/{id}", PAPERS.name())
}

fn seen(tx: &mut Tx<'_>, caller: Caller, id: PrescriptionId) -> Result<Prescription, Error> {
    let found = tx.get(&PRESCRIPTIONS, &id)?.filter(|found| caller.sees(found.partner));
    found.ok_or_else(|| Error::unknown("prescription", id))
}

fn upload(tx: &mut Tx<'_>, caller: Caller, mut new: Prescription, sealed: &[u8]) -> Result<Prescription, Error> {
    patients::known(tx, new.member, new.patient)?;
    let products: Vec<ProductId> = new.items.iter().map(|item| item.product).collect();
    for (product, id) in tx.get_many(&PRODUCTS, &products)?.into_iter().zip(&products) {
        let product = product.filter(|product| caller.sees(product.partner));
        new.urgent |= product.ok_or_else(|| Error::unknown("product", id))?.urgent;
    }
    if let Some(name) = &new.external_id {
        let key = (new.partner, name.as_str().to_owned());
        if let Some(other) = tx.get(&PRESCRIPTIONS_BY_EXTERNAL_ID, &key)? {
            return Err(Error::Taken { what: "prescription", name: name.clone(), id: other.to_string() });
        }
        tx.put(&PRESCRIPTIONS_BY_EXTERNAL_ID, &key, &new.id)?;
    }
    tx.put(&PRESCRIPTIONS, &new.id, &new)?;
    tx.put(&PAPERS, &new.id, &sealed.to_vec())?;
    tx.put(&PRESCRIPTIONS_OF_PATIENT, &(new.member, new.patient, new.id), &())?;
    tx.put(&REVIEW_QUEUE, &(!new.urgent, new.due_at, new.id), &())?;
    scheduler::schedule(tx, TimerKey::new(new.valid_until, TimerKind::PrescriptionExpires, new.id))?;
    events::append(tx, new.member, [What::PrescriptionUploaded(new.id)])?;
    Ok(new)
}

/// Takes a prescription out of the queue, in another state.
fn leave_queue(tx: &mut Tx<'_>, found: &mut Prescription, state: PrescriptionState) -> Result<(), Error> {
    tx.delete(&REVIEW_QUEUE, &(!found.urgent, found.due_at, found.id))?;
    found.state = state;
    Ok(())
}

/// Ends a prescription whose time is over, with the order that still waits for its review: the timer's work.
///
/// # Errors
///
/// Those of the ledger.
pub(super) fn expire(tx: &mut Tx<'_>, id: PrescriptionId, now: Timestamp, settings: &Settings) -> Result<(), Error> {
    let Some(mut found) = tx.get(&PRESCRIPTIONS, &id)? else { return Ok(()) };
    if !matches!(found.state, PrescriptionState::UnderReview | PrescriptionState::Approved) {
        return Ok(());
    }
    let unused = found.items.iter().any(|item| item.used < item.quantity) || found.waiting.is_some();
    leave_queue(tx, &mut found, PrescriptionState::Expired)?;
    decided(tx, &mut found, now, settings)?;
    if unused {
        events::append(tx, found.member, [What::PrescriptionExpired(id)])?;
    }
    Ok(())
}
