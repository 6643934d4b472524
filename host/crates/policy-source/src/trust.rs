//! Whom an installation trusts: the publishers that `policy.toml` pins, and whether
//! an unsigned module may be loaded. Decided offline, from bytes and keys alone.

use crate::key::PublicKey;
use crate::signature::{SignatureProblem, SignedBy, verify};
use crate::source::SourceRef;
use crate::store::Fetched;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Somebody whose signature counts: one `[[publisher]]` of `policy.toml`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    /// Unique name, by which a module can ask for this publisher.
    pub name: String,
    /// Unique key.
    pub key: PublicKey,
}

/// What one `[[module]]` says about its signature. The default is the strictest that
/// fits every module: signed, by any pinned publisher.
#[derive(Clone, Copy, Default, Debug)]
pub struct Wanted<'a> {
    /// Only this publisher's signature counts.
    pub publisher: Option<&'a str>,
    /// It may be unsigned. A signature that is there is checked all the same.
    pub unsigned: bool,
}

/// Why a module's bytes are trusted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// They are part of the host.
    Bundled,
    /// A pinned publisher signed them.
    Signed(SignedBy),
    /// `policy.toml` allows them unsigned.
    Unsigned,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled with the host"),
            Self::Signed(by) => by.fmt(f),
            Self::Unsigned => f.write_str("unsigned"),
        }
    }
}

/// The trust that `policy.toml` gives: `[[publisher]]` and `[trust]`.
#[derive(Clone, Default, Debug)]
pub struct TrustRules {
    publishers: Vec<Publisher>,
    unsigned: bool,
    insecure_registries: Vec<String>,
}

/// Trust that contradicts itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadTrust {
    /// Two publishers have one name.
    #[error("there are two publishers named {0:?}")]
    Name(String),
    /// Two publishers have one key: nobody could say whose signature it is.
    #[error("the publishers {0:?} and {1:?} have the same key")]
    Key(String, String),
    /// A name that is hard to read back.
    #[error("a publisher's name is 1 to 64 characters without control characters, got {0:?}")]
    Shape(String),
}

