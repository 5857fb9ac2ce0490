//! Prescriptions: uploaded, read, listed. Pharmacists decide under `/ops/v1`.

use axum::extract::{OriginalUri, State};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::quotes::ProductBody;
use crate::{
    domain::{member::ExternalId, prescription::Paper},
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{PrescriptionView, input::Fields},
    },
    ids::{MemberId, PatientId, PrescriptionId},
    service::prescriptions::NewPrescription,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(upload)).routes(routes!(read)).routes(routes!(list_of_member))
}

/// The prescription to upload.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPrescriptionBody {
    /// What the partner calls it; unique.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    /// The member who acts.
    #[schema(value_type = String)]
    member: MemberId,
    /// For whom it was written; the member where it is not said.
    #[schema(value_type = Option<String>)]
    patient: Option<PatientId>,
    /// The patient's real name. With issuer and image it is stored sealed under the person's statutory key.
    name: String,
    /// The hospital or doctor.
    issuer: String,
    /// Where the image of it lies.
    image: String,
    /// When it was written; now where it is not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    issued_at: Option<Timestamp>,
    /// Reviewed before others; urgent products make it so, too.
    #[serde(default)]
    urgent: bool,
    /// At most 20, each product once.
    items: Vec<ProductBody>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfPatientQuery {
    /// Of this patient alone.
    #[param(value_type = Option<String>)]
    patient: Option<PatientId>,
    /// At most this many items; 50 where it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// As the page before gave it.
    cursor: Option<String>,
}

/// Uploads a prescription: it waits for a pharmacist, who is to decide within three hours of service time.
#[utoipa::path(
    post, path = "/v1/prescriptions", tag = "prescriptions", security(("api_key" = ["prescriptions:write"])),
    params(OnceHeader), request_body = NewPrescriptionBody,
    responses(
        (status = 201, body = PrescriptionView),
        (status = 409, description = "already-exists"),
        (status = 410, description = "member-erased"),
    ),
)]
async fn upload(
    State(api): State<Api>,
    caller: Allowed<needs::PrescriptionsWrite>,
    Once { key, body: Json(body), .. }: Once<Json<NewPrescriptionBody>>,
) -> Result<Reply<PrescriptionView>, Problem> {
    let mut fields = Fields::new(api.currency);
    let items = super::quotes::products(&api, *caller, &mut fields, "/items", body.items).await?;
    fields.finish()?;
    let new = NewPrescription {
        external_id: body.external_id,
        member: body.member,
        patient: body.patient,
        paper: Paper { name: body.name, issuer: body.issuer, image: body.image },
        issued_at: body.issued_at,
        urgent: body.urgent,
        items,
    };
    let done = api.services.upload_prescription(*caller, key, new).await?;
    let (location, revision) = (format!("/v1/prescriptions/{}", done.value.id), done.value.revision);
    Ok(Reply::created(done.value.into(), location).etag(revision).replayed(done.replayed))
}

/// Reads a prescription, without personal data.
#[utoipa::path(
    get, path = "/v1/prescriptions/{prescription}", tag = "prescriptions",
    security(("api_key" = ["prescriptions:read"])), responses((status = 200, body = PrescriptionView)),
)]
async fn read(
    State(api): State<Api>,
    caller: Allowed<needs::PrescriptionsRead>,
    Path(id): Path<PrescriptionId>,
) -> Result<Reply<PrescriptionView>, Problem> {
    let found = api.services.prescription(*caller, id).await?;
    let revision = found.revision;
    Ok(Reply::ok(found.into()).etag(revision))
}

/// Lists a member's prescriptions by patient, oldest first.
#[utoipa::path(
    get, path = "/v1/members/{member}/prescriptions", tag = "prescriptions",
    security(("api_key" = ["prescriptions:read"])), params(OfPatientQuery),
    responses((status = 200, body = List<PrescriptionView>)),
)]
async fn list_of_member(
    State(api): State<Api>,
    caller: Allowed<needs::PrescriptionsRead>,
    Path(member): Path<MemberId>,
    Query(query): Query<OfPatientQuery>,
    uri: OriginalUri,
) -> Result<List<PrescriptionView>, Problem> {
    let page = PageQuery::new(query.limit, query.cursor).request()?;
    let page = api.services.prescriptions_of(*caller, member, query.patient, page).await?;
    Ok(List::new(page, &uri, PrescriptionView::from))
}
