//! TLS towards vendors, spoken for real: an https receiver and an SMTP server with certificates made here.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use galenic::plugin::{Grants, HttpGrant, Outbound, Roots, Secret, SmtpServer, SmtpTls, use_ring};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    version::{TLS12, TLS13},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    channels::{attempt, engine, message, now, prepare, receiver, secrets},
    vendor::{Smtp, Vendor},
};

const HOST: &str = "vendor.example";

/// An authority that nobody trusts until its file is configured.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for a name, good until the end of a year.
    fn sign(&self, name: &str, until: i32) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    fn roots(&self) -> Roots {
        let mut roots = Roots::none();
        roots.add_pem(self.0.pem().as_bytes()).unwrap();
        roots
    }
}

/// A receiver of webhooks behind TLS.
fn https(identity: &Identity, versions: &[&'static SupportedProtocolVersion]) -> Vendor {
    use_ring();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let config = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![identity.certificate.der().clone()], key).unwrap());
    let wrap = move |socket: TcpStream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).ok()?, socket);
        // What is no TLS gets its alert, as from any server.
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                let _alert = stream.conn.write_tls(&mut stream.sock);
                let _closed = stream.sock.shutdown(Shutdown::Write);
                return None;
            }
        }
        Some(stream)
    };
    Vendor::over(wrap, receiver)
}

/// What becomes of a message that goes to a place of the vendor's.
async fn fate(roots: Roots, vendor: &Vendor, scheme: &str) -> String {
    let lookup = |_: &str| Ok(vec![IpAddr::from([127, 0, 0, 1])]);
    let engine = engine(Outbound { secrets: secrets(), roots, lookup: Some(Arc::new(lookup)), ..Outbound::none() });
    let port = vendor.address.port();
    let config = json!({"url": format!("{scheme}://{HOST}:{port}/messages"), "secret": "webhook"});
    let place = HttpGrant { scheme: scheme.to_owned(), host: HOST.to_owned(), port, private: true };
    let grants = Grants { http: vec![place], secrets: vec!["webhook".to_owned()], ..Grants::default() };
    let release = prepare(&engine, "channel-webhook", config, grants).await.expect("prepares");
    attempt(&release.deliver(&message("m-1"), now(), [1; 16]).await)
}

#[tokio::test]
async fn an_https_vendor_is_believed_by_its_authority_name_and_dates() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let good = ours.sign(HOST, 2098);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let vendor = https(&good, versions);
        assert_eq!(fate(ours.roots(), &vendor, "https").await, "accepted m-1-1795341600");
    }
    let both = [&TLS12, &TLS13];
    let cases = [
        (
            https(&theirs.sign(HOST, 2098), &both),
            "of an authority that is not trusted; add its CA to `outbound.ca_files`",
        ),
        (https(&ours.sign("other.example", 2098), &both), "the server's certificate is for another name"),
        (https(&ours.sign(HOST, 2021), &both), "the server's certificate has expired"),
        (Vendor::start(receiver), "the server ended the TLS handshake; does it speak TLS on this port?"),
    ];
    for (vendor, expect) in cases {
        let fate = fate(ours.roots(), &vendor, "https").await;
        assert!(fate.starts_with("retry unreachable: ") && fate.contains(expect), "{fate} should say {expect}");
    }
    let unknown = fate(Roots::none(), &https(&good, &both), "https").await;
    assert!(unknown.contains("an authority that is not trusted"), "nobody is trusted by default: {unknown}");
    let clear = fate(ours.roots(), &https(&good, &both), "http").await;
    assert_eq!(clear, "unknown broken: the server does not speak HTTP on this port; does it want https?");
}

/// A certificate's files, and a server that shows it.
struct MailHost {
    smtp: Smtp,
    _files: TempDir,
}