impl TrustRules {
    /// Checks and keeps what `policy.toml` says. `unsigned` lets every module be
    /// unsigned; `insecure_registries` are asked over plain HTTP (loopback always is).
    ///
    /// # Errors
    /// Two publishers share a name or a key, or a name is none.
    pub fn new(
        publishers: Vec<Publisher>,
        unsigned: bool,
        insecure_registries: Vec<String>,
    ) -> Result<Self, BadTrust> {
        let mut names = BTreeSet::new();
        for (index, publisher) in publishers.iter().enumerate() {
            let name = &publisher.name;
            if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
                return Err(BadTrust::Shape(name.clone()));
            }
            if !names.insert(name.as_str()) {
                return Err(BadTrust::Name(name.clone()));
            }
            let earlier = publishers.iter().take(index);
            if let Some(other) = earlier.into_iter().find(|other| other.key == publisher.key) {
                return Err(BadTrust::Key(other.name.clone(), name.clone()));
            }
        }
        Ok(Self {
            publishers,
            unsigned,
            insecure_registries,
        })
    }

    /// Whose signatures count.
    pub fn publishers(&self) -> &[Publisher] {
        &self.publishers
    }

    /// Whether every module may be unsigned.
    pub fn unsigned(&self) -> bool {
        self.unsigned
    }

    /// Registries that are asked over plain HTTP, as `HOST[:PORT]`.
    pub fn insecure_registries(&self) -> &[String] {
        &self.insecure_registries
    }

    /// Whether these bytes may be loaded as this module.
    ///
    /// Where an unsigned module is allowed, one with a signature that does not hold is
    /// refused nevertheless: somebody changed it, or somebody else signed it. Only a
    /// module that names no publisher may be signed by a stranger there.
    ///
    /// # Errors
    /// They may not; the message says what is missing.
    pub fn admit(
        &self,
        source: &SourceRef,
        wanted: Wanted<'_>,
        fetched: &Fetched,
    ) -> Result<Trust, SignatureProblem> {
        if matches!(source, SourceRef::Bundled(_)) {
            return Ok(Trust::Bundled);
        }
        if let Some(name) = wanted.publisher
            && !self
                .publishers
                .iter()
                .any(|publisher| publisher.name == name)
        {
            return Err(SignatureProblem::NoSuchPublisher(name.to_owned()));
        }
        // Naming a publisher is the stricter wish of the two.
        let may_be_unsigned = (self.unsigned || wanted.unsigned) && wanted.publisher.is_none();
        let signature = fetched.signature.as_deref();
        match verify(&fetched.bytes, signature, &self.publishers) {
            Ok(by) => match wanted.publisher {
                Some(name) if name != by.publisher => Err(SignatureProblem::WrongPublisher {
                    wanted: name.to_owned(),
                    found: by.publisher,
                }),
                _ => Ok(Trust::Signed(by)),
            },
            Err(SignatureProblem::Unsigned | SignatureProblem::UnknownKey { .. })
                if may_be_unsigned =>
            {
                Ok(Trust::Unsigned)
            }
            // Text modules and core modules have nothing that could be signed.
            Err(SignatureProblem::NotAComponent) if may_be_unsigned && signature.is_none() => {
                Ok(Trust::Unsigned)
            }
            Err(problem) => Err(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::HEADER;
    use crate::key::SecretKey;
    use crate::signature::sign_detached;

    fn rules(unsigned: bool) -> (SecretKey, SecretKey, TrustRules) {
        let (alice, bob) = (
            SecretKey::generate().unwrap(),
            SecretKey::generate().unwrap(),
        );
        let publisher = |name: &str, key: &SecretKey| Publisher {
            name: name.to_owned(),
            key: key.public(),
        };
        let publishers = vec![publisher("alice", &alice), publisher("bob", &bob)];
        let rules = TrustRules::new(publishers, unsigned, Vec::new()).unwrap();
        (alice, bob, rules)
    }

    fn source() -> SourceRef {
        SourceRef::File("x.wasm".into())
    }

    fn fetched(key: Option<&SecretKey>) -> Fetched {
        let signature = key.map(|key| sign_detached(&HEADER, key).unwrap());
        Fetched::new(HEADER.to_vec(), signature)
    }

    const BOBS: Wanted<'_> = Wanted {
        publisher: Some("bob"),
        unsigned: true,
    };

    #[test]
    fn signed_is_the_default_and_a_named_publisher_the_only_one() {
        let (alice, bob, rules) = rules(false);
        let any = Wanted::default();
        let admit = |wanted, fetched| rules.admit(&source(), wanted, &fetched);
        assert!(matches!(
            admit(any, fetched(Some(&alice))),
            Ok(Trust::Signed(by)) if by.publisher == "alice"
        ));
        assert_eq!(admit(any, fetched(None)), Err(SignatureProblem::Unsigned));
        assert!(matches!(
            admit(BOBS, fetched(Some(&bob))),
            Ok(Trust::Signed(_))
        ));
        assert_eq!(
            admit(BOBS, fetched(Some(&alice))),
            Err(SignatureProblem::WrongPublisher {
                wanted: "bob".to_owned(),
                found: "alice".to_owned()
            })
        );
        assert_eq!(admit(BOBS, fetched(None)), Err(SignatureProblem::Unsigned));
        let carol = Wanted {
            publisher: Some("carol"),
            unsigned: true,
        };
        assert_eq!(
            admit(carol, fetched(None)),
            Err(SignatureProblem::NoSuchPublisher("carol".to_owned()))
        );
    }

    #[test]
    fn unsigned_is_allowed_only_where_it_is_said_and_never_if_changed() {
        let (alice, _, strict) = rules(false);
        let lax_rules = TrustRules::new(strict.publishers().to_vec(), true, Vec::new()).unwrap();
        let lax = Wanted {
            publisher: None,
            unsigned: true,
        };
        let stranger = SecretKey::generate().unwrap();
        for (rules, wanted) in [(&strict, lax), (&lax_rules, Wanted::default())] {
            let admit = |fetched| rules.admit(&source(), wanted, &fetched);
            assert_eq!(admit(fetched(None)), Ok(Trust::Unsigned));
            assert_eq!(admit(fetched(Some(&stranger))), Ok(Trust::Unsigned));
            assert!(matches!(admit(fetched(Some(&alice))), Ok(Trust::Signed(_))));
            assert_eq!(
                admit(Fetched::new(b"(component)".to_vec(), None)),
                Ok(Trust::Unsigned)
            );
            let mut changed = fetched(Some(&alice));
            changed.bytes.extend([1, 0]);
            assert!(matches!(
                admit(changed),
                Err(SignatureProblem::Changed { .. })
            ));
            let mut broken = fetched(None);
            broken.signature = Some(vec![9]);
            assert!(admit(broken).is_err());
        }
        assert!(matches!(
            strict.admit(&source(), Wanted::default(), &fetched(Some(&stranger))),
            Err(SignatureProblem::UnknownKey { .. })
        ));
        assert_eq!(
            strict.admit(
                &source(),
                Wanted::default(),
                &Fetched::new(b"(component)".to_vec(), None)
            ),
            Err(SignatureProblem::NotAComponent)
        );
    }

    #[test]
    fn names_and_keys_are_unique() {
        let key = SecretKey::generate().unwrap().public();
        let other = SecretKey::generate().unwrap().public();
        let publisher = |name: &str, key| Publisher {
            name: name.to_owned(),
            key,
        };
        let new = |list| TrustRules::new(list, false, Vec::new()).map(drop);
        assert!(matches!(
            new(vec![publisher("a", key), publisher("a", other)]),
            Err(BadTrust::Name(_))
        ));
        assert!(matches!(
            new(vec![publisher("a", key), publisher("b", key)]),
            Err(BadTrust::Key(_, _))
        ));
        assert!(matches!(
            new(vec![publisher("", key)]),
            Err(BadTrust::Shape(_))
        ));
    }
}
