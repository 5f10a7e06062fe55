//! Who may import whom: downwards only, so that a module can be read with what is below it.

use std::fs;
use std::path::{Path, PathBuf};

/// Nouns that everything may use.
const NOUNS: &[&str] = &["address", "mail", "message", "sasl", "secret", "wire"];

/// What a module may name of the crate besides itself; a path covers what is below it.
const RULES: &[(&str, &[&str])] = &[
    ("address", &[]),
    ("wire", &[]),
    ("secret", &[]),
    ("settings", &["mail::addressing", "mail::option", "address"]),
    (
        "announce",
        &["store", "mail", "address", "secret", "settings"],
    ),
    ("control", &["announce"]),
    ("serve", &["announce"]),
    ("mail", &["address"]),
    ("sasl", &["mail", "secret"]),
    ("message", &["mail", "address"]),
    ("authentication", &["message", "secret", "net::dns"]),
    ("store", &["message", "mail", "address", "secret"]),
    ("recipient", &["store", "mail", "address"]),
    (
        "imap_url",
        &["store", "message", "mail", "address", "secret"],
    ),
    (
        "login",
        &[
            "store",
            "net::limit",
            "net::source",
            "mail",
            "address",
            "sasl",
            "secret",
        ],
    ),
    (
        "queue",
        &[
            "store",
            "recipient",
            "settings",
            "message",
            "mail",
            "address",
            "secret",
            "sasl",
            "settings",
            "net",
            "smtp::client",
            "wire",
            "authentication",
            "keys",
        ],
    ),
    (
        "acme",
        &[
            "announce", "net", "secret", "settings", "store", "task", "wire",
        ],
    ),
    ("update", &["acme::http", "net", "wire"]),
    ("cli/update", &["net", "update", "cli"]),
    ("cli/serve", &["update", "cli"]),
    ("control", &["acme"]),
    ("serve", &["acme"]),
    ("net", &["wire", "mail::certificate"]),
    (
        "context",
        &[
            "store",
            "login",
            "settings",
            "net::connect",
            "net::dns",
            "net::exporter",
            "net::stream",
            "net::tls",
            "net::trust",
            "mail",
            "address",
            "secret",
            "sasl",
            "wire",
        ],
    ),
    (
        "control",
        &[
            "store",
            "net::authority",
            "net::connect",
            "net::dns",
            "net::limit",
            "net::listen",
            "net::stream",
            "net::tls",
            "mail",
            "address",
            "login::sessions",
            "sasl",
            "secret",
            "settings",
            "queue::route",
            "queue::transport",
            "message",
            "wire",
        ],
    ),
    ("control", &["collect::collector", "collect::record"]),
    ("collect", NOUNS),
    (
        "collect",
        &[
            "authentication::results",
            "context",
            "imap::client",
            "net::connect",
            "net::dns",
            "net::stream",
            "net::trust",
            "pop3::client",
            "store",
        ],
    ),
    (
        "console",
        &[
            "control",
            "setup::phrases",
            "setup::text",
            "address",
            "mail",
            "secret",
            "task",
        ],
    ),
    ("cli/console", &["console", "setup", "cli"]),
    ("cli/status", &["console", "setup", "cli"]),
    ("recent", &[]),
    ("appliance", &["secret"]),
    ("cli", &["appliance"]),
    ("console/run", &["appliance"]),
    ("cli/rescue", &["store", "mail", "cli"]),
    ("control", &["announce", "recent"]),
    ("cli/logger", &["recent"]),
    ("control", &["keys", "authentication"]),
    ("setup", &["address", "mail", "secret", "settings", "sasl"]),
    ("control", &["setup"]),
    ("keys", &["store", "authentication", "address", "secret"]),
    ("cli/dns", &["cli", "authentication", "net::dns"]),
    (
        "serve",
        &[
            "collect",
            "context",
            "control",
            "imap::serve",
            "pop3::serve",
            "smtp::serve",
            "login",
            "queue",
        ],
    ),
    (
        "serve",
        &["mail::option", "net", "queue", "settings", "store"],
    ),
    (
        "cli",
        &[
            "collect::collector",
            "serve",
            "control",
            "settings",
            "setup",
            "address",
            "mail",
            "secret",
        ],
    ),
    // The demo hands out the authority's certificate and looks for IPv6.
    ("cli/demo", &["net", "cli"]),
    // A mail program's side of all services, to try them.
    ("cli/test", &["net", "wire", "cli"]),
    // They word what the store knows by name.
    ("cli/app_password", &["store", "cli"]),
    ("cli/log", &["store", "cli"]),
    // It looks at ports, names and certificates.
    ("cli/setup", &["net", "authentication", "cli"]),
    ("cli/certificate", &["net::client_certificate", "cli"]),
    // What is asked of the audit log; which services there are.
    ("cli/log", &["store", "cli"]),
    ("cli/app_password", &["store", "cli"]),
    ("main", &["cli"]),
];

