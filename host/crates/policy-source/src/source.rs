//! How `policy.toml` names the place of a module: `bundled:NAME`, a file,
//! `sha256:HEX` or `oci://REGISTRY/REPOSITORY@sha256:HEX`.
//!
//! What comes over a network is named by its digest, always: a tag can mean another
//! module tomorrow. Tags are for pushing and for finding a digest.

use selfheal_domain::digest::Digest;
use serde::{Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};

const OCI: &str = "oci://";
const SHA256: &str = "sha256:";
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// Where a module's bytes come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceRef {
    /// Built into the host, by name.
    Bundled(String),
    /// A `.wasm` or `.wat` file, as written.
    File(PathBuf),
    /// Kept in the data directory.
    Stored(Digest),
    /// In a registry.
    Oci(OciRef),
}

/// A text that names no source.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotASource {
    /// It begins like none.
    #[error(
        "a source is \"bundled:NAME\", the path of a .wasm or .wat component, \"sha256:HEX\" or \
         \"oci://REGISTRY/REPOSITORY@sha256:HEX\", got {0:?}"
    )]
    Shape(String),
    /// A digest is not one.
    #[error("a digest is 64 lowercase hex digits (SHA-256), got {0:?}")]
    Digest(String),
    /// It names a place in a registry, but not which bytes.
    #[error(
        "{0:?} can mean another module tomorrow; pin it by its digest, which this prints: \
         selfheal policy resolve {0}"
    )]
    NotPinned(String),
    /// It is not how a place in a registry is written.
    #[error("a place in a registry is written oci://HOST[:PORT]/REPOSITORY, got {0:?}")]
    Place(String),
    /// The tag is none.
    #[error("a tag is 1 to 128 letters, digits, '_', '.', '-'; got {0:?}")]
    Tag(String),
}

impl SourceRef {
    /// Reads a source. The path of a file stays as written.
    ///
    /// # Errors
    /// It is none; the message says what one is.
    pub fn parse(text: &str) -> Result<Self, NotASource> {
        if let Some(name) = text.strip_prefix("bundled:") {
            return Ok(Self::Bundled(name.to_owned()));
        }
        if let Some(hex) = text.strip_prefix(SHA256) {
            return Ok(Self::Stored(digest(hex)?));
        }
        if text.starts_with(OCI) {
            return OciRef::parse(text).map(Self::Oci);
        }
        let extension = Path::new(text).extension();
        match extension.and_then(|extension| extension.to_str()) {
            Some("wasm" | "wat") if !text.contains("://") => Ok(Self::File(PathBuf::from(text))),
            _ => Err(NotASource::Shape(text.to_owned())),
        }
    }

    /// The same source, with the path of a file relative to `directory`.
    #[must_use]
    pub fn within(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            other => other,
        }
    }
}

impl fmt::Display for SourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled(name) => write!(f, "bundled:{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stored(digest) => write!(f, "{SHA256}{digest}"),
            Self::Oci(reference) => reference.fmt(f),
        }
    }
}

impl Serialize for SourceRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A repository in a registry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OciName {
    registry: String,
    repository: String,
}

impl OciName {
    /// Host and, where there is one, port of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `rest` is what follows `oci://`, without tag and digest.
    fn parse(rest: &str, whole: &str) -> Result<Self, NotASource> {
        let wrong = || NotASource::Place(whole.to_owned());
        let (registry, repository) = rest.split_once('/').ok_or_else(wrong)?;
        let (host, port) = match registry.split_once(':') {
            None => (registry, None),
            Some((host, port)) => (host, Some(port)),
        };
        let label = |label: &str| {
            let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = label.as_bytes();
            edge(bytes.first())
                && edge(bytes.last())
                && bytes
                    .iter()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
        };
        let host_right = host.len() <= LONGEST_NAME && host.split('.').all(label);
        let port_right = port.is_none_or(|port| {
            port.parse::<u16>()
                .is_ok_and(|number| number != 0 && number.to_string() == port)
        });
        let repository_right =
            repository.len() <= LONGEST_NAME && repository.split('/').all(component);
        if !host_right || !port_right || !repository_right {
            return Err(wrong());
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
        })
    }
}

impl fmt::Display for OciName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OCI}{}/{}", self.registry, self.repository)
    }
}

/// One part of a repository's path: letters and digits, between them `.`, `_`, `__`
/// or dashes.
fn component(text: &str) -> bool {
    let simple = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| simple(*byte));
    let known = |byte: &u8| simple(*byte) || b"._-".contains(byte);
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(known)
        && !["..", "._", "_.", ".-", "-.", "___", "_-", "-_"]
            .iter()
            .any(|odd| text.contains(odd))
}

/// A manifest in a registry, by its digest.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OciRef {
    /// Where.
    pub name: OciName,
    /// SHA-256 of the manifest, which in turn names the module by its own.
    pub digest: Digest,
}

