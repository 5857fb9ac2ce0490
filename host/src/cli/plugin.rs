//! `galenic plugin`: check a plugin on its own; list, push, release and roll back on a running server.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::remote::{Body, Remote, ServerArgs};
use crate::plugin::{Budgets, Engine, EngineConfig, Fallback, Grants, ModuleDigest, ReleaseSpec, run_cases};

#[derive(Subcommand)]
pub(super) enum PluginCommand {
    /// List slots with what is live in each, and modules.
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Check a plugin without a server: what it imports and exports, its configuration, its cases.
    Check {
        /// The component, .wasm.
        file: PathBuf,
        /// Its configuration, JSON; makes a release of it, as a server would.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Its cases, JSON, as the SDK's test kit takes them; run through WASM.
        #[arg(long, value_name = "FILE", requires = "config")]
        cases: Option<PathBuf>,
    },
    /// Push a plugin to a server and print its digest.
    Push {
        /// The component, .wasm.
        file: PathBuf,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a release of a plugin and put it to work.
    Release {
        /// The slot, for example `tier`.
        slot: String,
        /// The plugin: a digest pushed before, or a .wasm file to push.
        #[arg(long, value_name = "DIGEST|FILE")]
        module: String,
        /// Its configuration, JSON.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// What it may see and, for channels, reach, JSON.
        #[arg(long, value_name = "FILE")]
        grants: Option<PathBuf>,
        /// For tier rules: a tier code of earlier releases and the code that stands for it.
        #[arg(long = "map-tier", value_name = "OLD=NEW", value_parser = pair)]
        map_tier: Vec<(String, String)>,
        /// What answers when it cannot: `skip`, `fail-closed` or `previous-release`.
        #[arg(long, value_name = "FALLBACK", default_value = "skip")]
        fallback: String,
        /// Only make it ready.
        #[arg(long)]
        no_activate: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make the release live again that answered before.
    Rollback {
        /// The slot, for example `tier`.
        slot: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or("must be OLD=NEW")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// Runs the command.
pub(super) async fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::List { server } => list(&server.connect()?).await?,
        PluginCommand::Check { file, config, cases } => return check(&file, config.as_deref(), cases.as_deref()).await,
        PluginCommand::Push { file, server } => {
            say!("{}", push(&server.connect()?, &file).await?);
        }
        PluginCommand::Release { slot, module, config, grants, map_tier, fallback, no_activate, server } => {
            let tier_map: Json = map_tier.into_iter().map(|(old, new)| (old, Json::String(new))).collect();
            let release = json!({
                "config": config.map_or_else(|| Ok(json!({})), |file| read_json(&file))?,
                "grants": grants.map_or_else(|| Ok(json!({})), |file| read_json(&file))?,
                "tier_map": tier_map,
                "fallback": fallback,
            });
            make_release(&server.connect()?, &slot, &module, release, !no_activate).await?;
        }
        PluginCommand::Rollback { slot, server } => {
            let active =
                server.connect()?.ask(Method::POST, &format!("/ops/v1/slots/{slot}/rollback"), Body::Nothing).await?;
            say!("{slot}#{} is live", active["number"]);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(remote: &Remote) -> anyhow::Result<()> {
    let modules = remote.list("/ops/v1/modules").await?;
    let name = |digest: &Json| {
        let module = modules.iter().find(|module| module["digest"] == *digest);
        module.map_or_else(String::new, |module| format!("{} {}", text(&module["name"]), text(&module["version"])))
    };
    let slots = remote.ask(Method::GET, "/ops/v1/slots", Body::Nothing).await?;
    say!("{:<16} {:<14} {:>7}  {:<28} SINCE", "SLOT", "KIND", "RELEASE", "PLUGIN");
    for slot in slots["items"].as_array().into_iter().flatten() {
        say!(
            "{:<16} {:<14} {:>7}  {:<28} {}",
            text(&slot["name"]),
            text(&slot["kind"]),
            slot["active"]["number"].to_string(),
            name(&slot["release"]["module"]),
            text(&slot["active"]["activated_at"]),
        );
    }
    say!("");
    say!("{:<28} {:<14} {:>9}  DIGEST", "MODULE", "KIND", "BYTES");
    for module in &modules {
        say!(
            "{:<28} {:<14} {:>9}  {}",
            name(&module["digest"]),
            text(&module["kind"]),
            module["bytes"].to_string(),
            text(&module["digest"]),
        );
    }
    Ok(())
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or("")
}

async fn check(file: &Path, config: Option<&Path>, cases: Option<&Path>) -> anyhow::Result<ExitCode> {
    let bytes = read(file)?;
    let engine = Engine::new(EngineConfig::standard(None)).context("cannot start the plugin engine")?;
    let module = engine.admit(bytes).await.with_context(|| format!("{} is refused", file.display()))?;
    let said = module.description();
    say!("{} {}, a {}: {}", said.name, said.version, module.kind().name(), said.summary);
    say!("digest {}", module.digest());
    let facts: Vec<&str> = said.facts.iter().map(|fact| fact.name).collect();
    say!("facts {}", facts.join(", "));
    let Some(config) = config else {
        say!("the plugin is sound; name its configuration to check that too");
        return Ok(ExitCode::SUCCESS);
    };
    let configuration = read_json(config)?;
    let spec = ReleaseSpec {
        slot: "check".into(),
        number: 1,
        module: Arc::clone(&module),
        config: configuration.clone(),
        grants: Grants::default(),
        budgets: Budgets::of(module.kind()),
        fallback: Fallback::Skip,
        previous: None,
    };
    let release = engine.rehearse(spec).await.with_context(|| format!("with {}", config.display()))?;
    let tiers: Vec<String> = release.tiers().iter().map(|tier| tier.code.to_string()).collect();
    if !tiers.is_empty() {
        say!("tiers {}", tiers.join(", "));
    }
    if let Some(file) = cases {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let report =
            run_cases(&engine, &module, &configuration, &text).await.with_context(|| file.display().to_string())?;
        for failure in &report.failures {
            say!("failed: {failure}");
        }
        say!("{} of {} cases hold", report.cases - report.failures.len(), report.cases);
        if !report.failures.is_empty() {
            return Ok(ExitCode::FAILURE);
        }
    }
    say!("the plugin is sound");
    Ok(ExitCode::SUCCESS)
}

async fn push(remote: &Remote, file: &Path) -> anyhow::Result<String> {
    let module = remote.ask(Method::POST, "/ops/v1/modules", Body::Wasm(read(file)?)).await?;
    Ok(text(&module["digest"]).to_owned())
}

async fn make_release(
    remote: &Remote,
    slot: &str,
    module: &str,
    mut release: Json,
    activate: bool,
) -> anyhow::Result<()> {
    let digest = match module.parse::<ModuleDigest>() {
        Ok(digest) => digest.to_string(),
        Err(_) => push(remote, Path::new(module)).await?,
    };
    release["module"] = Json::String(digest);
    let made = remote.ask(Method::POST, &format!("/ops/v1/slots/{slot}/releases"), Body::Json(release)).await?;
    let number = &made["number"];
    if !activate {
        say!("{slot}#{number} is ready");
        return Ok(());
    }
    remote.ask(Method::PUT, &format!("/ops/v1/slots/{slot}/active"), Body::Json(json!({ "number": number }))).await?;
    say!("{slot}#{number} is live");
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn read_json(file: &Path) -> anyhow::Result<Json> {
    serde_json::from_slice(&read(file)?).with_context(|| format!("{} is not JSON", file.display()))
}
