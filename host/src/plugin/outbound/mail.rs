//! Mail: built here, handed to a configured server over connections that are kept.
//!
//! The steps of SMTP are taken one by one, because only what happens after the data has begun leaves it open whether the
//! server took the mail.

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use lettre::{
    Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        commands::{Data, Mail as MailFrom, Rcpt},
        extension::ClientId,
        response::Response,
    },
};
use tokio::time::Instant;

use super::{
    Secret,
    tls::{self, Roots},
    wire::{Mail, MailError},
};

/// The largest text, and the largest HTML.
const TEXT_BYTES_MAX: usize = 256 << 10;
const SUBJECT_BYTES_MAX: usize = 512;
const URL_BYTES_MAX: usize = 1_024;
/// Where an operator adds authorities.
const CA_SETTING: &str = "smtp.NAME.ca_files";
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Connections that wait for the next mail, and for how long.
const IDLE_MAX: usize = 16;
const IDLE_FOR: Duration = Duration::from_secs(30);

/// An SMTP server, as the host is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    /// Its name, which its certificate must show.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// Who logs in; nobody where it is not set.
    pub username: Option<String>,
    /// The secret that is the password.
    pub password_secret: Option<String>,
    /// Who writes: `Name <address>`.
    pub from: String,
    /// Trusted for this server beside the machine's authorities.
    pub roots: Roots,
}

/// How the connection to an SMTP server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all: within a machine.
    None,
    /// By STARTTLS; a server that does not offer it is not used.
    StartTls,
    /// From the first byte.
    Tls,
}

impl SmtpServer {
    /// Says what is wrong with it.
    ///
    /// # Errors
    ///
    /// The field and what it must be.
    pub fn check(&self) -> Result<(), String> {
        if self.host.is_empty() || self.port == 0 {
            return Err("host and port must be set".to_owned());
        }
        if self.username.is_some() != self.password_secret.is_some() {
            return Err("username and password_secret go together".to_owned());
        }
        let within = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if self.tls == SmtpTls::None && self.username.is_some() && !within {
            return Err("tls = \"none\" would send the password in clear; use \"starttls\" or \"tls\"".to_owned());
        }
        let from: Result<Mailbox, _> = self.from.parse();
        from.map(drop).map_err(|_| "from must be `address` or `Name <address>`".to_owned())
    }
}

/// A server with the connections to it.
pub(super) struct MailServer {
    server: SmtpServer,
    tls: OnceLock<TlsParameters>,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

/// How far a mail has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No mail can be handed over yet: what fails is the server's or the operator's fault, never the mail's.
    Greeting,
    /// The server hears who is logging in.
    Login,
    /// The server has none of it.
    Envelope,
    /// The server may have all of it.
    Data,
}

/// Why a mail was not handed over.
enum Failure {
    /// The server does not offer STARTTLS, which is configured.
    NoStartTls,
    /// The server offers no way to log in that is known.
    NoLogin,
    /// Anything else.
    Smtp(lettre::transport::smtp::Error),
}

impl From<lettre::transport::smtp::Error> for Failure {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        Self::Smtp(error)
    }
}

impl MailServer {
    pub(super) const fn new(server: SmtpServer) -> Self {
        Self { server, tls: OnceLock::new(), idle: Mutex::new(Vec::new()) }
    }

    /// Hands over one mail; the server's answer.
    pub(super) async fn send(
        &self,
        mail: Mail,
        secrets: &BTreeMap<String, Secret>,
        until: Instant,
    ) -> Result<String, MailError> {
        let message = build(&self.server, mail).map_err(MailError::Denied)?;
        let mut phase = Phase::Greeting;
        let handing = self.hand_over(&message, secrets, &mut phase);
        match tokio::time::timeout_at(until, handing).await {
            Ok(Ok(answer)) => Ok(shown(&answer)),
            Ok(Err(failure)) => Err(explain(&failure, phase)),
            Err(_) if phase == Phase::Data => {
                Err(MailError::Broken("the server did not confirm the mail in time".to_owned()))
            }
            Err(_) => Err(MailError::Later("the server did not answer in time".to_owned())),
        }
    }

    async fn hand_over(
        &self,
        message: &Message,
        secrets: &BTreeMap<String, Secret>,
        phase: &mut Phase,
    ) -> Result<Response, Failure> {
        let mut connection = self.connection(secrets, phase).await?;
        let envelope = message.envelope();
        connection.command(MailFrom::new(envelope.from().cloned(), Vec::new())).await?;
        *phase = Phase::Envelope;
        for to in envelope.to() {
            connection.command(Rcpt::new(to.clone(), Vec::new())).await?;
        }
        connection.command(Data).await?;
        *phase = Phase::Data;
        let answer = connection.message(&message.formatted()).await?;
        self.keep(connection);
        Ok(answer)
    }