impl OciRef {
    /// Reads `oci://REGISTRY/REPOSITORY@sha256:HEX`.
    ///
    /// # Errors
    /// It is something else; a tag instead of a digest is one of these.
    pub fn parse(text: &str) -> Result<Self, NotASource> {
        let rest = text
            .strip_prefix(OCI)
            .ok_or_else(|| NotASource::Place(text.to_owned()))?;
        let Some((place, pin)) = rest.split_once('@') else {
            // So that the advice can be followed.
            OciTarget::parse(text)?;
            return Err(NotASource::NotPinned(text.to_owned()));
        };
        let hex = pin
            .strip_prefix(SHA256)
            .ok_or_else(|| NotASource::Digest(pin.to_owned()))?;
        Ok(Self {
            name: OciName::parse(place, text)?,
            digest: digest(hex)?,
        })
    }
}

impl fmt::Display for OciRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{SHA256}{}", self.name, self.digest)
    }
}

impl Serialize for OciRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A tag in a registry: where to push to, or what to resolve.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OciTarget {
    /// Where.
    pub name: OciName,
    /// Under which tag.
    pub tag: String,
}

impl OciTarget {
    /// Reads `oci://REGISTRY/REPOSITORY[:TAG]`; without a tag it is `latest`.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, NotASource> {
        let wrong = || NotASource::Place(text.to_owned());
        let rest = text.strip_prefix(OCI).ok_or_else(wrong)?;
        if rest.contains('@') {
            return Err(wrong());
        }
        let (registry, path) = rest.split_once('/').ok_or_else(wrong)?;
        let (repository, tag) = path.split_once(':').unwrap_or((path, "latest"));
        let shape = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let first = tag.bytes().next();
        if tag.len() > LONGEST_TAG
            || !tag.bytes().all(shape)
            || first.is_none_or(|byte| byte == b'.' || byte == b'-')
        {
            return Err(NotASource::Tag(tag.to_owned()));
        }
        Ok(Self {
            name: OciName::parse(&format!("{registry}/{repository}"), text)?,
            tag: tag.to_owned(),
        })
    }
}

impl fmt::Display for OciTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

/// One digest has one text: uppercase is refused.
fn digest(hex: &str) -> Result<Digest, NotASource> {
    hex.parse::<Digest>()
        .ok()
        .filter(|digest| digest.to_string() == hex)
        .ok_or_else(|| NotASource::Digest(hex.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn each_kind_reads_back_as_written() {
        for text in [
            "bundled:secrets".to_owned(),
            "rules/mine.wasm".to_owned(),
            "/etc/mine.wat".to_owned(),
            format!("sha256:{}", hex()),
            format!("oci://localhost:5000/a@sha256:{}", hex()),
            format!("oci://ghcr.io/team/policies/no_shell@sha256:{}", hex()),
        ] {
            assert_eq!(SourceRef::parse(&text).unwrap().to_string(), text);
        }
        let target = OciTarget::parse("oci://127.0.0.1:5000/team/a:1.2").unwrap();
        assert_eq!(target.name.registry(), "127.0.0.1:5000");
        assert_eq!(
            (target.name.repository(), target.tag.as_str()),
            ("team/a", "1.2")
        );
        assert_eq!(OciTarget::parse("oci://h/a").unwrap().tag, "latest");
    }

    #[test]
    fn a_tag_alone_is_refused_with_the_command_that_resolves_it() {
        let error = SourceRef::parse("oci://ghcr.io/team/a:1.0").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("selfheal policy resolve oci://ghcr.io/team/a:1.0"),
            "{error}"
        );
        assert!(matches!(
            SourceRef::parse("oci://ghcr.io/team/a"),
            Err(NotASource::NotPinned(_))
        ));
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let pin = format!("@sha256:{}", hex());
        for text in [
            "".to_owned(),
            "x.so".to_owned(),
            "https://host/x.wasm".to_owned(),
            "sha256:abc".to_owned(),
            format!("sha256:{}", hex().to_uppercase()),
            format!("oci://host{pin}"),
            format!("oci:///a{pin}"),
            format!("oci://host/{pin}"),
            format!("oci://host/A{pin}"),
            format!("oci://host/a/../b{pin}"),
            format!("oci://host/a..b{pin}"),
            format!("oci://host/a//b{pin}"),
            format!("oci://host/a?x=1{pin}"),
            format!("oci://host/a#x{pin}"),
            format!("oci://host/a%2e{pin}"),
            format!("oci://user:pass@host/a{pin}"),
            format!("oci://user@host/a{pin}"),
            format!("oci://host:0/a{pin}"),
            format!("oci://host:99999/a{pin}"),
            format!("oci://host:05/a{pin}"),
            format!("oci://-host/a{pin}"),
            format!("oci://host../a{pin}"),
            format!("oci://host/a:tag{pin}"),
            "oci://host/a@sha512:00".to_owned(),
            "oci://host/a:-tag".to_owned(),
            "oci://host/a:x y".to_owned(),
        ] {
            assert!(SourceRef::parse(&text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "(oci://)?[a-zA-Z0-9./:@_-]{0,90}") {
            if let Ok(source) = SourceRef::parse(&text) {
                prop_assert_eq!(source.to_string(), text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = SourceRef::parse(&text);
            let _ = OciTarget::parse(&text);
        }
    }
}
