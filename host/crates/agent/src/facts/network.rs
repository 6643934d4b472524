//! Hosts that a command would talk to, as far as its words say.

use super::word::Value;

/// Programs that take hosts, and whose addresses count.
const CLIENTS: &[&str] = &[
    "curl",
    "wget",
    "http",
    "https",
    "xh",
    "aria2c",
    "ftp",
    "lftp",
    "ssh",
    "scp",
    "sftp",
    "rsync",
    "nc",
    "ncat",
    "netcat",
    "socat",
    "telnet",
    "ping",
    "dig",
    "nslookup",
    "host",
    "traceroute",
    "nmap",
    "openssl",
    "psql",
    "mysql",
    "redis-cli",
    "mongo",
    "mongosh",
];

/// Programs that look at texts: an address among their words is a text.
const READERS: &[&str] = &[
    "echo", "printf", "grep", "egrep", "fgrep", "rg", "ag", "ack", "sed", "awk", "gawk", "jq",
    "test", "[", "find", "export", "declare", "local", "readonly", "cat", "ls", "tr", "cut", ":",
];

/// What package managers talk to; its address is a matter of their configuration.
const REGISTRY: &str = "package-registry";

/// Package managers, and the words with which they talk to it.
const REGISTRIES: &[(&str, &[&str])] = &[
    ("pip", &["install", "download"]),
    ("pip3", &["install", "download"]),
    ("uv", &["pip", "add", "sync", "tool"]),
    ("poetry", &["install", "add", "update"]),
    ("npm", &["install", "i", "ci", "add", "update", "publish"]),
    ("pnpm", &["install", "i", "add", "update"]),
    ("yarn", &["install", "add", "upgrade"]),
    ("npx", &["--yes", "-y"]),
    ("cargo", &["install", "add", "update", "publish", "fetch"]),
    ("go", &["get", "install"]),
    ("gem", &["install", "update", "push"]),
    ("apt", &["install", "update", "upgrade"]),
    ("apt-get", &["install", "update", "upgrade"]),
    ("apk", &["add", "update", "upgrade"]),
    ("docker", &["pull", "push", "run", "build"]),
];

/// Hosts of one command line.
pub(super) fn hosts(name: &str, rest: &[Value]) -> Vec<String> {
    let mut hosts = Vec::new();
    if READERS.contains(&name) {
        return hosts;
    }
    for word in rest {
        if let Some(host) = of_address(&word.text) {
            hosts.push(host);
        }
    }
    if CLIENTS.contains(&name) {
        hosts.extend(rest.iter().filter_map(|word| bare_host(name, word)));
        if hosts.is_empty() && !rest.iter().all(|word| word.text.starts_with("--")) {
            hosts.push("unknown".to_owned());
        }
    }
    if name == "git" {
        hosts.extend(git(rest));
    }
    let words: Vec<&str> = rest.iter().map(|word| word.text.as_str()).collect();
    for (manager, verbs) in REGISTRIES {
        let module = name.starts_with("python")
            && matches!(words.as_slice(), ["-m", module, ..] if module == manager);
        if (name == *manager || module) && words.iter().any(|word| verbs.contains(word)) {
            hosts.push(REGISTRY.to_owned());
        }
    }
    hosts
}

/// The host of `scheme://user@host:port/…`; a file is none.
fn of_address(text: &str) -> Option<String> {
    let at = text.find("://")?;
    let scheme = text
        .get(..at)?
        .rsplit(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c))
        .next()?;
    if scheme.is_empty() || scheme == "file" {
        return None;
    }
    let rest = text.get(at + 3..)?;
    let authority = rest.split(['/', '?', '#', '\'', '"', ' ']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next()?,
        None => host.split(':').next()?,
    };
    Some(if host.is_empty() { "unknown" } else { host }.to_owned())
}

/// A word of a network client that can be a host: `user@host:path`, `host`,
/// `host:port`.
fn bare_host(name: &str, word: &Value) -> Option<String> {
    let text = word.text.as_str();
    if text.starts_with(['-', '.', '/', '+', '@']) || text.contains("://") || text.contains('=') {
        return None;
    }
    if matches!(name, "scp" | "rsync" | "sftp") && !text.contains(':') {
        return None;
    }
    let host = text.rsplit('@').next()?;
    let host = host.split([':', '/', ',']).next()?;
    let shaped = host
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    let likely = host.contains('.') || host == "localhost" || text.contains('@');
    let first_operand = matches!(name, "ssh" | "nc" | "ncat" | "netcat" | "telnet" | "ping");
    (shaped
        && !host.is_empty()
        && (likely || (first_operand && !host.bytes().all(|b| b.is_ascii_digit()))))
    .then(|| host.to_owned())
}

/// Remotes of git, named or not.
fn git(rest: &[Value]) -> Vec<String> {
    let verb = rest
        .iter()
        .map(|word| word.text.as_str())
        .find(|text| !text.starts_with('-'));
    let talks = matches!(
        verb,
        Some("clone" | "fetch" | "pull" | "push" | "ls-remote" | "submodule" | "remote")
    );
    if !talks {
        return Vec::new();
    }
    // `git@host:path`, the short form of ssh.
    let short: Vec<String> = rest
        .iter()
        .filter(|word| !word.text.contains("://"))
        .filter_map(|word| word.text.split_once('@'))
        .filter_map(|(_, rest)| rest.split_once(':'))
        .map(|(host, _)| host.to_owned())
        .collect();
    let named = rest.iter().any(|word| word.text.contains("://"));
    match (short.is_empty(), named, verb) {
        (true, false, Some("fetch" | "pull" | "push" | "clone" | "ls-remote")) => {
            vec!["unknown".to_owned()]
        }
        _ => short,
    }
}

/// The host of bash's `/dev/tcp/host/port`.
pub(super) fn device(path: &str) -> Option<String> {
    let rest = path
        .strip_prefix("/dev/tcp/")
        .or_else(|| path.strip_prefix("/dev/udp/"))?;
    Some(rest.split('/').next().unwrap_or("unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found() {
        for (line, want) in [
            (
                "curl -s https://user:pw@evil.example:8080/x?y",
                "evil.example",
            ),
            ("curl evil.example/x", "evil.example"),
            ("curl file:///etc/passwd", "unknown"),
            ("wget http://[::1]/x", "::1"),
            ("ssh me@host ls", "host"),
            ("scp a.txt host.example:b", "host.example"),
            ("git push", "unknown"),
            ("git clone git@forge.example:a/b", "forge.example"),
            ("git status", ""),
            ("git ls-remote ssh://x.invalid/y", "x.invalid"),
            ("pip install requests", "package-registry"),
            ("python3 -m pip install requests", "package-registry"),
            ("npm test", ""),
            ("grep https://example.org file", ""),
            ("node client.js https://example.org", "example.org"),
        ] {
            let words: Vec<Value> = line.split(' ').map(Value::plain).collect();
            let (name, rest) = words.split_first().expect("a word");
            assert_eq!(
                hosts(&name.text, rest).first().map_or("", String::as_str),
                want,
                "{line}"
            );
        }
        assert_eq!(device("/dev/tcp/evil/80").as_deref(), Some("evil"));
    }
}
