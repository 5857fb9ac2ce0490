//! `[outbound]` and `[smtp.*]`: how channels reach their vendors.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::{Config, Secrets};
use crate::plugin::{Outbound, Roots, SmtpServer, SmtpTls};

/// How channels reach their vendors over HTTP. A section of empty lists is none to the crate `config`, hence the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundHttp {
    /// PEM files of authorities that are trusted beside those of the machine.
    #[serde(default)]
    pub ca_files: Vec<PathBuf>,
}

/// An SMTP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Its name, which its certificate must show.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpEncryption,
    /// Who logs in; nobody where it is not set.
    pub username: Option<String>,
    /// The secret that is the password, by its name.
    pub password_secret: Option<String>,
    /// Who writes: `Name <address>`.
    pub from: String,
    /// PEM files of authorities that are trusted for this server beside those of the machine.
    #[serde(default)]
    pub ca_files: Vec<PathBuf>,
}

/// How the connection to an SMTP server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpEncryption {
    /// Not at all: within a machine.
    None,
    /// By STARTTLS.
    StartTls,
    /// From the first byte.
    Tls,
}

impl Smtp {
    /// As channels need it, with these authorities.
    pub(super) fn server(&self, roots: Roots) -> SmtpServer {
        let tls = match self.tls {
            SmtpEncryption::None => SmtpTls::None,
            SmtpEncryption::StartTls => SmtpTls::StartTls,
            SmtpEncryption::Tls => SmtpTls::Tls,
        };
        SmtpServer {
            host: self.host.clone(),
            port: self.port,
            tls,
            username: self.username.clone(),
            password_secret: self.password_secret.clone(),
            from: self.from.clone(),
            roots,
        }
    }
}

impl Config {
    /// As channels need it. Reads the files of authorities.
    ///
    /// # Errors
    ///
    /// Names the server whose password is not in the environment, and the file that holds no certificate.
    pub fn outbound(&self, secrets: &Secrets) -> anyhow::Result<Outbound> {
        for (name, server) in &self.smtp {
            if let Some(secret) =
                server.password_secret.as_ref().filter(|secret| !secrets.outbound.contains_key(*secret))
            {
                let variable = secret.to_uppercase().replace('-', "_");
                bail!("configuration: smtp.{name}.password_secret: set GALENIC_SECRET_{variable}");
            }
        }
        let mut smtp = BTreeMap::new();
        for (name, server) in &self.smtp {
            let roots = read_roots(&server.ca_files, &format!("smtp.{name}.ca_files"))?;
            smtp.insert(name.clone(), server.server(roots));
        }
        let roots = read_roots(&self.outbound.ca_files, "outbound.ca_files")?;
        Ok(Outbound { secrets: secrets.outbound.clone(), smtp, roots, lookup: None })
    }
}

/// The certificates of PEM files.
fn read_roots(files: &[PathBuf], key: &str) -> anyhow::Result<Roots> {
    let mut roots = Roots::none();
    for file in files {
        let named = || format!("configuration: {key}: {}", file.display());
        let pem = std::fs::read(file).with_context(named)?;
        roots.add_pem(&pem).map_err(anyhow::Error::msg).with_context(named)?;
    }
    Ok(roots)
}
