//! The house rules, as far as a machine can hold them: which crate is named where, which room may know which, how long
//! a function is, who may look at a clock.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The longest function, in lines from its signature to its last brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Crates that one room alone may name.
const OWNED: &[(&str, &[&str])] = &[
    ("axum", &["http/"]),
    // The demo's gateway is a vendor's server, not one of Galenic's.
    ("hyper", &["http/", "cli/demo/gateway.rs", "plugin/outbound/"]),
    ("utoipa", &["http/"]),
    ("croner", &["scheduler/"]),
    ("sled", &["store/"]),
    ("wasmtime", &["plugin/"]),
    ("clap", &["cli/"]),
    ("reqwest", &["cli/", "plugin/outbound/"]),
    ("lettre", &["plugin/outbound/"]),
    ("rustls", &["plugin/outbound/"]),
    ("chacha20poly1305", &["members/"]),
];

/// What each room may know; `app.rs` and the tests know everything.
const KNOWS: &[(&str, &[&str])] = &[
    ("domain", &["ids"]),
    ("clock", &[]),
    ("ids", &[]),
    ("store", &["ids"]),
    ("pricing", &["domain", "ids"]),
    ("plugin", &["domain", "ids"]),
    ("ledger", &["domain", "ids", "store", "events"]),
    ("scheduler", &["domain", "ids", "store"]),
    ("events", &["domain", "ids", "store"]),
    ("members", &["domain", "ids", "store"]),
    ("reach", &["domain", "ids", "store"]),
    ("backup", &["members", "plugin", "store"]),
    ("recommend", &["events", "ids", "store"]),
    (
        "service",
        &[
            "backup",
            "clock",
            "domain",
            "events",
            "ids",
            "ledger",
            "members",
            "plugin",
            "pricing",
            "reach",
            "recommend",
            "scheduler",
            "store",
        ],
    ),
    ("http", &["backup", "domain", "ids", "ledger", "plugin", "pricing", "reach", "service", "store"]),
    (
        "cli",
        &[
            "app",
            "backup",
            "clock",
            "domain",
            "http",
            "ids",
            "ledger",
            "members",
            "plugin",
            "reach",
            "scheduler",
            "service",
            "store",
        ],
    ),
    ("main", &["cli"]),
];

/// Who may look at a clock of the machine, and what for.
const CLOCKS: &[(&str, &str)] = &[
    ("clock.rs", "is where time comes from"),
    ("backup/make.rs", "takes no more than its share"),
    ("cli/", "measures what people wait for"),
    ("http/extract/auth.rs", "counts requests per second"),
    ("http/limits.rs", "counts requests per second"),
    ("http/trace.rs", "measures requests"),
    ("plugin/", "measures calls and ends them"),
    ("store/", "measures syncs"),
];

struct Source {
    /// Below `host/src`.
    path: String,
    /// Without tests and without comments, line by line.
    lines: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every file of the host, without its tests.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("host/src"), &mut files);
    let read = |file: PathBuf| {
        let path = file.strip_prefix(root().join("host/src")).expect("below").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("is text");
        Source { path, lines: code(&text) }
    };
    files.into_iter().map(read).filter(|source| !is_test(&source.path)).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.contains("tests/")
        || name.ends_with("tests.rs")
        || matches!(name, "fixture.rs" | "conformance.rs" | "golden.rs")
}

/// The lines before the tests at the end of a file, without comments.
fn code(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut all = text.lines().peekable();
    while let Some(line) = all.next() {
        let begins_tests = line == "#[cfg(test)]" && all.peek().is_some_and(|next| next.ends_with('{'));
        if begins_tests {
            break;
        }
        let line = if line.trim_start().starts_with("//") { "" } else { line };
        lines.push(line.split(" // ").next().unwrap_or("").to_owned());
    }
    lines
}

/// Whether a line names a path that begins with `name`.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':')
    })
}

