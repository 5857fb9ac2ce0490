//! The same paid order as SQL, in PostgreSQL 15: what the store has to be better than.
//!
//! A cluster of its own in a temporary directory, on loopback, with Debian's defaults for durability (every commit is on
//! disk before it is answered), SERIALIZABLE as the store is, started and stopped here. `pgbench` drives it with as many
//! clients as the orders have, and runs the three transactions of an order: a quote, a place, a payment, with the rows
//! that the engine writes in each, of the same sizes. Beside it stand the same transactions through the store
//! (`commits.rs`), and whole orders with all that plugins and pricing compute, which PostgreSQL does not have to do.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use jiff::Timestamp;

use super::{
    Figure, commits,
    orders::{CLIENTS, Shop, through_services},
};

/// Members of both, each with as many orders as come.
const MEMBERS: usize = 4_000;
/// Orders of which the commits alone are made.
const COMMITTED: u64 = 16_000;
/// How long PostgreSQL is measured.
const SECONDS: u32 = 15;
/// Where Debian puts what a cluster needs.
const BINARIES: &str = "/usr/lib/postgresql/15/bin";
/// Who a cluster runs as where this runs as root, which PostgreSQL refuses.
const USER: &str = "postgres";

/// The tables that an order touches.
const SCHEMA: &str = include_str!("postgres/schema.sql");
/// Quote, place and pay.
const ORDER: &str = include_str!("postgres/order.sql");

pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    ensure!(
        Path::new(BINARIES).join("pgbench").exists(),
        "PostgreSQL 15 is not installed in {BINARIES}: `make bench` installs it"
    );
    let dir = tempfile::tempdir()?;
    let shop = Shop::open(dir.path(), MEMBERS).await?;
    let ours = through_services(&shop, &shop.members).await?.per_second();
    shop.server.stop().await?;
    let at: Timestamp = "2026-03-15T04:00:00Z".parse()?;
    let alone = commits::measure(dir.path(), u64::try_from(MEMBERS)?, COMMITTED, at).await?.per_second();
    let theirs = tokio::task::spawn_blocking(|| Cluster::start()?.orders_per_second());
    let theirs = theirs.await.context("the measurement panicked")??;
    Ok(vec![
        Figure::new("paid orders as SQL, PostgreSQL 15, 16 clients", theirs, "orders/s"),
        Figure::new("the same commits through the store, 16 clients", alone, "orders/s").against(theirs),
        Figure::new("paid orders with plugins and pricing, 16 clients", ours, "orders/s").against(theirs),
    ])
}

/// A cluster that runs until this is dropped.
struct Cluster {
    dir: tempfile::TempDir,
    port: u16,
    as_other: bool,
}

impl Cluster {
    fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("galenic-postgres-").tempdir()?;
        let as_other = rustix::process::geteuid().is_root();
        if as_other {
            let (user, group) = account(USER)?;
            chown(dir.path(), Some(user), Some(group)).context("cannot give the directory to the cluster's user")?;
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let cluster = Self { dir, port, as_other };
        let data = cluster.data();
        let data = data.to_str().context("the directory's name is no text")?;
        cluster.run("initdb", &["-D", data, "-A", "trust", "-U", USER])?;
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c shared_buffers=256MB \
             -c max_wal_size=4GB -c default_transaction_isolation=serializable"
        );
        let log = cluster.dir.path().join("log");
        let log = log.to_str().context("the directory's name is no text")?;
        cluster.run("pg_ctl", &["-D", data, "-w", "-t", "60", "-l", log, "-o", &options, "start"])?;
        Ok(cluster)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs one of PostgreSQL's programs; what it printed.
    fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<String> {
        let program = Path::new(BINARIES).join(program);
        let mut command = if self.as_other {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        // The server that `pg_ctl` leaves behind must not hold our pipes open.
        let starts = args.last() == Some(&"start");
        let out = if starts { Stdio::null() } else { Stdio::piped() };
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
        if starts {
            command.stderr(Stdio::null());
        }
        let done = command.output().with_context(|| format!("cannot run {}", program.display()))?;
        if !done.status.success() {
            bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    fn orders_per_second(&self) -> anyhow::Result<f64> {
        let script = |name: &str, text: &str| {
            let path = self.dir.path().join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            path.into_os_string().into_string().map_err(|_| anyhow::anyhow!("the directory's name is no text"))
        };
        let (port, members) = (self.port.to_string(), format!("members={MEMBERS}"));
        let to = ["-h", "127.0.0.1", "-p", &port, "-U", USER];
        let schema = script("schema.sql", SCHEMA)?;
        self.run("psql", &[&to[..], &["-q", "-v", "ON_ERROR_STOP=1", "-v", &members, "-f", &schema, USER]].concat())?;
        let (order, clients, seconds) = (script("order.sql", ORDER)?, CLIENTS.to_string(), SECONDS.to_string());
        let how = ["-n", "-M", "prepared", "-c", &clients, "-j", "2", "-T", &seconds, "--max-tries", "100"];
        let what = ["-D", &members, "-D", "n=0", "-f", &order, USER];
        let printed = self.run("pgbench", &[&to[..], &how[..], &what[..]].concat())?;
        let rate = printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench said no rate: {printed}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        if let Some(data) = data.to_str()
            && let Err(error) = self.run("pg_ctl", &["-D", data, "-w", "-m", "immediate", "stop"])
        {
            eprintln!("{error:#}");
        }
    }
}

/// The numbers of a user and its group.
fn account(name: &str) -> anyhow::Result<(u32, u32)> {
    let known = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let fields = known.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
    let fields = fields.with_context(|| format!("there is no user {name}"))?;
    let number = |at: usize| fields.get(at).and_then(|text| text.parse().ok());
    number(2).zip(number(3)).with_context(|| format!("/etc/passwd does not say who {name} is"))
}
