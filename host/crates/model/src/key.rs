//! A provider's key: read once, never shown.

use reqwest::header::HeaderValue;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest key file, in bytes; keys are far shorter.
const LONGEST_KEY: u64 = 8 * 1024;

/// Shortest start of a key that is taken out of a message: providers repeat the first
/// characters of a wrong key and star the rest.
const RECOGNISED: usize = 6;

/// A secret that goes into one request header and nowhere else: it has no `Display`,
/// its `Debug` shows nothing, and `scrub` takes it out of what a provider says.
pub struct Key(Zeroizing<String>);

/// A key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The environment has no such variable.
    #[error("the environment variable {0} is not set; set it to the provider's key")]
    NotSet(String),
    /// The file cannot be read.
    #[error("cannot read the key file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was read cannot be a key.
    #[error("{0} holds no key: one line of visible ASCII characters is expected")]
    NoKey(String),
}

impl Key {
    /// The value of `variable` in `environment`.
    ///
    /// # Errors
    /// See [`KeyError`]; none repeats the value.
    pub fn from_env(
        variable: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, KeyError> {
        let value = environment(variable)
            .map(Zeroizing::new)
            .filter(|value| !value.trim().is_empty())
            .ok_or_else(|| KeyError::NotSet(variable.to_owned()))?;
        Self::checked(&value).ok_or_else(|| KeyError::NoKey(variable.to_owned()))
    }

    /// The only line of a file.
    ///
    /// # Errors
    /// See [`KeyError`]; none repeats the content.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        let mut content = Zeroizing::new(Vec::new());
        std::fs::File::open(path)
            .map_err(failed)?
            .take(LONGEST_KEY + 1)
            .read_to_end(&mut content)
            .map_err(failed)?;
        std::str::from_utf8(&content)
            .ok()
            .and_then(Self::checked)
            .ok_or_else(|| KeyError::NoKey(path.display().to_string()))
    }

    fn checked(text: &str) -> Option<Self> {
        let text = text.trim();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && !text.is_empty() && text.len() as u64 <= LONGEST_KEY)
            .then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// A header of `prefix` and the key, marked so that no library prints it.
    pub(crate) fn header(&self, prefix: &str) -> Option<HeaderValue> {
        let text = Zeroizing::new(format!("{prefix}{}", self.0.as_str()));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `message` without the key and without words that begin like it.
    pub(crate) fn scrub(&self, message: &str) -> String {
        let clean = message.replace(self.0.as_str(), "[key]");
        let Some(start) = self
            .0
            .get(..RECOGNISED)
            .filter(|_| self.0.len() > 2 * RECOGNISED)
        else {
            return clean;
        };
        let mut out = String::with_capacity(clean.len());
        let mut rest = clean.as_str();
        while let Some((before, found)) = rest.split_once(start) {
            out.push_str(before);
            out.push_str("[key]");
            rest = found.trim_start_matches(|c: char| {
                c.is_ascii_alphanumeric() || matches!(c, '*' | '-' | '_' | '.' | '…')
            });
        }
        out.push_str(rest);
        out
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from_env("K", &|_| Some(text.to_owned())).expect("a key")
    }

    #[test]
    fn a_key_is_in_no_output() {
        let key = key("sk-test-0123456789abcdef");
        assert_eq!(format!("{key:?}"), "Key");
        let header = key.header("Bearer ").expect("a header");
        assert!(!format!("{header:?}").contains("0123"));
        assert_eq!(
            key.scrub(
                "Incorrect API key provided: sk-test-**********cdef. See sk-test-0123456789abcdef!"
            ),
            "Incorrect API key provided: [key] See [key]!"
        );
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_by_name() {
        for text in ["two words", "line\nline", "sch\u{f6}n"] {
            let error = Key::from_env("MY_KEY", &|_| Some(text.to_owned())).expect_err(text);
            assert!(error.to_string().contains("MY_KEY"), "{error}");
            assert!(!error.to_string().contains(text), "{error}");
        }
        let error = Key::from_env("MY_KEY", &|_| None).expect_err("unset");
        assert!(matches!(error, KeyError::NotSet(_)));
    }

    #[test]
    fn a_file_holds_one_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        std::fs::write(&path, "sk-file-1\n").expect("written");
        assert!(Key::from_file(&path).is_ok());
        std::fs::write(&path, vec![b'a'; 100_000]).expect("written");
        assert!(matches!(Key::from_file(&path), Err(KeyError::NoKey(_))));
        let error = Key::from_file(&directory.path().join("none")).expect_err("missing");
        assert!(error.to_string().contains("none"), "{error}");
    }
}
