//! What channels reach through: HTTP requests, signatures and mail, each as far as a release was granted it.
//!
//! [`link`] offers the three interfaces to guests; what a guest may do with them stands in the [`Session`] that the host
//! puts into its store for the length of one call. A secret never enters a sandbox: it signs here, or is put into a
//! header here.
//!
//! An error says whether something may have left the host, because that decides whether an attempt may be repeated.

mod address;
mod http;
mod mail;
mod script;
mod secret;
mod tls;
pub(super) mod wire;

use std::{collections::BTreeMap, fmt, io, net::IpAddr, sync::Arc};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wasmtime::{StoreContextMut, component::Linker};

pub(super) use self::script::{Script, Step};
use self::{http::Clients, mail::MailServer};
pub use self::{
    mail::{SmtpServer, SmtpTls},
    secret::Secret,
    tls::Roots,
};
use super::{
    budget::{Grants, HttpGrant},
    module::Module,
    release::ReleaseError,
    sandbox::Guest,
};
use crate::domain::rule::Kind;

/// Outbound calls within one call of a channel.
const CALLS_MAX: u32 = 16;
/// Hosts, and secrets, that one release can be granted.
const GRANTS_MAX: usize = 16;

/// Finds the addresses of a name.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// What channels reach through, as the host is configured.
#[derive(Clone)]
pub struct Outbound {
    /// Secrets by name.
    pub secrets: BTreeMap<String, Secret>,
    /// SMTP servers by name.
    pub smtp: BTreeMap<String, SmtpServer>,
    /// Trusted by `https` beside the machine's authorities. A mail server has its own.
    pub roots: Roots,
    /// Finds addresses; `None` asks the system.
    pub lookup: Option<Lookup>,
}

impl Outbound {
    /// No secret, no server, nobody trusted whom the machine does not trust.
    pub const fn none() -> Self {
        Self { secrets: BTreeMap::new(), smtp: BTreeMap::new(), roots: Roots::none(), lookup: None }
    }
}

impl fmt::Debug for Outbound {
    /// Names, never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("secrets", &self.secrets.keys())
            .field("smtp", &self.smtp)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// Makes rustls work with ring, for every client of this process. Calling it again changes nothing.
pub fn use_ring() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}

/// An interface that a channel may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Import {
    Http,
    Secrets,
    Mail,
}

impl Import {
    pub(super) const ALL: [Self; 3] = [Self::Http, Self::Secrets, Self::Mail];

    pub(super) const fn interface(self) -> &'static str {
        match self {
            Self::Http => "galenic:plugin/outbound-http@0.1.0",
            Self::Secrets => "galenic:plugin/secrets@0.1.0",
            Self::Mail => "galenic:plugin/outbound-mail@0.1.0",
        }
    }

    pub(super) const fn function(self) -> &'static str {
        match self {
            Self::Http => "fetch",
            Self::Secrets => "hmac",
            Self::Mail => "send",
        }
    }
}

/// A guest called out when it may not.
#[derive(Debug, thiserror::Error)]
#[error("it called `{0}` while it was described or configured")]
pub(super) struct NotNow(&'static str);

/// Offers the interfaces to guests that import them.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(Import::Http.interface())?.func_wrap_async(
        Import::Http.function(),
        |mut store: StoreContextMut<'_, Guest>, (request,): (wire::Request,)| {
            Box::new(async move { Ok((session(&mut store, Import::Http)?.fetch(request).await,)) })
        },
    )?;
    linker.instance(Import::Secrets.interface())?.func_wrap_async(
        Import::Secrets.function(),
        |mut store: StoreContextMut<'_, Guest>, (name, algorithm, parts): (String, wire::Algorithm, Vec<Vec<u8>>)| {
            Box::new(async move { Ok((session(&mut store, Import::Secrets)?.hmac(&name, algorithm, &parts),)) })
        },
    )?;
    linker.instance(Import::Mail.interface())?.func_wrap_async(
        Import::Mail.function(),
        |mut store: StoreContextMut<'_, Guest>, (mail,): (wire::Mail,)| {
            Box::new(async move { Ok((session(&mut store, Import::Mail)?.mail(mail).await,)) })
        },
    )
}

