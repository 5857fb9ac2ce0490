//! Vendors on the loopback: an HTTP server that answers by a function, and a real SMTP server.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use galenic::plugin::HttpGrant;
use serde_json::Value as Json;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// What is answered: a status, more headers, a body.
pub(crate) type Reply = (u16, Vec<(&'static str, String)>, String);

/// An HTTP server that counts connections.
pub(crate) struct Vendor {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Vendor {
    /// Answers every request by `answer`; `None` closes the connection without a word.
    pub(crate) fn start(answer: impl Fn(&Arrived) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::over(Some, answer)
    }

    /// The same over connections that `wrap` makes of sockets: TLS.
    pub(crate) fn over<S: Read + Write>(
        wrap: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
        answer: impl Fn(&Arrived) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new((wrap, answer)));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve((answer.0)(stream)?, &answer.1));
            }
        });
        Self { address, connections }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The grant that a release needs to reach it.
    pub(crate) fn grant(&self) -> HttpGrant {
        HttpGrant { scheme: "http".into(), host: "127.0.0.1".into(), port: self.address.port(), private: true }
    }
}

fn serve<S: Read + Write>(stream: S, answer: &dyn Fn(&Arrived) -> Option<Reply>) -> Option<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let mut arrived = Arrived { method, target, headers, body: String::new() };
        let mut body = vec![0; arrived.header("content-length").parse().unwrap_or(0)];
        lines.read_exact(&mut body).ok()?;
        arrived.body = String::from_utf8(body).ok()?;
        let (status, headers, body) = answer(&arrived)?;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let reply = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
        lines.get_mut().write_all(reply.as_bytes()).ok()?;
        lines.get_mut().flush().ok()?;
    }
}

/// A server that takes connections and never says a word.
pub(crate) fn silent() -> (TcpListener, HttpGrant) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, HttpGrant { scheme: "http".into(), host: "127.0.0.1".into(), port, private: true })
}

/// A real SMTP server. What it does with a mail depends on the receiver, see `smtp_sink.py`.
pub(crate) struct Smtp {
    pub(crate) port: u16,
    lines: BufReader<ChildStdout>,
    process: Child,
}

impl Smtp {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With options of `smtp_sink.py`.
    pub(crate) fn with(options: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/smtp_sink.py");
        // Where `make setup` puts what the machine's Python does not have.
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python");
        let more = std::env::var("PYTHONPATH").map_or_else(|_| String::new(), |path| format!(":{path}"));
        let mut python = Command::new("python3");
        python.arg(script).args(options).env("PYTHONPATH", format!("{beside}{more}"));
        let process = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.expect("python3 runs; `make setup` says what is missing");
        let mut lines = BufReader::new(process.stdout.take().expect("is piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("a line");
        let port = first.trim().parse().expect("the SMTP server did not start: run `make setup`, it brings aiosmtpd");
        Self { port, lines, process }
    }

    /// The next mail that it took.
    pub(crate) fn taken(&mut self) -> Json {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("is JSON")
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}
