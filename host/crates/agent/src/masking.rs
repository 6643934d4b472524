//! Keeps secrets out of what agents read and what is recorded.
//!
//! Two strengths. *Known shapes* (tokens of well-known services, private keys,
//! values of secret variables of this process) are masked everywhere. *Likely*
//! ones (`password=…`) are masked in records only: program text is full of them,
//! and an agent that reads masked program text would write it back.

use regex::{Captures, Regex, RegexSet};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use uuid::Uuid;

const SHAPES: &[&str] = &[
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b",
    r"\bgithub_pat_[A-Za-z0-9_]{60,255}\b",
    r"\bglpat-[A-Za-z0-9_-]{20,64}\b",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}\b",
    r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,250}\b",
    r"\b[rs]k_live_[A-Za-z0-9]{20,250}\b",
    r"\bAIza[A-Za-z0-9_-]{35}\b",
    r"\bnpm_[A-Za-z0-9]{36}\b",
    r"\bpypi-[A-Za-z0-9_-]{50,250}\b",
    r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,2000}",
    r"\bAGE-SECRET-KEY-1[A-Z0-9]{58}\b",
];

/// Name and value, as in `API_TOKEN=…`, `password: …`, `--secret …`.
const LIKELY: &str = r#"(?ix)
    ( [\w-]* (?: password | passwd | passphrase | secret | token | api[_-]?key | access[_-]?key
      | private[_-]?key | credential s? | client[_-]?secret ) [\w-]*
      (?: \\? ["'] )? \s* [:=] \s* (?: \\? ["'] )?
    | -- [\w-]* (?: password | secret | token | api-key ) \s+ (?: \\? ["'] )?
    | \b (?: bearer | basic ) \s+ )
    ( [^\s"'\\@,;&|<>(){}\[\]]{6,} )"#;

/// The password of an address.
const IN_ADDRESS: &str = r#"(://[^\s/:@"'\\]{0,64}:)[^\s/@"'\\]+@"#;

/// Values shorter than this are not taken for secrets: masking `test` everywhere
/// would make every output unreadable.
const MIN_VALUE: usize = 8;

/// Masks secrets; the same secret always gets the same mark within one process.
pub(crate) struct Masker {
    shapes: Vec<Regex>,
    any_shape: Option<RegexSet>,
    likely: Option<(Regex, Regex)>,
    values: RwLock<Vec<String>>,
    key: Uuid,
}

impl Masker {
    /// Masks known shapes and the values of this process's secret variables.
    pub(crate) fn new(key: Uuid) -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::with_variables(key, variables)
    }

    fn with_variables(key: Uuid, variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut values: Vec<String> = variables
            .filter(|(name, value)| selfheal_sandbox::looks_secret(name) && is_maskable(value))
            .map(|(_, value)| value)
            .collect();
        // A secret that contains another one goes first.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self {
            shapes: SHAPES
                .iter()
                .filter_map(|shape| Regex::new(shape).ok())
                .collect(),
            any_shape: RegexSet::new(SHAPES).ok(),
            likely: Regex::new(LIKELY).ok().zip(Regex::new(IN_ADDRESS).ok()),
            values: RwLock::new(values),
            key,
        }
    }

    /// Masks these values as well, from now on. None is ever given up: a session may
    /// hold its mark.
    pub(crate) fn learn(&self, secrets: impl Iterator<Item = String>) {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        values.extend(secrets.filter(|value| is_maskable(value)));
        values.sort_by(|one, other| (other.len(), one).cmp(&(one.len(), other)));
        values.dedup();
    }

    fn values(&self) -> RwLockReadGuard<'_, Vec<String>> {
        self.values.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, secret: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.key.as_bytes());
        hash.update(secret.as_bytes());
        let digest = hex::encode(hash.finalize());
        format!("[masked-secret:{}]", digest.get(..12).unwrap_or_default())
    }

    /// For agents: what is certainly a secret is replaced by a mark.
    pub(crate) fn for_agent(&self, text: &str) -> String {
        self.known(text, &mut BTreeMap::new())
    }

    /// A secret of a known shape, or a known secret's value, stands in the text.
    pub(crate) fn finds_secret(&self, text: &str) -> bool {
        self.values()
            .iter()
            .any(|value| text.contains(value.as_str()))
            || self
                .any_shape
                .as_ref()
                .is_none_or(|shapes| shapes.is_match(text))
    }

    /// For records: what looks like a secret is replaced as well.
    pub(crate) fn for_record(&self, text: &str) -> String {
        let text = self.known(text, &mut BTreeMap::new());
        match &self.likely {
            Some((likely, in_address)) => likely
                .replace_all(
                    &in_address.replace_all(&text, "$1[masked]@"),
                    |found: &Captures<'_>| {
                        let (name, value) = (
                            found.get(1).map_or("", |part| part.as_str()),
                            found.get(2).map_or("", |part| part.as_str()),
                        );
                        if value.starts_with("[masked-secret:") || value.starts_with('$') {
                            format!("{name}{value}")
                        } else {
                            format!("{name}[masked]")
                        }
                    },
                )
                .into_owned(),
            // Unreachable while the pattern compiles, which a test sees to.
            None => "[masked]".to_owned(),
        }
    }

    /// Puts back into `text` what an agent saw masked in `original`, so that a
    /// file read, changed and written keeps its secrets. `None` when a mark is
    /// left that stands for nothing in `original`.
    pub(crate) fn restore(&self, text: &str, original: &str) -> Option<String> {
        const OPENING: &str = "[masked-secret:";
        if !text.contains(OPENING) {
            return Some(text.to_owned());
        }
        let mut secrets = BTreeMap::new();
        self.known(original, &mut secrets);
        let mut restored = text.to_owned();
        for (mark, secret) in &secrets {
            restored = restored.replace(mark, secret);
        }
        // A mark that `original` itself spells out is text like any other.
        let left = restored.matches(OPENING).count();
        (left <= original.matches(OPENING).count()).then_some(restored)
    }

    fn known(&self, text: &str, secrets: &mut BTreeMap<String, String>) -> String {
        let mut text = text.to_owned();
        for value in self.values().iter() {
            if text.contains(value.as_str()) {
                let mark = self.mark(value);
                text = text.replace(value.as_str(), &mark);
                secrets.insert(mark, value.clone());
            }
        }
        let matched = match &self.any_shape {
            Some(set) => set.matches(&text),
            None => return "[masked]".to_owned(),
        };
        for index in matched.iter() {
            if let Some(shape) = self.shapes.get(index) {
                text = shape
                    .replace_all(&text, |found: &Captures<'_>| {
                        let secret = found.get(0).map_or("", |part| part.as_str());
                        let mark = self.mark(secret);
                        secrets.insert(mark.clone(), secret.to_owned());
                        mark
                    })
                    .into_owned();
            }
        }
        text
    }
}