fn session<'a>(store: &'a mut StoreContextMut<'_, Guest>, import: Import) -> Result<&'a mut Session, NotNow> {
    store.data_mut().session.as_mut().ok_or(NotNow(import.interface()))
}

/// Channels wait for others and hold a sandbox meanwhile: never more than half of all there are.
fn places(sandboxes: u32) -> u32 {
    (sandboxes / 2).max(1)
}

/// How many calls of one channel's release may be under way in an engine of so many sandboxes: three quarters of all
/// channels' calls.
pub fn places_per_release(sandboxes: u32) -> u32 {
    (places(sandboxes) * 3 / 4).max(1)
}

/// The host's side of all channels: connections, secrets, servers.
pub(super) struct Egress {
    secrets: BTreeMap<String, Secret>,
    smtp: BTreeMap<String, MailServer>,
    clients: Clients,
    places: Arc<Semaphore>,
    per_release: usize,
}

impl Egress {
    pub(super) fn new(outbound: Outbound, sandboxes: u32) -> Self {
        use_ring();
        Self {
            secrets: outbound.secrets,
            smtp: outbound.smtp.into_iter().map(|(name, server)| (name, MailServer::new(server))).collect(),
            clients: Clients::new(outbound.lookup, outbound.roots),
            places: Arc::new(Semaphore::new(places(sandboxes) as usize)),
            per_release: places_per_release(sandboxes) as usize,
        }
    }

    /// Places of one release, then those among all channels: a release whose vendor never answers leaves some to the
    /// others.
    pub(super) fn places(&self) -> [Arc<Semaphore>; 2] {
        [Arc::new(Semaphore::new(self.per_release)), Arc::clone(&self.places)]
    }

    /// Refuses a release that was not granted what its module imports, or was granted what does not exist.
    pub(super) fn check(&self, module: &Module, grants: &Grants) -> Result<(), ReleaseError> {
        let wrong = |pointer: &str, why: String| Err(ReleaseError::Grant { pointer: pointer.to_owned(), why });
        let none = grants.http.is_empty() && grants.secrets.is_empty() && grants.mail.is_none();
        if module.kind() != Kind::Channel && !none {
            return wrong(
                "/grants",
                format!("a {} reaches nothing; grant http, secrets and mail to channels", module.kind().name()),
            );
        }
        let imports = |import| module.imports.contains(&import);
        if imports(Import::Http) && grants.http.is_empty() {
            let fix = r#"grant the vendor's place as `{"scheme": "https", "host": "…", "port": 443}`"#;
            return wrong("/grants/http", format!("the plugin imports outbound-http and was granted no host; {fix}"));
        }
        if imports(Import::Mail) && grants.mail.is_none() {
            return wrong(
                "/grants/mail",
                "the plugin imports outbound-mail; grant a server of `[smtp.NAME]` by its name".to_owned(),
            );
        }
        if imports(Import::Secrets) && grants.secrets.is_empty() {
            return wrong(
                "/grants/secrets",
                "the plugin imports secrets; grant those it signs with by their names".to_owned(),
            );
        }
        if grants.http.len() > GRANTS_MAX || grants.secrets.len() > GRANTS_MAX {
            return wrong("/grants", format!("at most {GRANTS_MAX} hosts and {GRANTS_MAX} secrets"));
        }
        for (at, grant) in grants.http.iter().enumerate() {
            if let Err(why) = http::check_grant(grant) {
                return wrong(&format!("/grants/http/{at}"), why);
            }
        }
        for (at, name) in grants.secrets.iter().enumerate() {
            if !self.secrets.contains_key(name) {
                let variable = name.to_uppercase().replace('-', "_");
                let why = format!(
                    "there is no secret `{}`; start the host with GALENIC_SECRET_{variable}",
                    name.escape_debug()
                );
                return wrong(&format!("/grants/secrets/{at}"), why);
            }
        }
        match grants.mail.as_ref().filter(|name| !self.smtp.contains_key(*name)) {
            Some(name) => {
                wrong("/grants/mail", format!("the configuration has no section `[smtp.{}]`", name.escape_debug()))
            }
            None => Ok(()),
        }
    }
}

