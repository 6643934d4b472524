//! Signed checkpoints: who says how long the log is and what is in it.
//!
//! [C2SP signed-note](https://c2sp.org/signed-note) with Ed25519 and
//! [C2SP tlog-checkpoint](https://c2sp.org/tlog-checkpoint), so that tools that are
//! not ours can read them. Keys are text in the form of Go's `note` package:
//! `NAME+ID+KEY` is public, `PRIVATE+KEY+NAME+ID+SEED` is the one to keep. A log's
//! origin is the name of its key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use selfheal_domain::digest::Digest;
use selfheal_domain::ports::InclusionProof;
use std::fmt;

/// Marks Ed25519 in keys (signed-note, "Signature types").
const ED25519_MARK: u8 = 1;
const PRIVATE: &str = "PRIVATE+KEY+";
/// Starts a line with a signature: em dash, space.
const SIGNATURE: &str = "\u{2014} ";
/// A note larger than this many bytes is none of ours.
const MAX_NOTE_BYTES: usize = 64 << 10;

/// A key or a note cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    /// A key is not in the form of the signed-note format.
    #[error("the key is no Ed25519 key of the form NAME+ID+KEY")]
    Key,
    /// A name that the format does not allow.
    #[error("a key's name is not empty and has neither spaces nor '+', got {0:?}")]
    Name(String),
    /// The bytes are no note, or the note is no checkpoint.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(&'static str),
    /// Nobody whose key is known signed it.
    #[error("the checkpoint is not signed by {0}")]
    Unsigned(String),
    /// The signature does not fit.
    #[error("the signature of the checkpoint is wrong: it was changed, or another key signed it")]
    Forged,
}

/// The size of a log and the root of its tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Records.
    pub size: u64,
    /// Root of the Merkle tree over them.
    pub root: Digest,
}

/// Signs for one log. Its secret leaves it as text only, for the key file.
pub struct LogSigner {
    public: LogVerifier,
    pair: Ed25519KeyPair,
}

/// Knows the signatures of one log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogVerifier {
    name: String,
    key: [u8; 32],
}

fn checked_name(name: &str) -> Result<&str, NoteError> {
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control()) {
        return Err(NoteError::Name(name.to_owned()));
    }
    Ok(name)
}

/// `ID+BASE64` of a key's bytes, split and decoded.
fn key_bytes(text: &str) -> Option<(u32, [u8; 32])> {
    let (id, key) = text.split_once('+')?;
    let id = u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 8)?;
    let bytes = STANDARD.decode(key).ok()?;
    let (mark, key) = bytes.split_first()?;
    (*mark == ED25519_MARK).then_some(())?;
    Some((id, key.try_into().ok()?))
}

impl LogVerifier {
    /// Reads `NAME+ID+KEY`.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.trim().split_once('+').ok_or(NoteError::Key)?;
        let (id, key) = key_bytes(rest).ok_or(NoteError::Key)?;
        let verifier = Self {
            name: checked_name(name)?.to_owned(),
            key,
        };
        if verifier.id() == id {
            Ok(verifier)
        } else {
            Err(NoteError::Key)
        }
    }

    /// Name of the key and of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of the hash of name, kind and key (signed-note, "Signatures").
    fn id(&self) -> u32 {
        let bytes = [
            self.name.as_bytes(),
            &[b'\n', ED25519_MARK],
            self.key.as_slice(),
        ]
        .concat();
        let Digest([a, b, c, d, ..]) = Digest::of(&bytes);
        u32::from_be_bytes([a, b, c, d])
    }

    /// Reads a checkpoint that this key signed. Other signatures, as of witnesses, may
    /// be there too.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Malformed("it is too long"));
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed(
            "nothing separates text and signatures",
        ))?;
        let text = format!("{text}\n");
        let signatures = signatures
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("its last line does not end"))?;
        let mut signed = false;
        for line in signatures.split('\n') {
            let (name, signature) = line
                .strip_prefix(SIGNATURE)
                .and_then(|line| line.split_once(' '))
                .ok_or(NoteError::Malformed("a line is no signature"))?;
            let signature = STANDARD
                .decode(signature)
                .map_err(|_| NoteError::Malformed("a signature is not Base64"))?;
            let (id, signature) = signature
                .split_first_chunk::<4>()
                .ok_or(NoteError::Malformed("a signature is too short"))?;
            if name != self.name || u32::from_be_bytes(*id) != self.id() {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, self.key)
                .verify(text.as_bytes(), signature)
                .map_err(|_| NoteError::Forged)?;
            signed = true;
        }
        if !signed {
            return Err(NoteError::Unsigned(self.to_string()));
        }
        let checkpoint = Checkpoint::parse(&text)?;
        if checkpoint.origin != self.name {
            return Err(NoteError::Malformed(
                "it is about another log than its signer's",
            ));
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for LogVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id(), encoded(&self.key))
    }
}

fn encoded(key: &[u8]) -> String {
    STANDARD.encode([&[ED25519_MARK], key].concat())
}

