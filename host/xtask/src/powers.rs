//! Who may act on the world, by the text of the sources: which code starts processes,
//! writes files and opens sockets. Agents' own code (`repair`, `model`, the rooms of the
//! pipeline) has none of the first two, so what it wants done it can only ask the
//! broker for (invariant 2).
//!
//! `clippy.toml` refuses single methods; this holds whole families of names, and has
//! one list of the exceptions with their reasons.

/// One power over the world.
struct Power {
    /// For messages.
    what: &'static str,
    /// Texts that show it.
    marks: &'static [&'static str],
    /// Path prefixes that may have it, with why.
    holders: &'static [(&'static str, &'static str)],
}

const POWERS: &[Power] = &[
    Power {
        what: "starts processes",
        marks: &[
            "Command::new(",
            "process::Command",
            "fork(",
            "execve",
            "posix_spawn",
            "libc::system",
        ],
        holders: &[
            (
                "host/crates/sandbox/",
                "contains them; the only way for agents and git",
            ),
            (
                "host/crates/guest-build/",
                "compilers, on a policy author's word",
            ),
            ("host/xtask/", "is no part of the product"),
            ("host/build.rs", "is no part of the product"),
            (
                "policies/",
                "only names such calls: a guest has no way to make one",
            ),
            ("tests/", "plays the users"),
        ],
    },
    Power {
        what: "writes files",
        marks: &[
            "fs::write(",
            "fs::copy(",
            "fs::rename(",
            "fs::remove_file(",
            "fs::remove_dir",
            "fs::create_dir",
            "fs::hard_link(",
            "fs::set_permissions(",
            "unix::fs::symlink",
            "File::create",
            "File::options",
            "OpenOptions",
            "OFlags::WRONLY",
            "OFlags::RDWR",
            "OFlags::CREATE",
            "renameat",
            "unlinkat",
            "mkdirat",
            "linkat(",
        ],
        holders: &[
            (
                "host/crates/agent/src/layer.rs",
                "the worktree, for the broker",
            ),
            (
                "host/crates/agent/src/history.rs",
                "the view of the repository's history that commands get",
            ),
            (
                "host/crates/external-agent/src/gateway/",
                "the directory of its own socket",
            ),
            (
                "host/crates/agent/src/workbench.rs",
                "the agents' read-only files",
            ),
            ("host/crates/sandbox/", "roots of contained processes"),
            ("host/crates/worktree/", "the repository, on a permit"),
            ("host/crates/store/", "journal and projection"),
            (
                "host/crates/policy-host/",
                "generations and compiled modules",
            ),
            ("host/crates/policy-source/", "modules from registries"),
            ("host/crates/services/", "logs of services"),
            (
                "host/crates/guest-build/",
                "modules, on a policy author's word",
            ),
            ("host/src/", "sets up, on an operator's word"),
            ("host/xtask/", "is no part of the product"),
            ("host/build.rs", "is no part of the product"),
            ("policies/patch-guard/build.rs", "is no part of the product"),
            ("tests/", "plays the users"),
        ],
    },
    Power {
        what: "opens sockets",
        marks: &[
            "TcpStream",
            "TcpListener",
            "TcpSocket",
            "UdpSocket",
            "UnixStream",
            "UnixListener",
            "UnixDatagram",
            "reqwest::",
            "ureq::",
            "hyper::",
            "hyper_util::",
            "net::socket",
        ],
        holders: &[
            ("host/crates/api/", "the people's own door"),
            (
                "host/crates/external-agent/src/gateway/",
                "the configured endpoint, for a contained agent",
            ),
            ("host/crates/model/", "the configured model"),
            ("host/crates/mcp/", "the configured servers, for the broker"),
            ("host/crates/oidc/", "the configured provider of identities"),
            ("host/crates/policy-source/", "registries of modules"),
            (
                "host/crates/services/",
                "health checks and probes of the operators",
            ),
            (
                "host/crates/sandbox/",
                "pipes, and the ways out that were granted",
            ),
            (
                "host/src/",
                "the command line's own client, on a person's word",
            ),
            ("host/xtask/", "is no part of the product"),
            ("tests/", "plays the users"),
        ],
    },
];

/// Powers that `path` shows and must not have.
pub(crate) fn findings(path: &str, text: &str) -> Vec<String> {
    if is_test(path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for power in POWERS {
        if power
            .holders
            .iter()
            .any(|(place, _)| path.starts_with(place))
        {
            continue;
        }
        let shown = code(text).find_map(|(number, line)| {
            let mark = power.marks.iter().find(|mark| line.contains(**mark))?;
            Some((number, mark))
        });
        if let Some((number, mark)) = shown {
            found.push(format!(
                "{path}:{number}: {mark:?} shows that it {}; only these may: {}",
                power.what,
                power
                    .holders
                    .iter()
                    .map(|(place, why)| format!("{place} ({why})"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ));
        }
    }
    found
}

/// Lines of code, up to the tests of the module, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(text);
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_start()))
        .filter(|(_, line)| !line.starts_with("//"))
}

/// Code that never runs in the product.
fn is_test(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "benches" | "examples" | "tests.rs"))
        || path.ends_with("_tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_found_where_they_do_not_belong() {
        let write = "//! x\nfn f() {\n    std::fs::write(a, b)\n}\n";
        assert_eq!(findings("host/crates/repair/src/engine.rs", write).len(), 1);
        assert_eq!(
            findings("host/crates/pipeline/src/healer.rs", write).len(),
            1
        );
        assert!(findings("host/crates/store/src/journal.rs", write).is_empty());
        assert!(findings("host/crates/repair/tests/heal.rs", write).is_empty());
        assert!(findings("host/crates/repair/src/x_tests.rs", write).is_empty());
        let call = "use std::process::Command;\nfn f() { Command::new(x); }\n";
        assert_eq!(findings("host/src/cli/heal.rs", call).len(), 1);
        let socket = "fn f() { let s = TcpStream::connect(x); }\n";
        assert_eq!(findings("host/crates/agent/src/broker.rs", socket).len(), 1);
        let inert = "// fs::write(\n#[cfg(test)]\nmod tests { fn f() { fs::write(a, b) } }\n";
        assert!(findings("host/crates/repair/src/engine.rs", inert).is_empty());
    }
}