/// Where outbound calls go.
#[derive(Clone)]
pub(super) enum Via {
    /// Out.
    Network,
    /// To a case, which answers in the vendor's place.
    Script(Arc<Script>),
}

/// What one call of a channel may reach, and whether something may have left the host.
pub(super) struct Session {
    egress: Arc<Egress>,
    grants: Arc<Grants>,
    via: Via,
    /// When outbound calls end, so that the guest still has time to say what came of them.
    until: Instant,
    /// Requests and mails may leave; otherwise only signatures are made.
    sends: bool,
    calls: u32,
    /// A request or a mail may have left.
    pub(super) began: bool,
    /// Given back when the call ends.
    _places: Vec<OwnedSemaphorePermit>,
}

impl Session {
    pub(super) fn new(
        egress: Arc<Egress>,
        grants: Arc<Grants>,
        via: Via,
        until: Instant,
        sends: bool,
        places: Vec<OwnedSemaphorePermit>,
    ) -> Self {
        Self { egress, grants, via, until, sends, calls: 0, began: false, _places: places }
    }

    /// Counts a call out and says why it may not be made.
    fn may_call(&mut self) -> Result<(), String> {
        self.calls += 1;
        if !self.sends {
            return Err("nothing is sent while a report is read".to_owned());
        }
        if self.calls > CALLS_MAX {
            return Err(format!("more than {CALLS_MAX} outbound calls for one message"));
        }
        Ok(())
    }

    async fn fetch(&mut self, request: wire::Request) -> Result<wire::Response, wire::HttpError> {
        self.may_call().map_err(wire::HttpError::Denied)?;
        if let Via::Script(script) = &self.via {
            let answer = script.fetch(&request);
            self.began |= !matches!(answer, Err(wire::HttpError::Denied(_) | wire::HttpError::Unreachable(_)));
            return answer;
        }
        let (secrets, grants) = (&self.egress.secrets, &self.grants);
        let secret = |name: &str| granted(secrets, grants, name);
        let (request, private) = http::check(request, &grants.http, &secret).map_err(wire::HttpError::Denied)?;
        let before = std::mem::replace(&mut self.began, true);
        let answer = self.egress.clients.fetch(request, private, self.until).await;
        if let Err(wire::HttpError::Denied(_) | wire::HttpError::Unreachable(_)) = answer {
            self.began = before;
        }
        answer
    }

    async fn mail(&mut self, mail: wire::Mail) -> Result<String, wire::MailError> {
        self.may_call().map_err(wire::MailError::Denied)?;
        if let Via::Script(script) = &self.via {
            let answer = script.mail(&mail);
            self.began |= matches!(answer, Ok(_) | Err(wire::MailError::Broken(_)));
            return answer;
        }
        let server = self.grants.mail.as_ref().and_then(|name| self.egress.smtp.get(name));
        let Some(server) = server else {
            return Err(wire::MailError::Denied("no SMTP server is granted".to_owned()));
        };
        let before = std::mem::replace(&mut self.began, true);
        let answer = server.send(mail, &self.egress.secrets, self.until).await;
        if !matches!(answer, Ok(_) | Err(wire::MailError::Broken(_))) {
            self.began = before;
        }
        answer
    }

    fn hmac(&self, name: &str, algorithm: wire::Algorithm, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        match &self.via {
            Via::Script(script) => script.hmac(name, algorithm, parts),
            Via::Network => granted(&self.egress.secrets, &self.grants, name)?.hmac(algorithm, parts),
        }
    }
}

/// A secret, if it was granted.
fn granted<'a>(secrets: &'a BTreeMap<String, Secret>, grants: &Grants, name: &str) -> Result<&'a Secret, String> {
    let secret = secrets.get(name).filter(|_| grants.secrets.iter().any(|granted| granted == name));
    secret.ok_or_else(|| format!("the secret `{}` is not granted", name.escape_debug().take(64).collect::<String>()))
}

/// Whether a request to this place is granted.
fn grant_for<'a>(grants: &'a [HttpGrant], scheme: &str, host: &str, port: u16) -> Option<&'a HttpGrant> {
    grants.iter().find(|grant| grant.scheme == scheme && grant.host == host && grant.port == port)
}
