//! Secrets leave no trace: they are replaced before a record is made (invariant
//! 12).
//!
//! What is masked: values the operators named, and texts that look like a
//! credential whoever named them. What is never touched: patches and their
//! files (a masked patch, applied, would destroy the file; one that holds a
//! secret is refused where it is judged), digests, hashes, and the fixed words
//! that say which kind of thing a value is.

use regex::{Captures, Regex, RegexSet};
use serde_json::Value;
use std::borrow::Cow;

/// Stands where a secret stood.
pub const MASK: &str = "[masked]";

/// A named value shorter than this many bytes is not masked: it would hit innocent
/// words, and everybody would learn the secret from the holes.
pub const SHORTEST_SECRET: usize = 6;

/// The pattern and the groups of it to keep before and after the mask.
const PATTERNS: &[&str] = &[
    // A private key, to its end or to the end of what was cut off.
    r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bglpat-[A-Za-z0-9_-]{20,}",
    r"\bsk-[A-Za-z0-9_-]{16,}",
    r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\bAIza[A-Za-z0-9_-]{35}",
    r"\bnpm_[A-Za-z0-9]{30,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"(?i)(?<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{12,}=*",
    r"(?<keep>[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@'\x22]*:)[^\s/@'\x22]+(?<after>@)",
    r"(?i)(?<keep>(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|(?:access|auth|refresh|api|secret)[_-]?token)=)[^\s&;,'\x22\\()\[\]{}<>$]{4,}",
];

/// Whole files and the diff between them.
const PATCH: &str = "patch";

/// Fields that say which kind of thing a value is, where they hold a string. Sorted.
const STRUCTURE: &[&str] = &[
    "action",
    "admission",
    "answer",
    "by",
    "category",
    "change",
    "digest",
    "ended",
    "fault",
    "id",
    "kind",
    "level",
    "mode",
    "outcome",
    "password_hash",
    "phase",
    "policy_digest",
    "priority",
    "result",
    "role",
    "run",
    "severity",
    "source",
    "token_digest",
    "tool",
    "trust",
    "verdict",
];

/// Replaces secrets in texts.
#[derive(Clone, Debug)]
pub struct Masker {
    quick: RegexSet,
    patterns: Vec<Regex>,
    named: Option<Regex>,
}

/// The masker could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the list of secrets to mask is too large to be searched for")]
pub struct MaskerError(#[from] regex::Error);

impl Masker {
    /// Masks these values, and whatever looks like a credential.
    ///
    /// # Errors
    /// The values are too many or too long to be searched for.
    pub fn new<I, S>(secrets: I) -> Result<Self, MaskerError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut values: Vec<String> = Vec::new();
        for secret in secrets {
            let secret = secret.as_ref().trim();
            if secret.len() < SHORTEST_SECRET {
                continue;
            }
            values.push(secret.to_owned());
            // Inputs of tool calls are JSON inside a JSON string.
            let escaped = Value::from(secret).to_string();
            if let Some(inner) = escaped.strip_prefix('"').and_then(|s| s.strip_suffix('"'))
                && inner != secret
            {
                values.push(inner.to_owned());
            }
        }
        // Longest first: a secret that contains another is masked as a whole.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let alternatives: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
        let named = if alternatives.is_empty() {
            None
        } else {
            Some(Regex::new(&alternatives.join("|"))?)
        };
        Ok(Self {
            quick: RegexSet::new(PATTERNS)?,
            patterns: PATTERNS
                .iter()
                .map(|pattern| Regex::new(pattern))
                .collect::<Result<_, _>>()?,
            named,
        })
    }

    /// The text without secrets.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = match &self.named {
            Some(named) => named.replace_all(text, MASK),
            None => Cow::Borrowed(text),
        };
        for index in self.quick.matches(&masked) {
            let Some(pattern) = self.patterns.get(index) else {
                continue;
            };
            let replaced = pattern.replace_all(&masked, |found: &Captures<'_>| {
                let part = |name| found.name(name).map_or("", |part| part.as_str());
                format!("{}{MASK}{}", part("keep"), part("after"))
            });
            if let Cow::Owned(replaced) = replaced {
                masked = Cow::Owned(replaced);
            }
        }
        masked
    }

    /// Whether the text holds a secret.
    pub fn finds(&self, text: &str) -> bool {
        self.named
            .as_ref()
            .is_some_and(|named| named.is_match(text))
            || self.quick.is_match(text)
    }

    /// Masks the free texts in an event's data, in place.
    pub fn event(&self, name: &str, data: &mut Value) {
        match name {
            // Accounts hold digests and hashes only, and must come back unchanged.
            "user.saved" | "user.changed" => {}
            // So must tokens, but for what somebody called one.
            "token.created" => {
                if let Some(label) = data.pointer_mut("/token/name") {
                    self.walk(label);
                }
            }
            _ => self.walk(data),
        }
    }

    fn walk(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.text(text) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item)),
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    let fixed =
                        field.is_string() && STRUCTURE.binary_search(&name.as_str()).is_ok();
                    if !fixed && name != PATCH {
                        self.walk(field);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