/// Of a protocol, what its driver may name besides the nouns and its own modules.
const DRIVER: &[&str] = &[
    "context",
    "imap_url",
    "keys",
    "login",
    "net::dns",
    "net::relay",
    "net::stream",
    "net::tls",
    "recipient",
    "settings",
    "store",
];

/// What pure code does not touch: files, sockets, clocks, the executor.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::os::unix",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "async_io",
    "smol::",
    "async fn",
    "crate::task",
];

/// Pure files of modules that are not.
const PURE: &[&str] = &[
    "acme/alarm.rs",
    "acme/message.rs",
    "acme/http.rs",
    "acme/json.rs",
    "collect/findings.rs",
    "imap_url/url.rs",
    "queue/ready.rs",
    "queue/retry.rs",
    "update/minisign.rs",
    "update/package.rs",
    "update/state.rs",
];

#[test]
fn imports_go_downwards() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for name in names(&text) {
            if !allowed(&file, &name) {
                wrong.push(format!("{file} names crate::{name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn pure_modules_do_no_io() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let module = file.split(['/', '.']).next().unwrap_or_default();
        let pure = (NOUNS.contains(&module) && module != "secret")
            || module == "setup"
            || (is_protocol(module) && !is_driver(&file))
            || PURE.contains(&file.as_str());
        let words = IMPURE.iter().filter(|word| pure && text.contains(**word));
        wrong.extend(words.map(|word| format!("{file} has {word}")));
        if module != "store" && text.contains("redb::") {
            wrong.push(format!("{file} names redb"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn is_protocol(module: &str) -> bool {
    matches!(module, "imap" | "pop3" | "smtp")
}

/// `imap/serve.rs` and `imap/serve/*`.
fn is_driver(file: &str) -> bool {
    file.split(['/', '.']).nth(1) == Some("serve")
}

fn allowed(file: &str, name: &str) -> bool {
    let module = file.split(['/', '.']).next().unwrap_or_default();
    let covers = |path: &&str| name == *path || name.starts_with(&format!("{path}::"));
    if covers(&module) || covers(&"task") || file == "lib.rs" {
        return true;
    }
    if is_protocol(module) {
        let judges = module == "smtp" && covers(&"authentication");
        return judges
            || NOUNS.iter().any(covers)
            || (is_driver(file) && DRIVER.iter().any(covers));
    }
    RULES
        .iter()
        .filter(|(rule, _)| {
            let below = file.strip_prefix(rule);
            *rule == module || below.is_some_and(|it| it.starts_with('/') || it == ".rs")
        })
        .any(|(_, paths)| paths.iter().any(covers))
}

/// Every source file below src, by its path there, without comments and tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut todo = vec![root.clone()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).expect("src is there") {
            let path: PathBuf = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                todo.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let file = path.strip_prefix(&root).expect("below src");
                found.push((file.to_string_lossy().into_owned(), shipped(&text)));
            }
        }
    }
    assert!(found.len() > 30, "only {} files", found.len());
    found
}

/// Tests stand last in a file, so what follows `#[cfg(test)]` on a `mod` is theirs.
fn shipped(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        if line == "#[cfg(test)]" && (next.starts_with("mod ") || next.starts_with("#[path")) {
            break;
        }
        if !line.trim_start().starts_with("//") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The paths that follow `crate::`, groups taken apart: `{a, b::{c, d}}` gives `a`, `b::c`
/// and `b::d`.
fn names(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        take("", part, &mut found);
    }
    found
}

/// Takes one path or group off the front of `text`; gives what follows it.
fn take<'a>(prefix: &str, text: &'a str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.is_empty() && !rest.starts_with('}') {
            rest = take(prefix, rest, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        return rest.strip_prefix('}').unwrap_or(rest);
    }
    let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '*');
    let end = text.find(|c| !is_path(c)).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    if path.ends_with("::") && rest.starts_with('{') {
        return take(&format!("{prefix}{path}"), rest, found);
    }
    found.push(format!("{prefix}{path}"));
    // `as name`, or something that is no path at all.
    rest.trim_start_matches(|c| c != ',' && c != '}' && c != '\n')
}

#[test]
fn the_rules_bite() {
    assert_eq!(
        names("use crate::{a, b::{c, d}};\nlet x = crate::e::F::new();"),
        ["a", "b::c", "b::d", "e::F::new"]
    );
    assert!(allowed("imap/session.rs", "wire::Input"));
    assert!(!allowed("imap/session.rs", "store::Store"));
    assert!(allowed("imap/serve/fetch.rs", "store::Store"));
    assert!(!allowed("imap/serve.rs", "smtp::reply"));
    assert!(!allowed("store/mod.rs", "net::stream"));
    assert!(!allowed("pop3/serve.rs", "net::listen"));
    assert!(!allowed("wire.rs", "mail::Uid"));
}
