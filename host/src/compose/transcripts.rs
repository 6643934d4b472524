//! Full transcripts of models: `transcripts/NAME.jsonl` in the data directory, where no
//! agent can read them. Secrets are masked before the write.

use crate::mask::Mask;
use selfheal_audit::Masker;
use selfheal_domain::digest::Digest;
use selfheal_model::{Transcript, TranscriptStore};
use serde_json::Value;
use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Transcripts below a data directory.
pub(crate) struct Transcripts {
    data: PathBuf,
    mask: Mask,
}

impl Transcripts {
    pub(crate) fn new(data: &Path, mask: Mask) -> Self {
        Self {
            data: data.to_owned(),
            mask,
        }
    }
}

impl TranscriptStore for Transcripts {
    fn open(&self, name: &str) -> Result<Box<dyn Transcript>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            let text = format!("{name:?} is no name of a transcript");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let place = format!("transcripts/{name}.jsonl");
        let path = self.data.join(&place);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.data.join("transcripts"))?;
        let file = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Box::new(OpenTranscript {
            file,
            path,
            place,
            mask: self.mask.clone(),
        }))
    }
}

struct OpenTranscript {
    file: File,
    path: PathBuf,
    place: String,
    mask: Mask,
}

impl Transcript for OpenTranscript {
    fn append(&mut self, entry: &Value) -> Result<()> {
        let mut line = masked(&self.mask.masker(), entry).to_string();
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }

    fn finish(&mut self) -> Result<String> {
        self.file.sync_data()?;
        let digest = Digest::of(&std::fs::read(&self.path)?);
        Ok(format!("{} sha256:{digest}", self.place))
    }
}

/// The same with every text masked, names of fields included: what a model says may
/// hold anything anywhere.
fn masked(masker: &Masker, value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(masker.text(text).into_owned()),
        Value::Array(items) => items.iter().map(|item| masked(masker, item)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (masker.text(name).into_owned(), masked(masker, field)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_transcript_is_appended_masked_and_private() {
        let data = tempfile::tempdir().unwrap();
        let mask = Mask::new(Masker::new(["swordfish-1"]).unwrap());
        let store = Transcripts::new(data.path(), mask.clone());
        for text in ["one", "two swordfish-1"] {
            let mut transcript = store.open("1-run-diagnosis").unwrap();
            let content = json!({ "swordfish-1": { "id": text } });
            transcript.append(&content).unwrap();
            assert!(
                transcript
                    .finish()
                    .unwrap()
                    .starts_with("transcripts/1-run-diagnosis.jsonl sha256:")
            );
        }
        let path = data.path().join("transcripts/1-run-diagnosis.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains("swordfish"), "{text}");
        // A secret that is named while it is open is none of it from then on.
        let mut transcript = store.open("1-run-diagnosis").unwrap();
        mask.put(Masker::new(["open-sesame"]).unwrap());
        transcript.append(&json!("three open-sesame")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("three") && !text.contains("sesame"), "{text}");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert!(store.open("../../etc/passwd").is_err());
    }
}