    /// A connection that lives: one that waited, or a new one. One that fails is dropped, never kept. Nothing but the
    /// greeting is said before the connection is encrypted as configured.
    async fn connection(
        &self,
        secrets: &BTreeMap<String, Secret>,
        phase: &mut Phase,
    ) -> Result<AsyncSmtpConnection, Failure> {
        while let Some((mut connection, since)) = self.take() {
            if since.elapsed() < IDLE_FOR && connection.test_connected().await {
                return Ok(connection);
            }
        }
        let (server, hello) = (&self.server, ClientId::default());
        let tls = match server.tls {
            SmtpTls::None => None,
            SmtpTls::StartTls | SmtpTls::Tls => Some(self.tls()?),
        };
        let implicit = tls.clone().filter(|_| server.tls == SmtpTls::Tls);
        let place = (server.host.as_str(), server.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(place, Some(CONNECT_MAX), &hello, implicit, None).await?;
        if let Some(tls) = tls.filter(|_| server.tls == SmtpTls::StartTls) {
            if !connection.can_starttls() {
                return Err(Failure::NoStartTls);
            }
            connection.starttls(tls, &hello).await?;
        }
        let password = server.password_secret.as_ref().and_then(|name| secrets.get(name));
        if let (Some(username), Some(password)) = (&server.username, password) {
            if connection.server_info().get_auth_mechanism(DEFAULT_MECHANISMS).is_none() {
                return Err(Failure::NoLogin);
            }
            *phase = Phase::Login;
            let credentials = Credentials::new(username.clone(), password.text().to_owned());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
            *phase = Phase::Greeting;
        }
        Ok(connection)
    }

    fn tls(&self) -> Result<TlsParameters, lettre::transport::smtp::Error> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let mut builder = TlsParameters::builder(self.server.host.clone());
        for root in self.server.roots.der() {
            builder = builder.add_root_certificate(Certificate::from_der(root.to_vec())?);
        }
        let tls = builder.build()?;
        Ok(self.tls.get_or_init(|| tls).clone())
    }

    fn take(&self) -> Option<(AsyncSmtpConnection, Instant)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((connection, Instant::now()));
        }
    }
}

/// What the server said, in one line without control characters.
fn shown(answer: &Response) -> String {
    let text = answer.message().collect::<Vec<_>>().join(" ");
    format!("{} {}", answer.code(), text.escape_debug()).chars().take(200).collect()
}

/// What a failure means for the mail. The server's own words stay out of it: they like to repeat the address.
fn explain(failure: &Failure, phase: Phase) -> MailError {
    let error = match failure {
        Failure::NoStartTls => {
            return MailError::Later("the server does not offer STARTTLS; nothing was said".to_owned());
        }
        Failure::NoLogin => return MailError::Later("the server offers neither AUTH PLAIN nor LOGIN".to_owned()),
        Failure::Smtp(error) => error,
    };
    if let Some(code) = error.status() {
        return match phase {
            Phase::Login => MailError::Later(format!("the server does not take the user name and password: {code}")),
            Phase::Envelope | Phase::Data if error.is_permanent() => {
                MailError::Refused(format!("the server answers {code}"))
            }
            _ => MailError::Later(format!("the server answers {code}")),
        };
    }
    if phase == Phase::Data {
        return MailError::Broken("the connection broke before the server confirmed the mail".to_owned());
    }
    let why = tls::why(error, CA_SETTING);
    MailError::Later(why.unwrap_or_else(|| "the server cannot be reached".to_owned()))
}