/// The room of a file: its folder, or the file itself.
fn room(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// The rooms that a file names after `crate::`, also in a grouped import.
fn named_rooms(lines: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut depth = None;
    for (number, line) in lines.iter().enumerate() {
        let word = |text: &str| {
            text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>()
        };
        for (at, _) in line.match_indices("crate::") {
            let preceded =
                line[..at].chars().next_back().is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
            let rest = &line[at + "crate::".len()..];
            if !preceded && !rest.starts_with('{') {
                found.push((number, word(rest)));
            }
        }
        if line.trim_end().ends_with("use crate::{") {
            depth = Some(1_i32);
            continue;
        }
        if let Some(open) = depth.as_mut() {
            if *open == 1 {
                found.push((number, word(line.trim())));
            }
            *open += i32::try_from(line.matches('{').count()).unwrap_or(0);
            *open -= i32::try_from(line.matches('}').count()).unwrap_or(0);
            if *open <= 0 {
                depth = None;
            }
        }
    }
    found.retain(|(_, name)| !name.is_empty());
    found
}

#[track_caller]
fn nothing(found: &str) {
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn each_large_crate_is_named_in_one_room() {
    let mut found = String::new();
    for source in sources() {
        for (owned, rooms) in OWNED {
            if rooms.iter().any(|room| source.path.starts_with(room)) {
                continue;
            }
            for (at, line) in source.lines.iter().enumerate().filter(|(_, line)| names(line, owned)) {
                let _ = writeln!(found, "{}:{}: {owned} belongs in {}: {}", source.path, at + 1, rooms[0], line.trim());
            }
        }
    }
    nothing(&found);
}

#[test]
fn no_room_knows_one_above_it() {
    let mut found = String::new();
    for source in sources() {
        let room = room(&source.path);
        let Some((_, known)) = KNOWS.iter().find(|(name, _)| *name == room) else {
            assert!(
                matches!(room, "app" | "lib"),
                "{}: {room} is a new room: say in KNOWS what it may know",
                source.path
            );
            continue;
        };
        for (at, name) in named_rooms(&source.lines) {
            let is_room = KNOWS.iter().any(|(known, _)| *known == name) || name == "app";
            if is_room && name != room && !known.contains(&name.as_str()) {
                let _ = writeln!(found, "{}:{}: {room} may not know {name}", source.path, at + 1);
            }
        }
    }
    nothing(&found);
}

#[test]
fn functions_are_short() {
    let mut found = String::new();
    for source in sources() {
        let mut begun: Option<(usize, usize, String)> = None;
        for (at, line) in source.lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function =
                ["fn ", "pub fn ", "async fn ", "pub async fn ", "const fn ", "pub const fn "].iter().any(|begin| {
                    line.trim_start().strip_prefix("pub(crate) ").unwrap_or(line.trim_start()).starts_with(begin)
                }) || line.trim_start().starts_with("pub(super) ") && line.contains("fn ");
            if is_function && begun.is_none() {
                begun = Some((at, indent, line.trim().to_owned()));
            }
            if let Some((start, level, name)) = &begun {
                let ends = (indent == *level && (line.trim_start().starts_with('}') || line.ends_with(';')))
                    || (at == *start && line.ends_with('}'));
                if ends {
                    if at - start + 1 > FUNCTION_LINES_MAX {
                        let _ = writeln!(found, "{}:{}: {} lines: {name}", source.path, start + 1, at - start + 1);
                    }
                    begun = None;
                }
            }
        }
    }
    nothing(&found);
}

#[test]
fn time_is_an_argument() {
    let mut found = String::new();
    let clocks = ["Timestamp::now(", "Zoned::now(", "SystemTime::now(", "Instant::now("];
    for source in sources() {
        if CLOCKS.iter().any(|(allowed, _)| source.path.starts_with(allowed)) {
            continue;
        }
        for (at, line) in source.lines.iter().enumerate() {
            if clocks.iter().any(|clock| line.contains(clock)) {
                let _ = writeln!(found, "{}:{}: {}", source.path, at + 1, line.trim());
            }
        }
    }
    nothing(&found);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let mut found = String::new();
    for source in sources() {
        for (at, line) in source.lines.iter().enumerate() {
            if line.contains(".unwrap()") || line.contains("println!(\"debug") || line.contains("sleep(Duration::ZERO")
            {
                let _ = writeln!(found, "{}:{}: {}", source.path, at + 1, line.trim());
            }
        }
    }
    nothing(&found);
}

#[test]
fn the_map_names_every_room() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let mut rooms: Vec<String> = sources().iter().map(|source| room(&source.path).to_owned()).collect();
    rooms.dedup();
    rooms.retain(|name| name != "lib" && name != "main");
    let named = |name: &str| readme.contains(&format!("{name}/`")) || readme.contains(&format!("{name}.rs`"));
    let missing: Vec<&String> = rooms.iter().filter(|name| !named(name)).collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?}");
}

#[test]
fn the_top_level_holds_what_was_agreed() {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).expect("the workspace") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let agreed =
            ["Cargo.toml", "Cargo.lock", "Makefile", "README.md", "rustfmt.toml", "clippy.toml", "deny.toml", "target"];
        let folders = ["host", "plugins", "wit", "sdk", "tests"];
        let fits = name.starts_with('.') || name.starts_with("LICENSE") || agreed.contains(&name.as_str());
        if !fits && !folders.contains(&name.as_str()) {
            found.push(name);
        }
    }
    assert!(found.is_empty(), "{found:?} stand at the top level");
}
