//! The program as a process: its command line, its signals, its exit codes.
//!
//! The child is this test binary, which then is nothing but `galenic` with the arguments it finds in the environment.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitCode, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Set for the child: its arguments, one a line.
const ARGUMENTS: &str = "GALENIC_TEST_ARGUMENTS";

/// The child's whole life. Does nothing when it is run as a test.
#[test]
fn child() -> ExitCode {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return ExitCode::SUCCESS };
    let code = galenic::cli::main_with(std::iter::once("galenic").chain(arguments.lines()));
    // The test harness knows only 0 and 101.
    std::process::exit(i32::from(code != ExitCode::SUCCESS) * if code == ExitCode::from(2) { 2 } else { 1 });
}

pub(crate) fn galenic(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "program::child", "--nocapture", "--test-threads=1"]);
    command.env(ARGUMENTS, arguments.join("\n")).env("GALENIC_OPERATOR_KEY", "the-operators-own-key");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = galenic(arguments).output().expect("runs");
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code().expect("an exit code"), text)
}

/// A server on a port of its own; killed if the test fails.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) url: String,
    metrics_url: String,
}

impl Server {
    pub(crate) fn start(data: &Path) -> Self {
        galenic::app::choose_crypto();
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let (listen, metrics) = (free().to_string(), free().to_string());
        let data = data.to_str().expect("a path");
        let arguments = ["serve", "--data", data, "--listen", &listen, "--metrics-listen", &metrics, "--log", "json"];
        let child = galenic(&arguments).spawn().expect("starts");
        Self { child: Some(child), url: format!("http://{listen}"), metrics_url: format!("http://{metrics}") }
    }

    pub(crate) async fn ready(&self) {
        let begun = Instant::now();
        while reqwest::get(format!("{}/readyz", self.url)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(120), "the server does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn end(mut self, signal: Signal) -> Output {
        let child = self.child.take().expect("runs");
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(id, signal).expect("is told");
        child.wait_with_output().expect("ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
        }
    }
}

#[tokio::test]
async fn a_signal_ends_the_server_in_order_and_its_books_verify() {
    let data = TempDir::new().expect("a directory");
    let path = data.path().to_str().expect("a path");
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(data.path());
        server.ready().await;
        let metrics = reqwest::get(format!("{}/metrics", server.metrics_url)).await.expect("answers");
        assert!(metrics.text().await.expect("text").contains("galenic_store_commits_total"));
        let (code, text) = run(&["verify", "--data", path]);
        assert!(code == 1 && text.contains("in use by another process"), "{code} {text}");
        let Output { status, stderr, .. } = server.end(signal);
        let log = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
        assert!(log.contains("\"stopped\""), "{log}");
    }
    let (code, text) = run(&["verify", "--data", path]);
    assert!(code == 0 && text.contains("the books close"), "{code} {text}");
    let key = data.path().join("master.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&key.metadata().expect("a key file").permissions());
    assert_eq!(mode & 0o777, 0o600, "only the owner reads the master key");
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_an_exit_code() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("galenic.toml");
    std::fs::write(&file, "[server]\nlisten_to = 1\n").expect("writes");
    let (file, nowhere) = (file.to_str().expect("a path"), dir.path().join("nowhere"));
    let nowhere = nowhere.to_str().expect("a path");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["config", "check", file], 1, "listen_to"),
        (&["config", "check", nowhere], 1, "cannot read"),
        (&["config", "check"], 0, "is sound"),
        (&["config", "show"], 0, "quote_minutes = 15"),
        (&["verify", "--data", nowhere], 1, "holds no store"),
        (&["plugin", "check", file], 1, "compile it first"),
        (&["key", "create", "--data", nowhere, "--scopes", "members:fly"], 1, "members:fly"),
        (&["serve", "--clock", "2026-01-01T00:00:00Z"], 2, "--dev"),
        (&["fly"], 2, "unrecognized subcommand"),
        (&["--version"], 0, "galenic"),
        (&["completions", "bash"], 0, "complete -F _galenic"),
        (&["completions", "zsh"], 0, "#compdef galenic"),
        (&["completions", "fish"], 0, "complete -c galenic"),
        (&["man"], 0, ".TH galenic 1"),
        (&["backup", "--to", "x", "--config", "y"], 2, "--data"),
        (&["backup", "--to", nowhere, "--data", nowhere], 1, "holds no store"),
        (&["compact", "--data", nowhere], 1, "holds no store"),
        (&["verify", "--backup", file], 1, "no backup of Galenic"),
        (&["verify", "--backup", nowhere], 1, "cannot open"),
        (&["restore", "--from", file, "--data", nowhere], 1, "GALENIC_MASTER_KEY"),
    ];
    for (arguments, exit, contains) in cases {
        let (code, text) = run(arguments);
        assert!(code == *exit && text.contains(contains), "{arguments:?}: {code} {text}");
        assert!(!text.contains("the-operators-own-key"), "{arguments:?} shows a secret: {text}");
    }
}

/// Names, numbers and addresses in the body, the path and the query, of requests that are fine and of some that are not.
#[tokio::test]
async fn no_personal_data_reaches_the_log() {
    let data = TempDir::new().expect("a directory");
    let server = Server::start(data.path());
    server.ready().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = |path: &str, key: &'static str, body: &'static str| {
        client
            .post(format!("{}{path}", server.url))
            .bearer_auth("the-operators-own-key")
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(body)
    };
    let get = |path: &str| client.get(format!("{}{path}", server.url)).bearer_auth("the-operators-own-key");
    const REFUSED: u16 = 400;
    let profile = r#"{"external_id":"li-wei@example.com","profile":{"name":"Li Wei","phone":"+8613800138000"}}"#;
    let asked = [
        (post("/v1/members", "li-wei-1", profile), 201),
        (post("/v1/members", "li-wei-2", profile), 409),
        (post("/v1/members", "li-wei-3", r#"{"profile":{"phone":"+8613800138000 Li Wei"}}"#), REFUSED),
        (post("/v1/members", "li-wei-4", r#"{"Li Wei":"#), REFUSED),
        (post("/v1/members?name=Li%20Wei", "li-wei-5", r#"{"profile":{"Li Wei":1}}"#), REFUSED),
        (get("/v1/members/by-external-id/li-wei@example.com"), 200),
        (get("/v1/members/+8613800138000"), REFUSED),
        (get("/v1/members?cursor=Li%20Wei"), REFUSED),
        (get("/Li/Wei/+8613800138000"), REFUSED),
    ];
    for (request, status) in asked {
        let answer = request.send().await.expect("answers");
        let got = answer.status().as_u16();
        assert!(if status == REFUSED { (400..500).contains(&got) } else { got == status }, "{got}, not {status}");
    }
    let log = String::from_utf8(server.end(Signal::TERM).stderr).expect("text");
    assert!(log.lines().filter(|line| line.contains("answered")).count() >= 9, "{log}");
    for personal in ["Li Wei", "Li%20Wei", "li-wei", "13800138000", "/Li/"] {
        assert!(!log.contains(personal), "{personal} is in the log: {log}");
    }
}
