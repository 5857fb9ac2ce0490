//! What lies in `host/deploy`, held against the program: alerts against its metrics, the container's settings against its
//! configuration.

use std::collections::BTreeSet;

use crate::{
    app::{TestApp, text},
    program::galenic,
    reach::{ask, ready, until},
};

const ALERTS: &str = include_str!("../../host/deploy/alerts.yml");
const RUNBOOK: &str = include_str!("../../host/deploy/RUNBOOK.md");
const CONTAINERFILE: &str = include_str!("../../host/deploy/Containerfile");
const UNIT: &str = include_str!("../../host/deploy/galenic.service");

/// The alerts' names and expressions. Takes the few shapes of lines that stand there, all of which are YAML, and no other.
fn alerts() -> Vec<(&'static str, &'static str)> {
    let mut lines = ALERTS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    for head in ["groups:", "  - name: galenic", "    rules:"] {
        assert_eq!(lines.next(), Some(head));
    }
    let mut alerts = Vec::new();
    while let Some(line) = lines.next() {
        let mut field = |before: &str, after: &str| {
            let line = lines.next().unwrap_or("");
            let field = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            field.unwrap_or_else(|| panic!("`{line}` should be `{before}…{after}`"))
        };
        let name = line.strip_prefix("      - alert: ").unwrap_or_else(|| panic!("`{line}` should begin an alert"));
        let expression = field("        expr: ", "");
        let time = field("        for: ", "m");
        let severity = field("        labels: { severity: ", " }");
        let summary = field("        annotations: { summary: \"", "\" }");
        assert!(!expression.contains(": ") && !expression.contains(" #"), "{name}: that ends a plain scalar");
        assert!(!summary.contains(['"', '\\']), "{name}: that ends a quoted one");
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            let count = |bracket: char| expression.matches(bracket).count();
            assert_eq!(count(open), count(close), "{name}: {expression}");
        }
        assert!(time.parse::<u32>().is_ok() && ["page", "ticket"].contains(&severity), "{name}");
        alerts.push((name, expression));
    }
    alerts
}

/// Names of metrics in an expression, as `/metrics` shows them.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("galenic_")).collect()
}

#[tokio::test]
async fn every_alert_is_about_a_metric_there_is_and_stands_in_the_runbook() {
    let (app, _gateway) = ready().await;
    let member = app.member("m-1").await;
    let touch = ask(&app, &member, "paid", "order-1", "维生素C").await;
    until(&app, &touch, "sent").await;
    let mut shown = String::new();
    // Counted just after it can be seen.
    for _ in 0..1_000 {
        shown = text(&app.operator.get("/metrics").await.expect(200));
        if shown.contains("galenic_touch_outcomes_total{") {
            break;
        }
    }
    let shown: BTreeSet<&str> =
        shown.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect();
    let alerts = alerts();
    assert!(alerts.len() >= 13, "{alerts:?}");
    for (name, expression) in alerts {
        assert!(RUNBOOK.contains(&format!("**{name}**")), "RUNBOOK.md does not say what to do about {name}");
        let metrics = metrics_in(expression);
        assert!(!metrics.is_empty() || name == "GalenicDown", "{name} is about nothing of ours");
        for metric in metrics {
            assert!(shown.contains(metric), "{name}: there is no {metric} in {shown:#?}");
        }
    }
}

/// A fault that comes first must count as an increase, so its counter is there before.
#[tokio::test]
async fn counters_of_faults_are_there_before_the_first_fault() {
    let app = TestApp::start().await;
    let shown = text(&app.operator.get("/metrics").await.expect(200));
    let zero = |line: &&str| line.starts_with("galenic_plugin_faults_total{") && line.contains("fault=\"trap\"");
    assert!(shown.lines().any(|line| zero(&line)), "{shown}");
}

/// The instructions, their continued lines joined.
fn instructions() -> Vec<(&'static str, String)> {
    let joined = CONTAINERFILE.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let known =
        ["FROM", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "ENV", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"];
    let split = |line: &str| {
        let (word, rest) = line.split_once(' ').expect("an instruction and its arguments");
        let word = known.iter().find(|known| **known == word).unwrap_or_else(|| panic!("{word} is no instruction"));
        (*word, rest.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    lines.map(split).collect()
}

#[test]
fn the_container_file_builds_and_runs_what_there_is() {
    let instructions = instructions();
    let all = |word: &str| -> Vec<&str> {
        instructions.iter().filter(|(known, _)| *known == word).map(|(_, rest)| rest.as_str()).collect()
    };
    let manifest = include_str!("../../Cargo.toml");
    let version =
        manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a version");
    assert!(all("FROM")[0].starts_with(&format!("docker.io/library/rust:{version}-")), "{:?}", all("FROM"));
    assert!(all("RUN").contains(&"cargo build --release --locked -p galenic"));
    assert_eq!(all("COPY"), [". .", "--from=build /src/target/release/galenic /usr/local/bin/galenic"]);
    assert_eq!(all("WORKDIR"), ["/src"]);
    assert_eq!(all("ENTRYPOINT"), ["[\"/usr/local/bin/galenic\"]"]);
    assert_eq!(all("CMD"), ["[\"serve\"]"]);
    let settings: Vec<(&str, &str)> = all("ENV")[0].split(' ').filter_map(|pair| pair.split_once('=')).collect();
    let output = galenic(&["config", "show"]).envs(settings.iter().copied()).output().expect("runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown} {}", String::from_utf8_lossy(&output.stderr));
    for (name, value) in &settings {
        let key = name.rsplit("__").next().expect("a key").to_lowercase();
        assert!(shown.contains(&format!("{key} = \"{value}\"")), "{name}={value} does nothing: {shown}");
    }
    let ports: Vec<&str> = settings
        .iter()
        .filter(|(name, _)| name.ends_with("LISTEN"))
        .filter_map(|(_, value)| value.split(':').nth(1))
        .collect();
    assert_eq!(all("EXPOSE"), [ports.join(" ")]);
    let data = settings.iter().find(|(name, _)| name.ends_with("DATA")).expect("a directory").1;
    assert!(data.starts_with(&format!("{}/", all("VOLUME")[0])), "below the volume: {data}");
}

/// The unit's command lines are ones that the program takes.
#[test]
fn the_unit_starts_the_program_as_it_wants_to_be_started() {
    for (key, command) in
        UNIT.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| key.starts_with("Exec"))
    {
        let arguments: Vec<&str> = command.split(' ').skip(1).chain(["--help"]).collect();
        let output = galenic(&arguments).output().expect("runs");
        assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(command.starts_with("/usr/local/bin/galenic "), "{key}");
    }
    let seconds = |text: &str| text.trim().parse::<u64>().ok();
    let stop = UNIT.lines().find_map(|line| seconds(line.strip_prefix("TimeoutStopSec=")?)).expect("a time");
    let drain = include_str!("../../host/deploy/galenic.toml");
    let drain = drain.lines().find_map(|line| seconds(line.strip_prefix("drain_seconds_max =")?)).expect("a time");
    assert!(stop >= 2 * drain, "what drains for {drain} s and is then flushed is killed after {stop} s");
}
