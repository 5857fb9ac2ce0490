//! Patients: the persons for whom a member acts.

use axum::extract::{OriginalUri, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::member::Relation,
    http::{
        Api,
        extract::{Allowed, Json, Once, OnceHeader, PageQuery, Path, Query, needs},
        problem::Problem,
        reply::{List, Reply},
        views::{PatientView, RefillView, schema},
    },
    ids::MemberId,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(add, list)).routes(routes!(refills))
}

/// The patient to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPatientBody {
    /// How the patient relates to the member; every member is `itself` already.
    #[schema(schema_with = schema::relation)]
    relation: Relation,
}

/// A member's patients.
#[derive(Serialize, ToSchema)]
#[schema(as = Patients)]
struct PatientsView {
    /// The member among them.
    items: Vec<PatientView>,
}

/// Adds a patient under a member: at most 20.
#[utoipa::path(
    post, path = "/v1/members/{member}/patients", tag = "patients", security(("api_key" = ["members:write"])),
    params(OnceHeader), request_body = NewPatientBody,
    responses((status = 201, body = PatientView), (status = 410, description = "member-erased")),
)]
async fn add(
    State(api): State<Api>,
    caller: Allowed<needs::MembersWrite>,
    Path(member): Path<MemberId>,
    Once { key, body: Json(body), .. }: Once<Json<NewPatientBody>>,
) -> Result<Reply<PatientView>, Problem> {
    let done = api.services.add_patient(*caller, key, member, body.relation).await?;
    let location = format!("/v1/members/{member}/patients");
    Ok(Reply::created(done.value.into(), location).replayed(done.replayed))
}

/// Lists a member's patients, the member among them.
#[utoipa::path(
    get, path = "/v1/members/{member}/patients", tag = "patients", security(("api_key" = ["members:read"])),
    responses((status = 200, body = PatientsView)),
)]
async fn list(
    State(api): State<Api>,
    caller: Allowed<needs::MembersRead>,
    Path(member): Path<MemberId>,
) -> Result<Reply<PatientsView>, Problem> {
    let patients = api.services.patients_of(*caller, member).await?;
    Ok(Reply::ok(PatientsView { items: patients.into_iter().map(PatientView::from).collect() }))
}

/// Lists how long what was delivered to a member's patients lasts.
#[utoipa::path(
    get, path = "/v1/members/{member}/refills", tag = "patients", security(("api_key" = ["members:personal"])),
    params(PageQuery),
    responses((status = 200, body = List<RefillView>), (status = 410, description = "member-erased")),
)]
async fn refills(
    State(api): State<Api>,
    caller: Allowed<needs::MembersPersonal>,
    Path(member): Path<MemberId>,
    Query(page): Query<PageQuery>,
    uri: OriginalUri,
) -> Result<List<RefillView>, Problem> {
    let page = api.services.refills(*caller, member, page.request()?).await?;
    Ok(List::new(page, &uri, RefillView::from))
}