fn build(server: &SmtpServer, mail: Mail) -> Result<Message, String> {
    let from: Mailbox = server.from.parse().map_err(|_| "the server's `from` is no address".to_owned())?;
    let to = mail.to.parse().map_err(|_| "`to` is no mail address".to_owned())?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if mail.id.is_empty() || mail.id.len() > 64 || !mail.id.bytes().all(plain) {
        return Err("`id` must be 1 to 64 letters, digits, `-`, `_` and `.`".to_owned());
    }
    if mail.subject.len() > SUBJECT_BYTES_MAX || mail.subject.chars().any(char::is_control) {
        return Err(format!("`subject` must be one line of at most {SUBJECT_BYTES_MAX} bytes"));
    }
    if mail.text.len() > TEXT_BYTES_MAX || mail.html.as_ref().is_some_and(|html| html.len() > TEXT_BYTES_MAX) {
        return Err(format!("`text` and `html` have at most {TEXT_BYTES_MAX} bytes each"));
    }
    let id = format!("<{}@{}>", mail.id, from.email.domain());
    let mut message =
        Message::builder().from(from).to(Mailbox::new(None, to)).subject(mail.subject).message_id(Some(id));
    if let Some(url) = mail.unsubscribe_url {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b',');
        let absolute = url.starts_with("https://") || url.starts_with("http://");
        if !absolute || url.len() > URL_BYTES_MAX || !url.bytes().all(plain) {
            return Err("`unsubscribe-url` is no absolute URL".to_owned());
        }
        let header = |name: &'static str, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
        message = message
            .raw_header(header("List-Unsubscribe", format!("<{url}>")))
            .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
    }
    let built = match mail.html {
        Some(html) => message.multipart(MultiPart::alternative_plain_html(mail.text, html)),
        None => message.singlepart(SinglePart::plain(mail.text)),
    };
    built.map_err(|error| format!("it is no mail: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> SmtpServer {
        SmtpServer {
            host: "mail.example".to_owned(),
            port: 25,
            tls: SmtpTls::None,
            username: None,
            password_secret: None,
            from: "康宁药房 <care@mail.example>".to_owned(),
            roots: Roots::none(),
        }
    }

    fn mail() -> Mail {
        Mail {
            id: "k".repeat(32),
            to: "li@example.com".to_owned(),
            subject: "生日快乐".to_owned(),
            text: "你好".to_owned(),
            html: Some("<p>你好</p>".to_owned()),
            unsubscribe_url: Some("https://shop.example/u/abc".to_owned()),
        }
    }

    #[test]
    fn a_mail_carries_its_id_and_both_unsubscribe_headers() {
        let message = build(&server(), mail()).expect("is a mail").formatted();
        let text = String::from_utf8(message).expect("is ASCII");
        for line in [
            format!("Message-ID: <{}@mail.example>\r\n", "k".repeat(32)),
            "List-Unsubscribe: <https://shop.example/u/abc>\r\n".to_owned(),
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".to_owned(),
            "To: li@example.com\r\n".to_owned(),
        ] {
            assert!(text.contains(&line), "{text} should hold {line}");
        }
        assert!(text.is_ascii() && text.contains("multipart/alternative"));
    }

    #[test]
    fn what_is_no_mail_is_refused_by_part() {
        let cases = [
            (Mail { to: "nobody".to_owned(), ..mail() }, "`to`"),
            (Mail { to: "a@example.com>\r\nBcc: b@example.com".to_owned(), ..mail() }, "`to`"),
            (Mail { id: "a b".to_owned(), ..mail() }, "`id`"),
            (Mail { subject: "a\r\nBcc: b@example.com".to_owned(), ..mail() }, "`subject`"),
            (Mail { text: "x".repeat(TEXT_BYTES_MAX + 1), ..mail() }, "`text`"),
            (Mail { unsubscribe_url: Some("https://a.example/>\r\nX: y".to_owned()), ..mail() }, "`unsubscribe-url`"),
            (Mail { unsubscribe_url: Some("mailto:a@b.example".to_owned()), ..mail() }, "`unsubscribe-url`"),
        ];
        for (mail, expect) in cases {
            let why = build(&server(), mail).map(drop).expect_err(expect);
            assert!(why.contains(expect), "{why} should say {expect}");
        }
    }

    #[test]
    fn a_server_is_checked() {
        assert_eq!(server().check(), Ok(()));
        assert!(SmtpServer { from: "nobody".to_owned(), ..server() }.check().is_err());
        assert!(SmtpServer { username: Some("a".to_owned()), ..server() }.check().is_err());
        assert!(SmtpServer { port: 0, ..server() }.check().is_err());
        let login = |tls, host: &str| SmtpServer {
            username: Some("care".to_owned()),
            password_secret: Some("care-mail".to_owned()),
            tls,
            host: host.to_owned(),
            ..server()
        };
        let clear = login(SmtpTls::None, "mail.example").check().expect_err("in clear");
        assert!(clear.contains("send the password in clear"), "{clear}");
        assert_eq!(login(SmtpTls::None, "127.0.0.1").check(), Ok(()));
        assert_eq!(login(SmtpTls::StartTls, "mail.example").check(), Ok(()));
    }
}
