//! The command line: parse, run, exit code.
//!
//! Exit codes: 0 done; 1 it failed, or a check found something wrong; 2 the command line is wrong. Failures print one
//! line to standard error.

/// Prints a line. That nobody reads it any more, as in `galenic plugin list | head`, is no failure.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _closed = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod backup;
mod bench;
pub mod config;
mod demo;
mod key;
mod plugin;
mod remote;
mod restore;
mod serve;
mod takeover;
mod verify;

use std::{ffi::OsString, io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use jiff::Timestamp;

use self::config::{Config, LogFormat, Overrides};

/// Growth and loyalty engine for pharmacy e-commerce, with rules as sandboxed plugins swapped live.
///
/// Exit codes: 0 done; 1 it failed, or a check found something wrong; 2 the command line is wrong.
#[derive(Parser)]
#[command(name = "galenic", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure calls, swaps and paid orders into JSON files.
    Bench(bench::BenchArgs),
    /// Replay a year of real purchases through the engine, over HTTP, with two plugins swapped half-way.
    Demo(demo::DemoArgs),
    /// Run the server.
    ///
    /// Secrets come from the environment alone: GALENIC_OPERATOR_KEY, an API key that may do everything, and
    /// GALENIC_MASTER_KEY, 64 hexadecimal digits that seal the keys of personal data; where that is not set, a key
    /// file is made in the data directory. SIGTERM or SIGINT drains, flushes and exits 0.
    Serve(ServeArgs),
    /// Look at plugins, check them, and put them to work.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Write a backup of a running server, or of a data directory that none has open.
    ///
    /// Orders flow meanwhile; everything acknowledged before the command was given is in it. What came over the network is
    /// checked to the last bit before the file gets its name. The master key is never in a backup: keep it apart.
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup.
    ///
    /// The whole backup is checked first; the directory gets its name when all of it is on disk. Members who were erased
    /// after the backup was made are erased again: give the newest erasures.log with --erasures. The master key comes from
    /// GALENIC_MASTER_KEY or --master-key.
    Restore(restore::RestoreArgs),
    /// Prove a data directory that no server has open, or a backup.
    ///
    /// Re-adds every posting, reads every row, and looks whether it refers to what is there. A running server answers
    /// POST /ops/v1/verify.
    Verify(verify::VerifyArgs),
    /// Take points, tiers and coupons over from an earlier programme, from CSV into a running server.
    ///
    /// Rows count once by their external id: a file may be sent again. What is refused is named by line, field and fix.
    Takeover(takeover::TakeoverArgs),
    /// Give back disk space: copy the store of a data directory that no server has open into a fresh one.
    Compact {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands into a directory.
    Man {
        /// Where the pages go.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make API keys in a data directory that no server has open.
    #[command(subcommand)]
    Key(key::KeyCommand),
}

#[derive(Args)]
struct ServeArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Address of the API.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address for /metrics, /healthz and /readyz without authorization.
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Allow what a deployment must not have: a manual clock.
    #[arg(long)]
    dev: bool,
    /// Start with a clock that stands at this time until PUT /ops/v1/clock moves it. Needs --dev.
    #[arg(long, value_name = "TIME", requires = "dev")]
    clock: Option<Timestamp>,
    /// How log lines look.
    #[arg(long, value_enum)]
    log: Option<LogFormat>,
}

#[derive(Args)]
struct PlaceArgs {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A configuration file, TOML.
    #[arg(long, value_name = "FILE", env = "GALENIC_CONFIG")]
    config: Option<PathBuf>,
}

impl PlaceArgs {
    /// The configuration, for commands without further overrides.
    fn load(&self) -> anyhow::Result<Config> {
        Config::load(self.config.as_deref(), &Overrides { data: self.data.clone(), ..Overrides::default() })
    }
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check the file and the environment; name what is wrong.
    Check {
        /// A configuration file, TOML.
        #[arg(value_name = "FILE", env = "GALENIC_CONFIG")]
        file: Option<PathBuf>,
    },
    /// Show the effective configuration as TOML, without secrets.
    Show {
        /// A configuration file, TOML.
        #[arg(value_name = "FILE", env = "GALENIC_CONFIG")]
        file: Option<PathBuf>,
    },
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    main_with(std::env::args_os())
}

/// Runs the program; the first argument is its name.
pub fn main_with(arguments: impl IntoIterator<Item: Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way, too: to standard output, with 0.
            let _closed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    crate::plugin::use_ring();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("galenic: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Bench(args) => block_on(bench::run(args)),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Serve(args) => serve::run(args),
        Command::Plugin(command) => block_on(plugin::run(command)),
        Command::Backup(args) => block_on(backup::run(args)),
        Command::Restore(args) => block_on(restore::run(args)),
        Command::Verify(args) => block_on(verify::run(args)),
        Command::Takeover(args) => block_on(takeover::run(args)),
        Command::Compact { place } => verify::compact(&place),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "galenic", &mut script);
            say!("{}", String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { out } => manual(out.as_deref()),
        Command::Config(command) => configuration(&command),
        Command::Key(command) => block_on(key::run(command)),
    }
}

fn configuration(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check { file } => {
            let config = Config::load(file.as_deref(), &Overrides::default())?;
            config.outbound(&config::Secrets::from_env()?)?;
            say!("the configuration is sound; data lie in {}", config.store.data.display());
        }
        ConfigCommand::Show { file } => {
            let config = Config::load(file.as_deref(), &Overrides::default())?;
            say!("{}", toml::to_string(&config)?.trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn manual(out: Option<&std::path::Path>) -> anyhow::Result<ExitCode> {
    if let Some(dir) = out {
        std::fs::create_dir_all(dir)?;
        clap_mangen::generate_to(Cli::command(), dir)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    say!("{}", String::from_utf8_lossy(&page).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Runs a command on a runtime of its own.
fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// Sends the log to standard error.
fn start_log(log: &config::Log) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&log.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_manual_clock_needs_dev() {
        assert!(Cli::try_parse_from(["galenic", "serve", "--clock", "2026-01-01T00:00:00Z"]).is_err());
        assert!(Cli::try_parse_from(["galenic", "serve", "--dev", "--clock", "2026-01-01T00:00:00Z"]).is_ok());
    }
}