impl LogSigner {
    /// A signer called `name` with the secret `seed`, which must be random.
    ///
    /// # Errors
    /// The name is not allowed.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Key)?;
        let key = pair.public_key().as_ref();
        let public = LogVerifier {
            name: checked_name(name)?.to_owned(),
            key: key.try_into().map_err(|_| NoteError::Key)?,
        };
        Ok(Self { public, pair })
    }

    /// Reads `PRIVATE+KEY+NAME+ID+SEED`.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let text = text.trim().strip_prefix(PRIVATE).ok_or(NoteError::Key)?;
        let (name, rest) = text.split_once('+').ok_or(NoteError::Key)?;
        let (id, seed) = key_bytes(rest).ok_or(NoteError::Key)?;
        let signer = Self::new(name, &seed)?;
        if signer.public.id() == id {
            Ok(signer)
        } else {
            Err(NoteError::Key)
        }
    }

    /// The secret text that [`LogSigner::parse`] reads, made of the seed it was made of.
    ///
    /// # Errors
    /// The name is not allowed.
    pub fn secret_text(name: &str, seed: &[u8; 32]) -> Result<String, NoteError> {
        let signer = Self::new(name, seed)?;
        Ok(format!(
            "{PRIVATE}{name}+{:08x}+{}",
            signer.public.id(),
            encoded(seed)
        ))
    }

    /// The public half.
    pub fn verifier(&self) -> &LogVerifier {
        &self.public
    }

    /// A signed note: this log has `size` records under `root`.
    pub fn sign(&self, size: u64, root: Digest) -> String {
        let checkpoint = Checkpoint {
            origin: self.public.name.clone(),
            size,
            root,
        };
        let text = checkpoint.to_string();
        let signature = [
            self.public.id().to_be_bytes().as_slice(),
            self.pair.sign(text.as_bytes()).as_ref(),
        ]
        .concat();
        format!(
            "{text}\n{SIGNATURE}{} {}\n",
            self.public.name,
            STANDARD.encode(signature)
        )
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogSigner")
            .field(&self.public.to_string())
            .finish()
    }
}

impl Checkpoint {
    /// Reads the text of a note. Says nothing of who signed it: see
    /// [`LogVerifier::open`].
    ///
    /// # Errors
    /// It is no checkpoint.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let (Some(origin), Some(size), Some(root)) = (line(), line(), line()) else {
            return Err(NoteError::Malformed("a line is missing"));
        };
        let digits = size.bytes().all(|byte| byte.is_ascii_digit());
        let size = size
            .parse()
            .ok()
            .filter(|parsed: &u64| digits && parsed.to_string() == size)
            .ok_or(NoteError::Malformed("its size is no number"))?;
        let root = STANDARD
            .decode(root)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(NoteError::Malformed("its root is no hash"))?;
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root: Digest(root),
        })
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = STANDARD.encode(self.root.0);
        write!(f, "{}\n{}\n{root}\n", self.origin, self.size)
    }
}

/// A proof as a [C2SP tlog-proof](https://c2sp.org/tlog-proof): self-contained, for
/// whoever has the public key and the record.
pub fn proof_text(proof: &InclusionProof) -> String {
    let mut text = format!("c2sp.org/tlog-proof@v1\nindex {}\n", proof.index);
    for hash in &proof.hashes {
        text.push_str(&STANDARD.encode(hash.0));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&proof.head.note);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> LogSigner {
        LogSigner::new("example.com/log", &[7; 32]).unwrap()
    }

    #[test]
    fn the_example_of_the_specification_verifies() {
        // From the documentation of Go's sumdb/note.
        let key = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let signer = LogSigner::parse(key).unwrap();
        assert_eq!(
            signer.verifier().to_string(),
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        );
        let seed = key_bytes(key.strip_prefix("PRIVATE+KEY+PeterNeumann+").unwrap());
        let again = LogSigner::secret_text("PeterNeumann", &seed.unwrap().1);
        assert_eq!(again.unwrap(), key);
    }

    #[test]
    fn only_what_was_signed_is_believed() {
        let signer = signer();
        let note = signer.sign(3, Digest([9; 32]));
        let checkpoint = signer.verifier().open(&note).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (3, Digest([9; 32])));
        let key = signer.verifier().to_string();
        assert_eq!(&LogVerifier::parse(&key).unwrap(), signer.verifier());
        // A witness's line beside ours changes nothing.
        let witnessed = format!(
            "{note}\u{2014} witness.example {}\n",
            STANDARD.encode([1; 76])
        );
        assert_eq!(signer.verifier().open(&witnessed).unwrap(), checkpoint);

        for changed in [
            note.replace("\n3\n", "\n2\n"),
            note.replace("example.com/log\n3", "example.com/log2\n3"),
        ] {
            assert_eq!(signer.verifier().open(&changed), Err(NoteError::Forged));
        }
        let other = LogSigner::new("example.com/log", &[8; 32]).unwrap();
        assert!(matches!(
            other.verifier().open(&note),
            Err(NoteError::Unsigned(_))
        ));
        for broken in [
            "",
            "\n\n",
            &note[..note.len() - 1],
            &note.replace("\n\n", "\n"),
        ] {
            assert!(signer.verifier().open(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn sizes_and_names_have_one_form() {
        for size in ["03", "+3", "-1", "", "18446744073709551616"] {
            let text = format!("a\n{size}\n{}\n", STANDARD.encode([0; 32]));
            assert!(Checkpoint::parse(&text).is_err(), "{size:?}");
        }
        for name in ["", "a b", "a+b", "a\u{2003}b"] {
            assert!(LogSigner::new(name, &[0; 32]).is_err(), "{name:?}");
        }
        let key = signer().verifier().to_string();
        for wrong in [
            key.replace("log+", "gol+"),
            key.replace('+', ""),
            String::new(),
        ] {
            assert!(LogVerifier::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
