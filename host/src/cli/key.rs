//! `galenic key`: API keys without a server.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::{PlaceArgs, config::Secrets};
use crate::{
    app,
    clock::Clock,
    ids::{Ids, PartnerId},
    service::{
        PageRequest, Services,
        keys::{CreateKey, Scope},
    },
};

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key and print its secret, once.
    Create {
        #[command(flatten)]
        place: PlaceArgs,
        /// What it may do, with commas between, for example `members:read,orders:write`; or `all`.
        #[arg(long, value_name = "SCOPES")]
        scopes: String,
        /// Whose key: the partner of this name, made if there is none.
        #[arg(long, value_name = "NAME", default_value = "operator")]
        partner: String,
        /// Shown in lists of keys.
        #[arg(long, value_name = "NAME", default_value = "made on the command line")]
        name: String,
        /// Let it see what other partners made.
        #[arg(long)]
        sees_all: bool,
    },
}

/// Runs the command.
pub(super) async fn run(command: KeyCommand) -> anyhow::Result<ExitCode> {
    let KeyCommand::Create { place, scopes, partner, name, sees_all } = command;
    let scopes = parse_scopes(&scopes)?;
    let config = place.load()?;
    let secrets = Secrets::from_env()?;
    let master_key = app::master_key(&config.store.data, &secrets)?;
    let services = app::open_services(&config, &secrets, master_key, Clock::System, Ids::random())
        .await
        .context("if a server runs, ask it with POST /ops/v1/keys")?;
    let partner = partner_named(&services, &partner).await?;
    let (key, secret) = services.create_key(CreateKey { partner, name, scopes, sees_all }).await?;
    services.store.close().await.context("cannot close the store")?;
    eprintln!("key {} of partner {}; the secret is shown this once:", key.id, key.partner);
    say!("{}", secret.expose());
    Ok(ExitCode::SUCCESS)
}

fn parse_scopes(text: &str) -> anyhow::Result<Vec<Scope>> {
    if text == "all" {
        return Ok(Scope::ALL.to_vec());
    }
    let scope = |name: &str| name.trim().parse::<Scope>().with_context(|| format!("--scopes: `{name}`"));
    text.split(',').map(scope).collect()
}

async fn partner_named(services: &Services, name: &str) -> anyhow::Result<PartnerId> {
    let mut page = PageRequest::default();
    loop {
        let found = services.list_partners(page).await?;
        if let Some(partner) = found.rows.iter().find(|partner| partner.name == name) {
            return Ok(partner.id);
        }
        match found.next {
            Some(after) => page = PageRequest { after: Some(after), limit: None },
            None => return Ok(services.create_partner(name).await?.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_named_with_commas_between() {
        assert_eq!(parse_scopes("members:read, operate").expect("scopes"), [Scope::MembersRead, Scope::Operate]);
        assert_eq!(parse_scopes("all").expect("scopes"), Scope::ALL);
        let error = parse_scopes("members:fly").expect_err("no scope");
        assert!(format!("{error:#}").contains("members:fly"), "{error:#}");
    }
}
