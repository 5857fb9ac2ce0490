//! `galenic serve`.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    ServeArgs,
    config::{Config, Overrides, Secrets},
};
use crate::{
    app::{self, App},
    clock::Clock,
    ids::Ids,
};

/// Runs the server until a signal ends it.
pub(super) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let overrides =
        Overrides { data: args.place.data, listen: args.listen, metrics_listen: args.metrics_listen, log: args.log };
    let config = Config::load(args.place.config.as_deref(), &overrides)?;
    super::start_log(&config.log)?;
    let clock = args.clock.map_or(Clock::System, Clock::manual);
    if args.dev {
        tracing::warn!(manual_clock = args.clock.is_some(), "started for development: not for real members");
    }
    super::block_on(serve(config, clock))
}

async fn serve(config: Config, clock: Clock) -> anyhow::Result<ExitCode> {
    // Taken first: a signal while the store opens ends the program in order, too.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let secrets = Secrets::from_env()?;
    let listener = app::bind(config.server.listen).await?;
    let app = App::open(config, &secrets, clock, Ids::random()).await?;
    let address = listener.local_addr().context("the listener has no address")?;
    tracing::info!(%address, "serving");
    let stop = async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
    };
    app.run(listener, stop).await?;
    Ok(ExitCode::SUCCESS)
}
