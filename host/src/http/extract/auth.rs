//! Who calls, and whether the key may do it.
//!
//! [`authenticate`] looks the key up once for every request; a handler then names the scope it needs as the type of an
//! argument, [`Allowed`], so that the authorization of a route stands in its signature.

use std::{marker::PhantomData, net::SocketAddr, ops::Deref, time::Instant};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    http::{Api, limits::Counted, open::RECEIPTS, problem::Problem},
    service::{
        Caller,
        keys::{Scope, Scopes},
    },
};

/// The caller and what the key may do, as found by [`authenticate`].
#[derive(Clone, Copy)]
pub(crate) struct Authenticated {
    /// Who.
    pub(crate) caller: Caller,
    /// What the key may do.
    pub(crate) scopes: Scopes,
}

/// A scope as a type.
pub(crate) trait Needs: Send + Sync + 'static {
    /// The scope.
    const SCOPE: Scope;
}

/// The caller, proven to have scope `S`.
pub(crate) struct Allowed<S>(Caller, Scopes, PhantomData<S>);

impl<S> Allowed<S> {
    /// Whether the key may do this, too.
    pub(crate) fn also(&self, scope: Scope) -> bool {
        self.1.contains(scope)
    }
}

impl<S> Deref for Allowed<S> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

/// The scopes, each as the type that a handler's signature names.
pub(crate) mod needs {
    use super::{Needs, Scope};

    macro_rules! needs {
        ($($name:ident)*) => {$(
            #[doc = concat!("[`Scope::", stringify!($name), "`].")]
            pub(crate) struct $name;
            impl Needs for $name { const SCOPE: Scope = Scope::$name; }
        )*};
    }

    needs! {
        MembersRead MembersWrite CatalogueRead CatalogueWrite OffersRead OffersWrite CouponsRead CouponsWrite
        OrdersRead OrdersWrite PointsRead PointsWrite PluginsRead PluginsWrite KeysRead KeysWrite Operate MembersPersonal
        TouchesRead TouchesWrite ReachRead ReachWrite PrescriptionsRead PrescriptionsWrite PrescriptionsReview OffersApprove CodesRead
        ActivitiesWrite GiftsWrite GiftsManage Takeover Settle
    }
}

impl<S: Needs> FromRequestParts<Api> for Allowed<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let Some(found) = parts.extensions.get::<Authenticated>() else {
            return Err(unauthenticated("send an API key: `Authorization: Bearer <key>`", None));
        };
        if found.scopes.contains(S::SCOPE) {
            return Ok(Self(found.caller, found.scopes, PhantomData));
        }
        let scope = S::SCOPE.name();
        let problem =
            Problem::new(StatusCode::FORBIDDEN, "scope-missing", format!("the key lacks the scope `{scope}`"));
        let challenge = format!("Bearer realm=\"galenic\", error=\"insufficient_scope\", scope=\"{scope}\"");
        Err(problem.header(header::WWW_AUTHENTICATE, &challenge))
    }
}

/// Looks up the request's key, if it has one, and counts the request against its caller's rate.
pub(crate) async fn authenticate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let keyless = request.uri().path().starts_with(RECEIPTS);
    let authorization = request.headers().get(header::AUTHORIZATION).filter(|_| !keyless).cloned();
    let address = address(&request);
    let found = match find(&api, authorization).await {
        Ok(found) => found,
        Err(problem) => return limited(&api, address).unwrap_or_else(|| problem.into_response()),
    };
    let counted = found.map(|found| Counted::Key(found.caller.key)).or(address);
    let standing = counted.and_then(|who| api.limiter.take(who, Instant::now()));
    if let Some(refusal) = standing.and_then(|standing| standing.refusal()) {
        return refusal;
    }
    if let Some(found) = found {
        request.extensions_mut().insert(found);
    }
    let mut response = next.run(request).await;
    if let Some(standing) = standing {
        standing.write(response.headers_mut());
    }
    response
}

async fn find(api: &Api, authorization: Option<HeaderValue>) -> Result<Option<Authenticated>, Problem> {
    let Some(header) = authorization else { return Ok(None) };
    let secret = header.to_str().ok().and_then(|text| {
        let (scheme, secret) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    let Some(secret) = secret else {
        return Err(unauthenticated("the authorization is not `Bearer <key>`", Some("invalid_request")));
    };
    match api.services.authenticate(secret).await? {
        Some((caller, scopes)) => Ok(Some(Authenticated { caller, scopes })),
        None => Err(unauthenticated("the API key is unknown or was revoked", Some("invalid_token"))),
    }
}

fn address(request: &Request) -> Option<Counted> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| Counted::address(peer.0.ip()))
}

/// The refusal of one who tries wrong keys too fast.
fn limited(api: &Api, address: Option<Counted>) -> Option<Response> {
    api.limiter.take(address?, Instant::now()).and_then(|standing| standing.refusal())
}

fn unauthenticated(detail: &str, error: Option<&str>) -> Problem {
    let challenge = match error {
        Some(error) => format!("Bearer realm=\"galenic\", error=\"{error}\""),
        None => "Bearer realm=\"galenic\"".to_owned(),
    };
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail).header(header::WWW_AUTHENTICATE, &challenge)
}
