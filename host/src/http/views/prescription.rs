//! Patients and their prescriptions.

use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use utoipa::ToSchema;

use super::schema;
use crate::{
    domain::{
        member::{ExternalId, Patient, Relation},
        prescription::{Paper, Prescription, PrescriptionState},
    },
    ids::{KeyId, MemberId, OrderId, PartnerId, PatientId, PrescriptionId, ProductId},
    service::refills::Refill,
};

/// A person under a member (用药人).
#[derive(Serialize, ToSchema)]
#[schema(as = Patient)]
pub(crate) struct PatientView {
    #[schema(value_type = String)]
    id: PatientId,
    /// How the patient relates to the member; `itself` is the member.
    #[schema(schema_with = schema::relation)]
    relation: Relation,
}

/// A prescription, without personal data.
#[derive(Serialize, ToSchema)]
#[schema(as = Prescription)]
pub(crate) struct PrescriptionView {
    #[schema(value_type = String)]
    id: PrescriptionId,
    /// The partner that uploaded it.
    #[schema(value_type = String)]
    partner: PartnerId,
    /// What that partner calls it.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    /// The member who acts.
    #[schema(value_type = String)]
    member: MemberId,
    /// For whom it was written.
    #[schema(value_type = String)]
    patient: PatientId,
    /// The patient again, where the member acts for another.
    #[schema(value_type = Option<String>)]
    acting_for: Option<PatientId>,
    #[schema(schema_with = schema::prescription_state)]
    state: PrescriptionState,
    items: Vec<PrescribedItemView>,
    /// Reviewed before those that are not.
    urgent: bool,
    #[schema(value_type = String, format = DateTime)]
    uploaded_at: Timestamp,
    /// When a pharmacist is to have decided: service time alone counts.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    /// Not from here on.
    #[schema(value_type = String, format = DateTime)]
    valid_until: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    decided_at: Option<Timestamp>,
    /// The key that it was decided with.
    #[schema(value_type = Option<String>)]
    decided_by: Option<KeyId>,
    /// Why it was rejected.
    reason: Option<String>,
    /// The order that waits for the decision.
    #[schema(value_type = Option<String>)]
    waiting_order: Option<OrderId>,
    /// Moved by every write; also the `ETag`.
    revision: u64,
}

/// A product of a prescription.
#[derive(Serialize, ToSchema)]
#[schema(as = PrescribedItem)]
pub(crate) struct PrescribedItemView {
    #[schema(value_type = String)]
    product: ProductId,
    /// Items that may be bought.
    quantity: u32,
    /// Items that can still be bought.
    left: u32,
}

/// What a pharmacist looks at.
#[derive(Serialize, ToSchema)]
#[schema(as = PrescriptionPaper)]
pub(crate) struct PaperView {
    /// The patient's real name.
    name: String,
    /// The hospital or doctor.
    issuer: String,
    /// Where the image of it lies, as the partner refers to it.
    image: String,
}

impl From<Patient> for PatientView {
    fn from(patient: Patient) -> Self {
        Self { id: patient.id, relation: patient.relation }
    }
}

impl From<Prescription> for PrescriptionView {
    fn from(from: Prescription) -> Self {
        let item = |item: &crate::domain::prescription::PrescribedItem| PrescribedItemView {
            product: item.product,
            quantity: item.quantity,
            left: item.quantity - item.used.min(item.quantity),
        };
        Self {
            id: from.id,
            partner: from.partner,
            external_id: from.external_id,
            member: from.member,
            patient: from.patient,
            acting_for: from.acting_for,
            state: from.state,
            items: from.items.iter().map(item).collect(),
            urgent: from.urgent,
            uploaded_at: from.uploaded_at,
            due_at: from.due_at,
            issued_at: from.issued_at,
            valid_until: from.valid_until,
            decided_at: from.ruling.as_ref().map(|ruling| ruling.at),
            decided_by: from.ruling.as_ref().map(|ruling| ruling.by),
            reason: from.ruling.and_then(|ruling| ruling.reason),
            waiting_order: from.waiting,
            revision: from.revision.get(),
        }
    }
}

impl From<Paper> for PaperView {
    fn from(Paper { name, issuer, image }: Paper) -> Self {
        Self { name, issuer, image }
    }
}

/// How long a patient's supply of a product lasts.
#[derive(Serialize, ToSchema)]
#[schema(as = Refill)]
pub(crate) struct RefillView {
    #[schema(value_type = String)]
    patient: PatientId,
    #[schema(value_type = String)]
    product: ProductId,
    /// What the partner calls the product.
    #[schema(value_type = String)]
    external_id: ExternalId,
    /// The first day without it.
    #[schema(value_type = String, format = Date)]
    runs_out: Date,
    /// The day on which the event `refill-due` says so, or did.
    #[schema(value_type = String, format = Date)]
    remind_on: Date,
    /// Whether it did.
    told: bool,
    /// The order that was delivered last.
    #[schema(value_type = String)]
    order: OrderId,
}

impl From<Refill> for RefillView {
    fn from(Refill { patient, product, external_id, runs_out, remind_on, told, order }: Refill) -> Self {
        Self { patient, product, external_id, runs_out, remind_on, told, order }
    }
}
