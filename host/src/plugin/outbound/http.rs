//! HTTP requests: checked against the grants, sent to an address that was checked, answered within limits.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::OnceLock,
    time::Duration,
};

use reqwest::{
    Certificate, Client, Method, Request, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::time::Instant;

use super::{
    Lookup, Secret,
    address::is_public,
    grant_for,
    tls::{self, Roots},
    wire::{self, HttpError, Response},
};
use crate::plugin::budget::HttpGrant;

/// The largest body, of a request and of an answer.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Headers of a request, and what they may take together.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 << 10;
const URL_BYTES_MAX: usize = 8 << 10;
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Connections to one host that wait for the next request, and for how long.
const IDLE_PER_HOST_MAX: usize = 64;
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Where an operator adds authorities.
const CA_SETTING: &str = "outbound.ca_files";

/// Headers that are the host's, or the connection's.
const OWN_HEADERS: [&str; 11] = [
    "host",
    "content-length",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// A name resolved to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves to {0}, which is not public; grant it with `\"private\": true` if it is meant")]
struct NotPublic(IpAddr);

/// Resolves a name once per connection and hands out checked addresses alone: what is connected to is what was checked.
struct Checked {
    lookup: Option<Lookup>,
    private: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, private) = (self.lookup.clone(), self.private);
        Box::pin(async move {
            let find = move || match lookup {
                Some(lookup) => lookup(name.as_str()),
                None => (name.as_str(), 0).to_socket_addrs().map(|all| all.map(|address| address.ip()).collect()),
            };
            let found = tokio::task::spawn_blocking(find).await.map_err(io::Error::other)??;
            if let Some(inner) = found.iter().find(|address| !private && !is_public(**address)) {
                return Err(NotPublic(*inner).into());
            }
            // The port is the URL's.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// The connections: a pool for public hosts and one for granted private ones, so that no checked connection serves a
/// host that was granted less.
pub(super) struct Clients {
    lookup: Option<Lookup>,
    roots: Roots,
    public: OnceLock<Client>,
    private: OnceLock<Client>,
}

impl Clients {
    pub(super) const fn new(lookup: Option<Lookup>, roots: Roots) -> Self {
        Self { lookup, roots, public: OnceLock::new(), private: OnceLock::new() }
    }

    /// Made at the first request: reading the machine's certificates takes a while.
    fn client(&self, private: bool) -> reqwest::Result<&Client> {
        let place = if private { &self.private } else { &self.public };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let roots: Vec<Certificate> = self.roots.der().map(Certificate::from_der).collect::<Result<_, _>>()?;
        let client = Client::builder()
            .tls_certs_merge(roots)
            .dns_resolver(Checked { lookup: self.lookup.clone(), private })
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .tcp_nodelay(true)
            .build()?;
        Ok(place.get_or_init(|| client))
    }

    /// Sends a request that was checked.
    pub(super) async fn fetch(&self, request: Request, private: bool, until: Instant) -> Result<Response, HttpError> {
        if Instant::now() >= until {
            return Err(HttpError::Unreachable("no time is left".to_owned()));
        }
        let client = self.client(private).map_err(|error| HttpError::Unreachable(error.to_string()))?;
        let exchange = async {
            let answer = client.execute(request).await.map_err(explain)?;
            read(answer).await
        };
        tokio::time::timeout_at(until, exchange).await.unwrap_or(Err(HttpError::Timeout))
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Response, HttpError> {
    let status = answer.status().as_u16();
    let text = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
    let headers = answer.headers().iter().filter_map(text).collect();
    if answer.content_length().is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(HttpError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(explain)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, headers, body })
}

/// What an error says about whether the request may have arrived. The URL stays out of it: it may name a person.
fn explain(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if let Some(inner) = tls::chain(&error).find_map(|cause| cause.downcast_ref::<NotPublic>()) {
        return HttpError::Denied(inner.to_string());
    }
    let why = tls::why(&error, CA_SETTING);
    let why = why.or_else(|| tls::chain(&error).last().map(ToString::to_string)).unwrap_or_default();
    if error.is_builder() {
        HttpError::Denied(why)
    } else if error.is_connect() {
        HttpError::Unreachable(why)
    } else if error.is_timeout() {
        HttpError::Timeout
    } else if tls::chain(&error).any(|cause| cause.downcast_ref().is_some_and(hyper::Error::is_parse)) {
        HttpError::Broken("the server does not speak HTTP on this port; does it want https?".to_owned())
    } else {
        HttpError::Broken(why)
    }
}

/// Whether a grant can be met at all.
pub(super) fn check_grant(grant: &HttpGrant) -> Result<(), String> {
    let HttpGrant { scheme, host, port, private } = grant;
    if scheme != "https" && scheme != "http" {
        return Err(format!("the scheme `{}` must be https or http", scheme.escape_debug()));
    }
    if *port == 0 {
        return Err("the port must be 1 to 65535".to_owned());
    }
    let wrong = || format!("`{}` must be a host in lower case, without port and path", host.escape_debug());
    let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|_| wrong())?;
    if url.host_str() != Some(host) || url.port().is_some() || host.is_empty() {
        return Err(wrong());
    }
    match literal(&url).filter(|address| !private && !is_public(*address)) {
        Some(address) => Err(NotPublic(address).to_string()),
        None => Ok(()),
    }
}

/// The address that a URL names instead of a name: no resolver sees it.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// The request as it will be sent, and whether it may go to a private address.
pub(super) fn check<'a>(
    from: wire::Request,
    grants: &[HttpGrant],
    secret: &dyn Fn(&str) -> Result<&'a Secret, String>,
) -> Result<(Request, bool), String> {
    let method = match from.method.as_str() {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        _ => return Err("the method must be GET, POST, PUT, PATCH or DELETE".to_owned()),
    };
    if from.url.len() > URL_BYTES_MAX {
        return Err(format!("the URL has {} bytes, at most {URL_BYTES_MAX}", from.url.len()));
    }
    if from.url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err("the URL holds a blank or a control character; percent-encode it".to_owned());
    }
    let url = Url::parse(&from.url).map_err(|error| format!("the URL is not absolute: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds a user; use `secret-headers`".to_owned());
    }
    let (host, port) = (url.host_str().unwrap_or(""), url.port_or_known_default().unwrap_or(0));
    let Some(grant) = grant_for(grants, url.scheme(), host, port) else {
        return Err(format!("{}://{host}:{port} is not granted", url.scheme()));
    };
    if let Some(address) = literal(&url).filter(|address| !grant.private && !is_public(*address)) {
        return Err(NotPublic(address).to_string());
    }
    if from.body.len() > BODY_BYTES_MAX {
        return Err(format!("the body has {} bytes, at most {BODY_BYTES_MAX}", from.body.len()));
    }
    let mut request = Request::new(method, url);
    *request.headers_mut() = headers(&from, secret)?;
    if !from.body.is_empty() {
        *request.body_mut() = Some(from.body.into());
    }
    Ok((request, grant.private))
}

fn headers<'a>(from: &wire::Request, secret: &dyn Fn(&str) -> Result<&'a Secret, String>) -> Result<HeaderMap, String> {
    let all = || from.headers.iter().chain(&from.secret_headers);
    let bytes: usize = all().map(|(name, value)| name.len() + value.len()).sum();
    if all().count() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(format!("at most {HEADERS_MAX} headers of {HEADER_BYTES_MAX} bytes together"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &from.headers {
        let value = HeaderValue::from_str(value);
        let value =
            value.map_err(|_| format!("the value of the header `{}` is not plain text", name.escape_debug()))?;
        headers.append(header_name(name)?, value);
    }
    for (name, from) in &from.secret_headers {
        let value = HeaderValue::from_str(secret(from)?.text());
        let mut value = value.map_err(|_| "the secret cannot stand in a header".to_owned())?;
        value.set_sensitive(true);
        headers.append(header_name(name)?, value);
    }
    Ok(headers)
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{}` is no name of a header", name.escape_debug()))?;
    if OWN_HEADERS.contains(&name.as_str()) {
        return Err(format!("the header `{name}` is the host's"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(scheme: &str, host: &str, port: u16) -> HttpGrant {
        HttpGrant { scheme: scheme.to_owned(), host: host.to_owned(), port, private: false }
    }

    fn request(method: &str, url: &str, header: (&str, &str)) -> wire::Request {
        wire::Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: vec![(header.0.to_owned(), header.1.to_owned())],
            secret_headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// What `check` says to a request where `https://sms.example:443` is granted.
    #[track_caller]
    fn refused(method: &str, url: &str, header: (&str, &str), expect: &str) {
        let grants = [grant("https", "sms.example", 443)];
        let secret = |_: &str| Err("not granted".to_owned());
        let why = check(request(method, url, header), &grants, &secret).expect_err(url);
        assert!(why.contains(expect), "{why} should say {expect}");
    }

    #[test]
    fn a_request_fits_its_grant_exactly() {
        let grants = [grant("https", "sms.example", 443)];
        let secret = |_: &str| Err("not granted".to_owned());
        for url in ["https://sms.example/", "https://SMS.example:443/a?b=c#d"] {
            assert!(check(request("POST", url, ("x-a", "b")), &grants, &secret).is_ok(), "{url}");
        }
        for url in [
            "http://sms.example/",
            "https://sms.example:8443/",
            "https://sms.example.evil.example/",
            "https://127.0.0.1/",
        ] {
            refused("GET", url, ("x-a", "b"), "is not granted");
        }
        refused("GET", "https://sms.example@evil.example/", ("x-a", "b"), "holds a user");
        refused("GET", "/relative", ("x-a", "b"), "not absolute");
        refused("GET", "https://sms.example/a\r\nb", ("x-a", "b"), "control character");
        refused("CONNECT", "https://sms.example/", ("x-a", "b"), "method");
        refused("GET\r\nX: y", "https://sms.example/", ("x-a", "b"), "method");
    }

    #[test]
    fn headers_carry_nothing_but_themselves() {
        let url = "https://sms.example/";
        refused("GET", url, ("x-a", "b\r\nx-c: d"), "not plain text");
        refused("GET", url, ("x-a\r\nx-c", "d"), "no name of a header");
        for own in ["Host", "content-length", "Transfer-Encoding", "connection", "upgrade"] {
            refused("GET", url, (own, "x"), "is the host's");
        }
    }

    #[test]
    fn a_grant_names_a_place() {
        assert_eq!(check_grant(&grant("https", "sms.example", 443)), Ok(()));
        assert_eq!(check_grant(&HttpGrant { private: true, ..grant("http", "127.0.0.1", 80) }), Ok(()));
        assert_eq!(check_grant(&HttpGrant { private: true, ..grant("http", "[::1]", 80) }), Ok(()));
        let cases = [
            (grant("ftp", "sms.example", 21), "must be https or http"),
            (grant("https", "sms.example", 0), "port"),
            (grant("https", "SMS.example", 443), "lower case"),
            (grant("https", "sms.example:443", 443), "without port"),
            (grant("https", "sms.example/a", 443), "path"),
            (grant("https", "", 443), "host"),
            (grant("http", "169.254.169.254", 80), "not public"),
            (grant("http", "[::ffff:127.0.0.1]", 80), "lower case"),
        ];
        for (grant, expect) in cases {
            let why = check_grant(&grant).expect_err(expect);
            assert!(why.contains(expect), "{why} should say {expect}");
        }
    }
}