fn mail_host(identity: &Identity, options: &[&str]) -> MailHost {
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("certificate.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, identity.certificate.pem()).unwrap();
    std::fs::write(&key, identity.key.serialize_pem()).unwrap();
    let own = ["--certificate", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    MailHost { smtp: Smtp::with(&[&own, options].concat()), _files: files }
}

/// What becomes of a mail to a server on this port.
async fn mailed(port: u16, tls: SmtpTls, login: Option<&str>, roots: Roots) -> String {
    let server = SmtpServer {
        host: "localhost".to_owned(),
        port,
        tls,
        username: login.map(|_| "care".to_owned()),
        password_secret: login.map(|_| "care-mail".to_owned()),
        from: "care@shop.example".to_owned(),
        roots,
    };
    let secrets = login.map(|password| ("care-mail".to_owned(), Secret::new(password)));
    let smtp = BTreeMap::from([("care".to_owned(), server)]);
    let engine = engine(Outbound { secrets: secrets.into_iter().collect(), smtp, ..Outbound::none() });
    let grants = Grants { mail: Some("care".to_owned()), ..Grants::default() };
    let release = prepare(&engine, "channel-email", json!({"subject": "消息"}), grants).await.expect("prepares");
    attempt(&release.deliver(&message("li@example.com"), now(), [1; 16]).await)
}

const TAKEN: &str = "accepted 0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "correct horse";

#[tokio::test]
async fn mail_goes_over_starttls_and_tls_to_who_can_be_believed() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (tls, option) in [(SmtpTls::StartTls, "starttls"), (SmtpTls::Tls, "tls")] {
        let mut host = mail_host(&ours.sign("localhost", 2098), &["--tls", option]);
        assert_eq!(mailed(host.smtp.port, tls, None, ours.roots()).await, TAKEN, "{option}");
        assert_eq!(host.smtp.taken()["tls"], "TLSv1.3");
        let cases = [
            (theirs.sign("localhost", 2098), "not trusted; add its CA to `smtp.NAME.ca_files`"),
            (ours.sign("mail.example", 2098), "the server's certificate is for another name"),
            (ours.sign("localhost", 2021), "the server's certificate has expired"),
        ];
        for (identity, expect) in cases {
            let host = mail_host(&identity, &["--tls", option]);
            let fate = mailed(host.smtp.port, tls, None, ours.roots()).await;
            assert!(fate.starts_with("retry later: ") && fate.contains(expect), "{option}: {fate} should say {expect}");
        }
    }
    let clear = Smtp::start();
    let fate = mailed(clear.port, SmtpTls::Tls, None, ours.roots()).await;
    assert_eq!(fate, "retry later: the server does not speak TLS on this port");
}

/// A wrong password is the operator's to mend: it is no refusal of the mail, which waits.
#[tokio::test]
async fn mail_logs_in_by_plain_and_login() {
    let ours = Authority::new("ours");
    let identity = ours.sign("localhost", 2098);
    for (tls, option) in [(SmtpTls::StartTls, "starttls"), (SmtpTls::Tls, "tls")] {
        for mechanism in ["PLAIN", "LOGIN"] {
            let login = ["--tls", option, "--user", "care", "--password", PASSWORD, "--login", mechanism];
            let mut host = mail_host(&identity, &login);
            let port = host.smtp.port;
            assert_eq!(mailed(port, tls, Some(PASSWORD), ours.roots()).await, TAKEN, "{option} {mechanism}");
            assert_eq!(host.smtp.taken()["user"], "care");
            let wrong = mailed(port, tls, Some("wrong horse"), ours.roots()).await;
            assert_eq!(wrong, "retry later: the server does not take the user name and password: 535");
            let nobody = mailed(port, tls, None, ours.roots()).await;
            assert_eq!(nobody, "retry later: the server answers 530");
        }
        let login = ["--tls", option, "--user", "care", "--password", PASSWORD, "--login", "none"];
        let host = mail_host(&identity, &login);
        let none = mailed(host.smtp.port, tls, Some(PASSWORD), ours.roots()).await;
        assert_eq!(none, "retry later: the server offers neither AUTH PLAIN nor LOGIN", "{option}");
    }
}

/// Hands on what both sides say, and keeps what the client said.
fn overheard(port: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut back, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut back, &mut to_client));
            let heard = Arc::clone(&heard);
            thread::spawn(move || relay(client, server, &heard));
        }
    });
    (own, said)
}

fn relay(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<u8>>) -> Option<()> {
    let mut chunk = [0; 4_096];
    loop {
        let bytes = from.read(&mut chunk).ok().filter(|bytes| *bytes > 0)?;
        heard.lock().unwrap().extend_from_slice(&chunk[..bytes]);
        to.write_all(&chunk[..bytes]).ok()?;
    }
}

/// Somebody between us and the server may take STARTTLS out of its offer; then nothing but the greeting was said.
#[tokio::test]
async fn nothing_is_said_in_clear_where_starttls_is_asked_for() {
    let ours = Authority::new("ours");
    let clear = Smtp::start();
    let (port, said) = overheard(clear.port);
    let fate = mailed(port, SmtpTls::StartTls, Some(PASSWORD), ours.roots()).await;
    assert_eq!(fate, "retry later: the server does not offer STARTTLS; nothing was said");
    let said = String::from_utf8(said.lock().unwrap().clone()).unwrap();
    assert!(said.starts_with("EHLO ") && said.lines().count() == 1, "{said}");
    let host =
        mail_host(&ours.sign("localhost", 2098), &["--tls", "starttls", "--user", "care", "--password", PASSWORD]);
    let (port, said) = overheard(host.smtp.port);
    assert_eq!(mailed(port, SmtpTls::StartTls, Some(PASSWORD), ours.roots()).await, TAKEN);
    let said = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
    assert!(said.contains("STARTTLS\r\n"), "the ear is in the line");
    for secret in ["AUTH", "MAIL FROM", "li@example.com", "积分"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}