/// Long enough, and no path: a path to a secret is not the secret.
fn is_maskable(value: &str) -> bool {
    value.len() >= MIN_VALUE && !value.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker() -> Masker {
        Masker::with_variables(
            Uuid::nil(),
            [("DEPLOY_TOKEN", "correct-horse"), ("HOME", "/home/someone")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter(),
        )
    }

    #[test]
    fn every_pattern_compiles() {
        let masker = masker();
        assert_eq!(masker.shapes.len(), SHAPES.len());
        assert!(masker.any_shape.is_some() && masker.likely.is_some());
    }

    #[test]
    fn known_shapes_and_secret_variables_are_masked() {
        let masker = masker();
        let key = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----";
        for secret in ["AKIAIOSFODNN7EXAMPLE", "correct-horse", key] {
            let masked = masker.for_agent(&format!("a {secret} b"));
            assert!(!masked.contains(secret), "{masked}");
            assert!(masked.starts_with("a [masked-secret:") && masked.ends_with("] b"));
        }
        assert_eq!(
            masker.for_agent("token = parse_token(x)"),
            "token = parse_token(x)"
        );
    }

    #[test]
    fn named_values_are_masked_whatever_they_look_like() {
        let named = ["a b c d e f", "short", "/etc/key"].map(str::to_owned);
        let masker = masker();
        masker.learn(named.into_iter());
        let masked = masker.for_agent("a b c d e f, short, /etc/key, correct-horse");
        assert!(masked.contains("short, /etc/key"), "{masked}");
        assert!(!masked.contains("c d e") && !masked.contains("horse"));
        assert!(!masker.for_record("x=a b c d e f").contains("c d e"));
    }

    #[test]
    fn records_lose_likely_secrets_too() {
        let masker = masker();
        for (text, want) in [
            ("API_TOKEN=abcdef123 run", "API_TOKEN=[masked] run"),
            (
                "curl -H 'Authorization: Bearer abcdef123'",
                "curl -H 'Authorization: Bearer [masked]'",
            ),
            (
                "psql postgres://me:hunter22@db/x",
                "psql postgres://me:[masked]@db/x",
            ),
            (
                r#"{\"password\": \"hunter22\"}"#,
                r#"{\"password\": \"[masked]\"}"#,
            ),
            ("login --password hunter22 x", "login --password [masked] x"),
            ("pytest -q tests", "pytest -q tests"),
        ] {
            assert_eq!(masker.for_record(text), want);
        }
    }

    #[test]
    fn a_file_read_and_written_keeps_its_secrets() {
        let masker = masker();
        let file = "KEY = 'AKIAIOSFODNN7EXAMPLE'\nlimit = 1\n";
        let read = masker.for_agent(file);
        let changed = read.replace("limit = 1", "limit = 2");
        assert_eq!(
            masker.restore(&changed, file).as_deref(),
            Some("KEY = 'AKIAIOSFODNN7EXAMPLE'\nlimit = 2\n")
        );
        assert_eq!(masker.restore("x [masked-secret:0123]", file), None);
    }
}
