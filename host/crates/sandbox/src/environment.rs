//! The environment of contained commands: an allow-list, because a token in an
//! environment variable is readable by everything that runs.

use std::collections::BTreeMap;

/// Exact names that tools need and that carry no secret.
const NAMES: &[&str] = &[
    "CI",
    "CARGO_HOME",
    "COLORTERM",
    "COLUMNS",
    "DJANGO_SETTINGS_MODULE",
    "GOCACHE",
    "GOFLAGS",
    "GOMODCACHE",
    "GOPATH",
    "GOROOT",
    "HOME",
    "JAVA_HOME",
    "LANG",
    "LANGUAGE",
    "LINES",
    "LOGNAME",
    "MAVEN_OPTS",
    "NODE_ENV",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NO_COLOR",
    "PATH",
    "PERL5LIB",
    "PHPRC",
    "RUSTC",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SHELL",
    "TERM",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "npm_config_cache",
];

/// Families of such names.
const PREFIXES: &[&str] = &[
    "CONDA_", "FLASK_", "GEM_", "LC_", "NVM_", "PYENV_", "PYTEST_", "PYTHON", "RBENV_", "RUBY",
];

/// Names in an allowed family that run code or open a door.
const REFUSED: &[&str] = &["PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONBREAKPOINT"];

/// The part of the host's environment that a contained command may see, and the
/// variables named in `extra` unless they [look secret](looks_secret). `TMPDIR`
/// is always `/tmp`, and `PATH` is never missing.
pub fn allowed_environment(extra: &[String]) -> BTreeMap<String, String> {
    select(
        std::env::vars_os().filter_map(|(name, value)| {
            // What is not UTF-8 cannot be recorded either.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }),
        extra,
    )
}

fn select(
    variables: impl Iterator<Item = (String, String)>,
    extra: &[String],
) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<String, String> = variables
        .filter(|(name, _)| (is_allowed(name) || extra.contains(name)) && !looks_secret(name))
        .collect();
    chosen.insert("TMPDIR".to_owned(), "/tmp".to_owned());
    chosen
        .entry("PATH".to_owned())
        .or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    chosen
}

fn is_allowed(name: &str) -> bool {
    !REFUSED.contains(&name)
        && (NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// The name of a variable (or setting) suggests that its value is a secret.
pub fn looks_secret(name: &str) -> bool {
    const MARKS: &[&str] = &[
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "CREDENTIAL",
        "PRIVATE",
        "APIKEY",
        "API_KEY",
        "ACCESS_KEY",
        "AUTH",
        "COOKIE",
        "SIGNING",
    ];
    let name = name.to_ascii_uppercase().replace('-', "_");
    MARKS.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tools_need_passes() {
        let host = [
            ("PATH", "/bin"),
            ("HOME", "/home/a"),
            ("LC_ALL", "C"),
            ("PYTHONPATH", "src"),
            ("PYTHONSTARTUP", "/evil.py"),
            ("CONDA_TOKEN", "s3cret"),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("GITHUB_TOKEN", "ghp"),
            ("LD_PRELOAD", "/evil.so"),
            ("BASH_ENV", "/evil.sh"),
            ("SSH_AUTH_SOCK", "/run/agent"),
            ("TMPDIR", "/private"),
            ("APP_MODE", "test"),
            ("APP_API_KEY", "k"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let chosen = select(
            host.into_iter(),
            &["APP_MODE".to_owned(), "APP_API_KEY".to_owned()],
        );
        let names: Vec<&str> = chosen.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["APP_MODE", "HOME", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR"]
        );
        assert_eq!(chosen.get("TMPDIR").map(String::as_str), Some("/tmp"));
    }

    #[test]
    fn path_is_never_missing() {
        assert!(select(std::iter::empty(), &[]).contains_key("PATH"));
    }
}
